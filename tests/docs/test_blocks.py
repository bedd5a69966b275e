"""A documented answer is compared closely enough to notice what a reader would."""

import pytest

from tests.docs.blocks import Block, assert_shown

ONE, OTHER = "01976b2e-0b3c-7c4e-9d57-1f2a3b4c5d6e", "0197aaaa-0b3c-7c4e-9d57-1f2a3b4c5d6e"
THEN, NOW = "2026-11-20T11:41:44.386964Z", "2030-01-02T03:04:05.000000Z"
HTTP = f'HTTP/1.1 201 Created\netag: "1"\nlocation: /api/tasks/{ONE}\n\n{{"id": "{ONE}"}}\n'
ANSWER = f'HTTP/1.1 201 Created\r\nDate: today\r\nETag: "1"\r\nLocation: /api/tasks/{OTHER}\r\n\r\n{{"id":"{OTHER}"}}'


def block(language: str, text: str) -> Block:
    return Block("docs/page.md", 1, language, text)


@pytest.mark.parametrize(
    ("language", "shown", "output"),
    [
        ("json", f'{{"id": "{ONE}",\n "at": "{THEN}"}}\n', f'{{"at":"{NOW}","id":"{OTHER}"}}'),
        ("json", '[]\n{"a": 1}\n', '[]\n{"a":1}\n/api/tasks/17'),
        ("http", HTTP, ANSWER),
        ("text", "PostgreSQL 18.4\n", "first\nPostgreSQL 18.5\n"),
    ],
)
def test_ids_moments_versions_and_layout_may_differ(language: str, shown: str, output: str) -> None:
    assert_shown(block(language, shown), output)


@pytest.mark.parametrize(
    ("language", "shown", "output"),
    [
        ("json", '{"a": 1}\n', '{"a":2}'),
        ("json", '{"a": 1}\n', '{"a":1,"b":null}'),
        ("json", '{"a": 1}\n', '{"a":1}\n{"a":1}'),
        ("json", '{"a": 1}\n', ""),
        ("json", f'{{"from": "{ONE}", "to": "{ONE}"}}\n', f'{{"from": "{ONE}", "to": "{OTHER}"}}'),
        ("json", f'{{"created": "{THEN}", "updated": "{NOW}"}}\n', f'{{"created": "{NOW}", "updated": "{NOW}"}}'),
        ("http", HTTP, ANSWER.replace("201 Created", "200 OK")),
        ("http", HTTP, ANSWER.replace('"1"', '"2"')),
        ("http", HTTP, ANSWER.replace("Location", "Content-Location")),
        ("http", HTTP, ANSWER.replace(f'"{OTHER}"', f'"{ONE}"')),
        ("text", "one\ntwo\n", "two\none\n"),
        ("text", "port 8000\n", "port 8001\n"),
    ],
)
def test_anything_else_may_not(language: str, shown: str, output: str) -> None:
    with pytest.raises(AssertionError, match=r"docs/page\.md:1 shows something else"):
        assert_shown(block(language, shown), output)
