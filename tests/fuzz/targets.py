"""The readers of what clients and operators write, each as a function of bytes.

A target raises only when its reader does what it must not: another error than those that it promises, or a value that
breaks a rule. `test_targets.py` runs all of them on every run of the tests; `nightly.py` searches on, guided by
coverage.
"""

import base64
import contextlib
import datetime as dt
import hmac
import json
import resource
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeVar

import msgspec

from taskservice import rules
from taskservice.api.conditional import read_if_match, read_if_none_match
from taskservice.api.import_file import _elements, _Text
from taskservice.api.json_body import parse_json
from taskservice.api.request import TaskRequest
from taskservice.auth.tokens import TokenVerifier
from taskservice.database import moments
from taskservice.problems import FieldError, InvalidToken, MalformedBody, TokenExpired, ValidationFailed
from taskservice.settings import SETTINGS, SettingsError, load_settings
from taskservice.settings.database_url import BadDatabaseUrl, read_database_url
from taskservice.tasks import csv_file
from taskservice.tasks.bodies import Bodies
from taskservice.tasks.changes import read_position
from taskservice.tasks.cursors import _signature, cursor_key, list_key, read_cursor
from taskservice.tasks.filters import Order
from taskservice.tasks.list_query import PATH_SURFACE, TOKEN_SURFACE, read_list_query
from taskservice.tasks.validation import Invalid, moment
from tests.support.services import SECRET

SECONDS_MAX = 0.05
"""What one input of a client may take of the processor."""
SECONDS_AT_START_MAX = 0.25
"""The same for what the operator writes, once. With TLS the certificates of the system are read, which takes 75 ms;
all else takes 2 ms, but a long pattern of origins, which has to be compiled."""
GROWTH_MAX = 64 * 1024 * 1024
"""What one input may add to the memory of the process, in bytes."""

T = TypeVar("T")


class Target(NamedTuple):
    name: str
    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    seconds_max: float = SECONDS_MAX

    def run_within_budget(self, data: bytes) -> None:
        """Once more if it was slow, because the machine may have been busy with something else."""
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(3):
            began = time.thread_time()
            self.run(data)
            took = time.thread_time() - began
            if took <= self.seconds_max:
                break
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        assert took <= self.seconds_max, f"{self.name} took {took:.3f} s for {data[:200]!r}"
        assert grown <= GROWTH_MAX, f"{self.name} took {grown} bytes for {data[:200]!r}"


# ---- JSON

CONFIGURED = load_settings({"BETTER_AUTH_SECRET": SECRET})
BODIES = Bodies(CONFIGURED)


def json_document(data: bytes) -> None:
    """What is accepted is JSON for another parser, too, and can be written again."""
    try:
        document = parse_json(data)
    except MalformedBody:
        return
    msgspec.json.decode(data)
    msgspec.json.encode(document)


def task_body(data: bytes) -> None:
    """A body is refused with reasons, or is a task that keeps the rules."""
    try:
        document = parse_json(data)
    except MalformedBody:
        return
    for kind in BODIES.fields:
        errors: list[FieldError] = []
        found: Any = BODIES.read(kind, document, errors)
        assert (found is None) == bool(errors)
        msgspec.json.encode(errors)
        title = getattr(found, "title", msgspec.UNSET)
        if isinstance(title, str):
            assert 1 <= len(title) <= rules.TITLE_MAX
            assert "\x00" not in title
            assert title.strip() == title


def import_file(data: bytes) -> None:
    """Read task by task, a file says the same as when it is read at once."""
    try:
        document = parse_json(data)
        expected = document if isinstance(document, list) else None
    except MalformedBody:
        expected = None

    async def elements() -> list[Any]:
        return [element async for element in _elements(_Text(data))]

    try:
        found = finished(elements())
    except (MalformedBody, ValueError):
        assert expected is None
    else:
        assert found == expected


def csv_rows(data: bytes) -> None:
    try:
        rows = list(csv_file.read_rows(data))
    except (Invalid, UnicodeDecodeError):
        return
    msgspec.json.encode([row.document for row in rows if row is not None])


