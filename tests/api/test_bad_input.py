"""Whatever a client sends, the answer is a 4xx in the one shape, never a 5xx, and nothing is changed."""

import asyncio
import json
from typing import Any

import pytest

from tests.support.problems import assert_problem
from tests.support.services import Caller, Service
from tests.support.wire_level import exchange, head

JSON = {"Content-Type": "application/json"}

NOT_JSON: dict[str, bytes] = {
    "nothing": b"",
    "blank": b"   ",
    "a word": b"title",
    "a form": b"title=milk&description=x",
    "XML": b"<task><title>milk</title></task>",
    "cut off": b'{"title": "milk"',
    "single quotes": b"{'title': 'milk'}",
    "a trailing comma": b'{"title": "milk",}',
    "a comment": b'{"title": "milk"} // now',
    "two documents": b'{"title": "a"}{"title": "b"}',
    "a byte order mark": b"\xef\xbb\xbf" + b'{"title": "milk"}',
    "UTF-16": '{"title": "milk"}'.encode("utf-16"),
    "Latin-1": '{"title": "Käse"}'.encode("latin-1"),
    "broken UTF-8": b'{"title": "\xff\xfe"}',
    "overlong UTF-8": b'{"title": "\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"title": "\xed\xa0\x80"}',
    "an escaped lone surrogate": b'{"title": "\\ud800"}',
    "an escaped pair the wrong way round": b'{"title": "\\udc00\\ud800"}',
    "a control character": b'{"title": "a\nb"}',
    "a NUL byte": b'{"title": "a\x00b"}',
    "a bad escape": b'{"title": "\\x41"}',
    "NaN": b'{"title": "t", "due_date": NaN}',
    "infinity": b'{"title": "t", "due_date": -Infinity}',
    "a number beyond all bounds": b'{"title": "t", "due_date": 1e400}',
    "a number of 5000 digits": b'{"title": "t", "due_date": ' + b"9" * 5000 + b"}",
    "a number with a leading zero": b'{"title": "t", "due_date": 01}',
    "5000 nested arrays": b"[" * 5000 + b"]" * 5000,
    "5000 open arrays": b"[" * 5000,
    "5000 nested objects": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "a name twice": b'{"title": "one", "title": "two"}',
    "a name twice, once escaped": b'{"title": "one", "\\u0074itle": "two"}',
    "a name twice, once apart from its colon": b'{"title" : "one","title":"two"}',
    "an inner name twice": b'{"title": "t", "description": {"a": 1, "a": 2}}',
}

NOT_A_TASK: dict[str, bytes] = {
    "an array": b'[{"title": "milk"}]',
    "a string": b'"milk"',
    "a number": b"7",
    "null": b"null",
    "true": b"true",
    "a title of NUL": b'{"title": "a\\u0000b"}',
    "a description of NUL": b'{"title": "t", "description": "\\u0000"}',
    "a number for the title": b'{"title": 5}',
    "a number in a string for a flag": b'{"title": "t", "completed": "1"}',
    "a number for a flag": b'{"title": "t", "completed": 1}',
    "an array for the title": b'{"title": ["milk"]}',
    "an object for the title": b'{"title": {"$ne": null}}',
    "a huge number": b'{"title": "t", "priority": 99999999999999999999999999}',
    "a number for a date": b'{"title": "t", "due_date": 1764547200}',
    "a date out of range": b'{"title": "t", "due_date": "99999-01-01"}',
    "a date that is none": b'{"title": "t", "due_date": "2027-02-29"}',
    "an unknown field": b'{"title": "t", "__proto__": {"admin": true}}',
    "an empty name": b'{"title": "t", "": 1}',
    "a name of NUL": b'{"title": "t", "\\u0000": 1}',
    "a name of 10 000 characters": b'{"title": "t", "' + b"n" * 10_000 + b'": 1}',
    "another case": b'{"Title": "t"}',
    "1000 unknown fields": json.dumps({f"field {n}": n for n in range(1000)}).encode(),
}


async def each_write(alice: Caller, body: bytes, headers: dict[str, str]) -> list[tuple[str, Any]]:
    """What every operation that takes a document answers to this one."""
    task = await alice.create("untouched")
    answers = [
        (f"{method} {path}", await alice.request(method, path, content=body, headers=headers))
        for method, path in (
            ("POST", ""), ("PUT", f"/{task['id']}"), ("PATCH", f"/{task['id']}"), ("POST", "/batch"),
            ("POST", "/import"),
        )
    ]  # fmt: skip
    assert await alice.tasks() == [task]
    return answers


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
async def test_what_is_no_json_document_is_400(alice: Caller, body: bytes) -> None:
    for where, answer in await each_write(alice, body, JSON):
        assert answer.status_code == 400, (where, answer.text)
        assert_problem(answer, 400, "malformed-body")


