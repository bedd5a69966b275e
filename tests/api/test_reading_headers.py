"""How `If-Match`, `If-None-Match` and `Idempotency-Key` are read, without a service around them."""

from types import SimpleNamespace
from typing import Any

import pytest

from taskservice.api.conditional import Known, read_creates, read_if_match, read_if_none_match
from taskservice.api.idempotency import read_idempotency_key
from taskservice.api.request import TaskRequest
from taskservice.problems import FieldError

RULE = 'must be entity tags in double quotes, such as "7-k3f9q2x1", or *'


def asked(*headers: tuple[bytes, bytes], path: str = "/api/tasks", query: bytes = b"", user: str = "ann") -> Any:
    scope: Any = {
        "type": "http",
        "method": "POST",
        "path": path,
        "path_template": "/api/tasks",
        "query_string": query,
        "headers": [(b"host", b"x"), *headers],
        "user": SimpleNamespace(user_id=user),
    }
    return TaskRequest(scope, None, None)  # type: ignore[arg-type] # nothing is received or sent


def refused(request: Any) -> FieldError:
    (error,) = request.errors
    assert isinstance(error, FieldError)
    return error


# ---- conditions

TAGS = [
    (b'"7-k3f9q2x1"', ['"7-k3f9q2x1"'], []),
    (b'""', ['""'], []),
    (b' \t"a"\t ', ['"a"'], []),
    (b'"a","b" , "c"', ['"a"', '"b"', '"c"'], []),
    (b',, "a" ,\t, "b",', ['"a"', '"b"'], []),
    (b'W/"a"', [], ['"a"']),
    (b'"a", W/"b"', ['"a"'], ['"b"']),
    (b'"\xff!~#"', ['"\xff!~#"'], []),
]
NO_TAGS = [
    b"", b" ", b"a", b'"a', b'a"', b'"a" "b"', b'"a""b"', b'w/"a"', b'W/ "a"', b'"a b"', b'"a\x7f"', b'"a", *', b"**",
    b'"a", b', b",", b'"a";', b'"\x20"', b'x"a"', b'"a"x',
]  # fmt: skip


@pytest.mark.parametrize(("value", "strong", "weak"), TAGS)
def test_tags_are_read_and_weak_ones_allow_no_write(value: bytes, strong: list[str], weak: list[str]) -> None:
    request = asked((b"if-match", value), (b"if-none-match", value))
    assert read_if_match(request, "sent") == tuple(strong)
    assert read_if_none_match(request, "sent") == Known(frozenset(strong + weak))
    assert request.errors == []


@pytest.mark.parametrize("value", NO_TAGS)
@pytest.mark.parametrize(("name", "read"), [("If-Match", read_if_match), ("If-None-Match", read_if_none_match)])
def test_what_is_no_tag_is_named(name: str, read: Any, value: bytes) -> None:
    request = asked((name.lower().encode(), value))
    read(request, "sent")
    error = refused(request)
    assert (error.field, error.location, error.rule, error.message) == (name, "header", "entity_tag", RULE)


def test_several_headers_are_one_list() -> None:
    request = asked((b"if-match", b'"a"'), (b"if-none-match", b'"z"'), (b"if-match", b'"b"'))
    assert read_if_match(request, "sent") == ('"a"', '"b"')
    assert read_if_none_match(request, "sent") == Known(frozenset(('"z"',)))


@pytest.mark.parametrize("star", [b"*", b" *\t"])
def test_a_star_is_any_state(star: bytes) -> None:
    request = asked((b"if-match", star), (b"if-none-match", star))
    assert read_if_match(request, "sent") is None
    assert read_if_none_match(request, "sent") == Known(None)
    assert request.errors == []


def test_without_a_header_there_is_no_condition() -> None:
    assert read_if_match(asked(), None) is None
    assert read_if_none_match(asked(), None) is None


def test_what_is_known_includes_its_tags_or_every_one() -> None:
    assert Known(None).includes('"a"')
    assert Known(frozenset(('"a"',))).includes('"a"')
    assert not Known(frozenset(('"a"',))).includes('"b"')


def test_a_put_creates_only_at_a_star() -> None:
    assert read_creates(asked(), None, None) is False
    request = asked((b"if-none-match", b" * "))
    assert read_creates(request, "sent", None) is True
    assert request.errors == []
    request = asked((b"if-none-match", b'"a"'))
    assert read_creates(request, "sent", None) is False
    error = refused(request)
    assert (error.field, error.location, error.rule, error.allowed) == ("If-None-Match", "header", "one_of", ("*",))
    assert error.message == "must be *: a PUT with it creates the task"


def test_a_put_that_creates_cannot_want_the_task_to_exist() -> None:
    request = asked((b"if-none-match", b"*"))
    assert read_creates(request, "sent", '"a"') is True
    error = refused(request)
    assert (error.field, error.location, error.rule) == ("If-None-Match", "header", "combination")
    assert error.message == "does not go with If-Match, which wants the task to exist"


# ---- keys


async def key(
    *values: bytes, body: bytes = b"{}", beside: tuple[tuple[bytes, bytes], ...] = (), **asked_for: Any
) -> Any:
    request = asked(*((b"idempotency-key", value) for value in values), *beside, **asked_for)
    found = await read_idempotency_key(request, "sent", body=bytearray(body))
    assert (found is None) == bool(request.errors)
    return found or refused(request)


async def test_without_the_header_there_is_no_key() -> None:
    assert await read_idempotency_key(asked(), None) is None


@pytest.mark.parametrize("value", [b"k", b" k ", b"a b", b"~" * 255, b"!"])
async def test_a_key_is_printable_and_belongs_to_its_user_and_route(value: bytes) -> None:
    found = await key(value)
    assert (found.owner, found.route, found.key) == ("ann", "POST /api/tasks", value.strip().decode())


@pytest.mark.parametrize("value", [b"", b" ", b"k" * 256, b"a\tb", b"\x1f", b"\x7f", b"\xc3\xa9"])
async def test_any_other_key_is_named(value: bytes) -> None:
    error = await key(value)
    assert (error.field, error.location, error.rule, error.limit) == ("Idempotency-Key", "header", "characters", 255)
    assert error.message == "must be 1 to 255 printable ASCII characters"


async def test_a_key_that_is_given_twice_is_named() -> None:
    error = await key(b"a", b"a")
    assert (error.field, error.location, error.rule) == ("Idempotency-Key", "header", "repeated")
    assert error.message == "must be given once"


async def test_requests_differ_by_path_query_and_body() -> None:
    first = (await key(b"k")).fingerprint
    assert (await key(b"k", user="bob")).fingerprint == first
    others = [
        await key(b"k", path="/api/tasks/"),
        await key(b"k", query=b"a"),
        await key(b"k", body=b"{} "),
        await key(b"k", path="/api/tasks?", query=b""),
        await key(b"k", query=b"\n{}", body=b""),
        await key(b"k", beside=((b"if-none-match", b"*"),)),
    ]
    assert len({first, *(other.fingerprint for other in others)}) == 7
    assert (await key(b"k", beside=((b"if-match", b'"a"'),))).fingerprint == first
    assert len(first) == 32