def finished(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing but its next turn."""
    while True:
        try:
            work.send(None)
        except StopIteration as end:
            result: T = end.value
            return result


# ---- dates, cursors, tokens


def date(data: bytes) -> None:
    """What is accepted reads the same when it is written in full."""
    try:
        found = moment(data.decode("utf-8", "surrogatepass"))
    except (Invalid, UnicodeDecodeError):
        return
    assert moment(found.isoformat()) == found


ORDERS = (Order("title"), Order("due"))
CURSOR_KEY = list_key(cursor_key(CONFIGURED), "a list")


def cursor(data: bytes) -> None:
    """Nobody makes one up, and what a key holder signs has values that the columns can hold, or is none."""
    assert read_cursor(data.decode("latin-1"), ORDERS, CURSOR_KEY) is None
    values = read_cursor(signed_cursor(data), ORDERS, CURSOR_KEY)
    if values is not None:
        assert isinstance(values["after_id"], uuid.UUID)
        assert "\x00" not in values["after_title"]
        assert values["after_due"] is None or moments.moment(values["after_due"]).tzinfo is dt.UTC


def signed_cursor(payload: bytes) -> str:
    return _base64url(_signature(payload, CURSOR_KEY) + payload).decode()


VERIFIER = TokenVerifier(CONFIGURED)


def any_token(data: bytes) -> None:
    """Nobody makes one up."""
    try:
        finished(VERIFIER.verify(data))
    except (InvalidToken, TokenExpired):
        return
    raise AssertionError("a token that nobody signed")


def signed_token(data: bytes) -> None:
    """Header and claims, a line each, signed by whoever has the secret."""
    header, _, claims = data.partition(b"\n")
    try:
        user = finished(VERIFIER.verify(_signed(header, claims)))
    except (InvalidToken, TokenExpired):
        return
    assert 1 <= len(user.user_id) <= rules.USER_ID_MAX
    for text in (user.user_id, user.email or "", user.name or ""):
        assert text.isprintable()
        text.encode()


def _signed(header: bytes, claims: bytes) -> bytes:
    message = _base64url(header) + b"." + _base64url(claims)
    return message + b"." + _base64url(hmac.digest(SECRET.encode(), message, "sha256"))


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def feed_token(data: bytes) -> None:
    """What is accepted can be given out again."""
    errors: list[FieldError] = []
    position = read_position({"since": [data.decode("utf-8", "replace")]}, errors)
    if not errors and position.epoch is not None:
        assert read_position({"since": [position.token]}, []).seen == position.seen


# ---- headers and queries


def entity_tags(data: bytes) -> None:
    """Every tag that is read stands in the header in quotes, and a weak one is good for reading only."""
    for name, read in ((b"if-match", read_if_match), (b"if-none-match", read_if_none_match)):
        request = TaskRequest({"type": "http", "headers": [(name, data)]}, None, None)  # type: ignore[arg-type] # it reads the headers only
        found = read(request, "given")
        assert len(request.errors) <= 1
        tags = found if isinstance(found, tuple) else getattr(found, "tags", None)
        assert request.errors or data.strip() == b"*" or tags is not None
        for tag in tags or ():
            assert tag.encode("latin-1") in data
            assert tag[0] == tag[-1] == '"'


def query_string(data: bytes) -> None:
    for surface in (TOKEN_SURFACE, PATH_SURFACE):
        try:
            query = read_list_query(data, surface, cursor_key(CONFIGURED))
        except ValidationFailed as problem:
            msgspec.json.encode(problem.errors)
        else:
            assert 1 <= query.limit <= rules.LIST_LIMIT


# ---- what operators write


def database_url(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        target = read_database_url(text)
    except BadDatabaseUrl:
        return
    assert 0 < target.port < 2**16
    target.asyncpg_arguments()
    assert target.hosts
    assert target.redacted


NAMES = frozenset(setting.variable for setting in SETTINGS) - {"TASKSERVICE_DATA_DIR", "BETTER_AUTH_SECRET"}


def settings(data: bytes) -> None:
    """Lines of NAME=value: they are settings, or every line that is wrong is named."""
    lines = (line.partition("=") for line in data.decode("utf-8", "replace").split("\n"))
    given = {name: value for name, _, value in lines if name in NAMES}
    given |= {"BETTER_AUTH_SECRET": SECRET, "TASKSERVICE_DATA_DIR": DATA_DIR}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of `re`, about an odd pattern
        with contextlib.suppress(SettingsError):
            load_settings(given)


DATA_DIR = tempfile.gettempdir()
"""Nothing is written there, as there is a secret."""

TASK = (
    b'{"title": "Buy milk", "description": null, "status": "pending", "priority": "low", "completed": false, '
    b'"due_date": "2026-12-01T09:30:00+02:00"}'
)
PAST = b'{"id": "01976b2e-0b3c-7c4e-9d57-1f2a3b4c5d6e", "title": "\\u00fc", "created_at": "2020-01-01T00:00:00Z"}'
CLAIMS = json.dumps({"sub": "ann", "iat": 0, "exp": 4_000_000_000, "aud": ["a"], "email": "a@example.org"}).encode()

TARGETS = (
    Target(
        "json-document",
        json_document,
        (
            TASK,
            b'[1, -2.5e3, "\\ud83d\\ude00", true, null]',
            b"[" * 2000,
            b"9" * 5000,
            b'"\\ud800"',
        ),
    ),
    Target("task-body", task_body, (TASK, PAST, b'{"completed": true}', b'{"title": 1, "x": 2}')),
    Target(
        "import-file",
        import_file,
        (
            b"[" + PAST + b", " + TASK + b"]",
            b" [ ] ",
            b"[1,]",
            b"[1 2]",
            b"[1e400]",
            b'[{"a":1,"a":2}]',
        ),
    ),
    Target(
        "csv",
        csv_rows,
        (
            ",".join(f"n{number}" for number in range(9_000)).encode(),
            b'id,title,created_at\r\n1,"a, b",2020-01-01\r\n',
            b"\xef\xbb\xbftitle;due_date\n'=1;\n",
        ),
    ),
    Target(
        "date",
        date,
        (
            b"2026-12-01",
            b"2026-12-01T09:30:00.123456789Z",
            b"0001-01-01T00:00:00+23:59",
            b"2016-12-31T23:59:60Z",
        ),
    ),
    Target(
        "cursor",
        cursor,
        (
            msgspec.msgpack.encode(["Buy milk", 1, b"x" * 16]),
            msgspec.msgpack.encode(["", None, b"x" * 16]),
            b"\x91" * 2000,
        ),
    ),
    Target("any-token", any_token, (b"e30.e30.e30", b"..", b"a.b.c.d", b"." * 8192)),
    Target(
        "signed-token",
        signed_token,
        (
            b'{"alg":"HS256","typ":"JWT"}\n' + CLAIMS,
            b'{"alg":"HS256","kid":"a"}\n{"sub":"a","sub":"b"}',
        ),
    ),
    Target("feed-token", feed_token, (b"0", b"12.abcdefgh", b"12-15.abcdefgh", b"999999999999999999")),
    Target(
        "entity-tags",
        entity_tags,
        (
            b"*",
            b'"7-k3f9q2x1"',
            b'W/"a", "b" ,, "\xff"',
            b'"a' * 500,
            b", " * 4000,
            b'"", ' * 2000,
        ),
    ),
    Target(
        "query-string",
        query_string,
        (
            b"status=pending,completed&priority=low&sort=-due,title&limit=10",
            b"due=today&tz=Europe/Berlin&q=%25_",
            b"due_before=2026-12-01&completed=true",
            b"cursor=rcQZ14PqhEqSoXiwMDAwMDAwMDAwMDAwMDAwMA",
            b"a&" * 4000,
        ),
    ),
    Target(
        "database-url",
        database_url,
        (
            b"postgresql://u:p%40@h:5432/d?sslmode=require",
            b"postgres://u:p@[::1]:1,h2:2/d?target_session_attrs=read-write",
            b"postgresql:///d?host=/run/postgresql",
            b"postgresql://u:p@ep-a-pooler.eu.aws.neon.tech/d?sslmode=require&channel_binding=require",
        ),
        SECONDS_AT_START_MAX,
    ),
    Target(
        "settings",
        settings,
        (
            b"TASKSERVICE_DATABASE_DEADLINE=5\nTASKSERVICE_CORS_ORIGINS=https://a.example,*",
            b"BETTER_AUTH_SECRETS=2:%s,1:%s" % (SECRET.encode(), SECRET.encode()),
            b"TASKSERVICE_CORS_ORIGIN_REGEX=[a-z]+\nTASKSERVICE_PUBLIC_URL=https://a.example/b",
            b"BETTER_AUTH_URL=https://a.example\nTASKSERVICE_ENV=production\nDATABASE_URL=postgresql://a/b",
        ),
        SECONDS_AT_START_MAX,
    ),
)