@pytest.mark.parametrize("body", NOT_A_TASK.values(), ids=NOT_A_TASK)
async def test_what_is_no_task_is_422(alice: Caller, body: bytes) -> None:
    for where, answer in await each_write(alice, body, JSON):
        assert answer.status_code == 422, (where, answer.text)
        document = assert_problem(answer, 422, "validation-failed")
        assert len(answer.content) < 200_000
        assert all(error["location"] == "body" for error in document["errors"])


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain", "text/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
        "application/xml", "application/json; charset=latin-1", "application/jsonx", "application/vnd.api+json",
        "json", "", "*/*", None,
    ],
)  # fmt: skip
async def test_other_media_types_are_415(alice: Caller, media_type: str | None) -> None:
    headers = {"Content-Type": media_type} if media_type is not None else {}
    for where, answer in await each_write(alice, b'{"title": "milk"}', headers):
        assert answer.status_code == 415, (where, answer.text)
        assert_problem(answer, 415)


@pytest.mark.parametrize(
    "media_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "Application/JSON",
        'application/json; charset="utf-8"',
        "application/json; charset=utf8",
        "application/json; version=1; charset=utf-8",
    ],
)
async def test_json_may_be_announced_in_any_usual_way(alice: Caller, media_type: str) -> None:
    answer = await alice.post(content=b'{"title": "milk"}', headers={"Content-Type": media_type})
    assert answer.status_code == 201


@pytest.mark.parametrize(("path", "limit"), [("", 64 * 1024), ("/{id}", 64 * 1024), ("/batch", 1024 * 1024)])
async def test_a_body_over_its_limit_is_413(alice: Caller, path: str, limit: int) -> None:
    task = await alice.create()
    path = path.format(id=task["id"])
    method = "PUT" if "-" in path else "POST"
    assert_problem(await alice.request(method, path, content=b"x" * (limit + 1), headers=JSON), 413)

    async def drip() -> Any:
        for _ in range(limit // 4096 + 1):
            yield b"x" * 4096

    # Without a Content-Length nobody knows beforehand.
    assert_problem(await alice.request(method, path, content=drip(), headers=JSON), 413)
    assert_problem(await alice.request(method, path, content=b"x" * limit, headers=JSON), 400)
    assert await alice.tasks() == [task]


async def test_a_body_of_50_megabytes_is_413_at_once(alice: Caller) -> None:
    request = head(
        b"POST", alice.root.encode(), b"Authorization: " + alice.headers["Authorization"].encode(),
        b"Content-Type: application/json", b"Content-Length: 52428800",
    )  # fmt: skip
    # Not a byte of the body is sent: the announcement is enough.
    assert_problem(await exchange(alice.service, request), 413)


async def test_a_body_where_none_is_wanted_is_no_harm(alice: Caller) -> None:
    task = await alice.create()
    for method, path in (("GET", ""), ("GET", f"/{task['id']}"), ("GET", "/trash"), ("GET", "/changes")):
        answer = await alice.request(method, path, content=b"\xff{[", headers=JSON)
        assert answer.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/%FF",
        "/%",
        "/%zz",
        "/%00",
        "/..%2f..%2fetc%2fpasswd",
        "/" + "a" * 2000,
        "/" + "%F0%9F%98%80" * 50,
        "/a b",
        "/{id}",
        "/%2e%2e",
        "/null/complete",
        "/1/2/3",
    ],
)
async def test_strange_paths_are_4xx(alice: Caller, path: str) -> None:
    for method in ("GET", "PUT", "DELETE", "PATCH", "POST"):
        answer = await alice.request(method, path, json={"title": "t"} if method in {"PUT", "PATCH"} else None)
        assert 400 <= answer.status_code < 500
        assert_problem(answer, answer.status_code)


async def test_an_id_of_100_000_characters_is_a_4xx(service: Service, alice: Caller) -> None:
    token = b"Authorization: " + alice.headers["Authorization"].encode()
    for target in (alice.root.encode() + b"/" + b"x" * 100_000, b"/api/" + b"x" * 100_000 + b"/tasks"):
        answer = await exchange(service, head(b"GET", target, token))
        assert answer.status_code in {400, 403, 404, 414, 422}
        if answer.headers["content-type"] != "text/plain; charset=utf-8":
            # What the server's parser refuses, no part of ours gets to see.
            assert_problem(answer, answer.status_code)
    assert (await alice.get()).status_code == 200


@pytest.mark.parametrize(
    "target",
    [
        b"/api/tasks/caf\xc3\xa9",
        b"/api/tasks/\xff\xfe",
        b"/api/caf\xc3\xa9/tasks",
        b"/api/tasks?q=caf\xc3\xa9",
        b"/api/tasks?q=\xff",
        b"/api/tasks?limit=1&\xe2\x82\xac=1",
        b"/api/tasks#fragment",
        b"/api/tasks?",
        b"/api/tasks?&&",
        b"http://localhost/api/tasks",
        b"/api/tasks;x=1",
    ],
)
async def test_bytes_beyond_ascii_in_the_request_line_are_no_5xx(
    service: Service, alice: Caller, target: bytes
) -> None:
    await alice.create("café")
    await alice.create("second")
    token = b"Authorization: " + alice.headers["Authorization"].encode()
    answer = await exchange(service, head(b"GET", target, token))
    assert answer.status_code < 500
    if answer.is_error and "problem" in answer.headers["content-type"]:
        assert_problem(answer, answer.status_code)


async def test_a_link_after_raw_bytes_in_the_path_is_ascii(service: Service) -> None:
    user = service.user("café", "path")
    for n in range(3):
        await user.create(f"task {n}")
    token = b"Authorization: " + user.headers["Authorization"].encode()
    answer = await exchange(service, head(b"GET", b"/api/caf\xc3\xa9/tasks?limit=1", token))
    assert answer.status_code < 500
    if answer.status_code == 200:
        assert answer.headers["link"].isascii()


@pytest.mark.parametrize(
    "headers",
    [
        {"If-Match": "\x80"},
        {"If-None-Match": '"' + "x" * 5000 + '"'},
        {"If-None-Match": "rubbish"},
        {"If-Match": '"' + "9" * 5000 + '"'},
        {"If-Match": ", ".join(f'"{n}"' for n in range(900))},
        {"If-Match": '"99999999999999999999999"'},
        {"If-Match": '"9223372036854775808"'},
        {"If-Match": '"-1"'},
        {"X-Request-ID": "x" * 5000},
        {"X-Request-ID": "a b\tc"},
        {"traceparent": "00-rubbish"},
        {"Accept": "application/xml"},
        {"Accept": "rubbish"},
        {"Accept-Encoding": "br;q=banana"},
        {"Origin": "\xff"},
        {"Origin": "x" * 5000},
        {"Expect": "100-continue"},
        {"Range": "bytes=0-5"},
        {"Cookie": "\xff=1; ;;;"},
        {"X-Forwarded-For": "' OR 1=1"},
        {"X-HTTP-Method-Override": "DELETE"},
        {"Content-Encoding": "gzip"},
    ],
    ids=lambda headers: next(iter(f"{name} {value[:20]!r}" for name, value in headers.items())),
)
async def test_strange_headers_are_no_5xx_and_change_nothing_by_themselves(
    alice: Caller, headers: dict[str, str]
) -> None:
    task = await alice.create("one")
    encoded: Any = {name.encode(): value.encode("latin-1") for name, value in (alice.headers | headers).items()}
    http = alice.service.http
    for method, path in (
        ("GET", ""),
        ("GET", f"/{task['id']}"),
        ("PUT", f"/{task['id']}"),
        ("PATCH", f"/{task['id']}/complete"),
    ):
        body = {"json": {"title": "one"}} if method == "PUT" else {}
        answer = await http.request(method, alice.root + path, headers=encoded, **body)  # type: ignore[arg-type]
        assert answer.status_code < 500, answer.text
        if answer.is_error:
            assert_problem(answer, answer.status_code)
    assert len(await alice.tasks()) == 1


async def test_headers_of_a_megabyte_are_a_4xx(service: Service, alice: Caller) -> None:
    token = b"Authorization: " + alice.headers["Authorization"].encode()
    answer = await exchange(service, head(b"GET", alice.root.encode(), token, b"X-Large: " + b"x" * 1_000_000))
    assert answer.status_code in {400, 413, 431}


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "FOO", "get", "PROPFIND", "PURGE"])
async def test_unknown_methods_are_405_or_400(service: Service, alice: Caller, method: str) -> None:
    token = b"Authorization: " + alice.headers["Authorization"].encode()
    answer = await exchange(service, head(method.encode(), alice.root.encode(), token))
    assert answer.status_code in {400, 404, 405, 501}
    if answer.status_code == 405:
        assert_problem(answer, 405)


async def test_a_client_that_hangs_up_in_the_middle_of_its_body_changes_nothing(alice: Caller) -> None:
    request = head(
        b"POST", alice.root.encode(), b"Authorization: " + alice.headers["Authorization"].encode(),
        b"Content-Type: application/json", b"Content-Length: 100",
    )  # fmt: skip
    with pytest.raises((TimeoutError, EOFError)):
        await exchange_and_hang_up(alice.service, request + b'{"title": "cut off')
    assert await alice.tasks() == []


async def exchange_and_hang_up(service: Service, request: bytes) -> None:
    host, _, port = service.url.removeprefix("http://").partition(":")
    _reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    await writer.drain()
    writer.transport.abort()
    raise EOFError
