"""Who is asking is settled first: every route but the public ones wants a sound token, before it looks at anything."""

import asyncio
import re
import time
from typing import Any

import pytest

from taskservice.problems import catalogue
from tests.support.better_auth import SIGN_UP
from tests.support.problems import assert_problem
from tests.support.routes import NOBODYS, Operation, operations, operations_of
from tests.support.services import Caller, Service, Services, SurfaceName
from tests.support.tokens import bearer, expired, signed, unlimited

JSON = {"Content-Type": "application/json"}


async def test_every_route_but_the_public_ones_is_401_without_a_token(service: Service) -> None:
    public = []
    for operation in operations(service.app):
        answer = await service.http.request(operation.method, operation.path("alice"))
        if operation.public:
            public.append(operation)
            assert answer.status_code != 401
        else:
            document = assert_problem(answer, 401, "missing-authentication", detail="Missing authentication")
            assert "errors" not in document
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert "error=" not in answer.headers["www-authenticate"]
    assert not {operation for operation in public if "/api" in operation.template}


async def test_every_described_operation_is_401_without_a_token(service: Service) -> None:
    description = (await service.http.get("/schema/openapi.json")).json()
    walked = 0
    for template, methods in description["paths"].items():
        for method in set(methods) & {"get", "put", "post", "patch", "delete", "head"}:
            operation = Operation(method.upper(), template)
            if not operation.public:
                assert_problem(await service.http.request(operation.method, operation.path("alice")), 401)
                assert "security" not in methods[method], operation
                walked += 1
    assert walked >= 18


async def test_the_description_has_every_operation_of_both_surfaces(service: Service) -> None:
    description = (await service.http.get("/schema/openapi.json")).json()
    described = {(method.upper(), path) for path, methods in description["paths"].items() for method in methods}
    served = {(o.method, o.template) for o in operations(service.app) if not o.public and o.method != "HEAD"}
    assert served <= described


@pytest.mark.parametrize("path", ["/", "/health", "/health/live", "/health/ready", "/schema/openapi.json", "/docs"])
async def test_public_pages_need_no_token(service: Service, path: str) -> None:
    answer = await service.http.get(path, follow_redirects=True)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/health/../api/tasks",
        "//api/tasks",
        "/api/tasks/",
        "/api//tasks",
        "/api/tasks/health",
        "/api/health/tasks",
        "/api/schema/tasks",
        "/api/docs/tasks/metrics",
    ],
)
async def test_no_spelling_of_a_path_gets_around_the_gate(service: Service, path: str) -> None:
    answer = await service.http.request("GET", service.url + path)
    assert answer.status_code in {401, 404}
    assert_problem(answer, answer.status_code)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
async def test_the_scheme_may_be_in_any_case(alice: Caller, scheme: str) -> None:
    token = alice.headers["Authorization"].split()[1]
    assert (await alice.service.http.get(alice.root, headers={"Authorization": f"{scheme} {token}"})).status_code == 200


async def test_a_token_anywhere_but_in_the_header_is_no_token(alice: Caller) -> None:
    token = alice.headers["Authorization"].split()[1]
    http = alice.service.http
    for name in ("access_token", "token", "authorization", "jwt"):
        assert_problem(await http.get(alice.root, params={name: token}), 401, "missing-authentication")
    for cookie in ("better-auth.session_data", "token", "Authorization", "access_token"):
        assert_problem(await http.get(alice.root, headers={"Cookie": f"{cookie}={token}"}), 401)
    assert_problem(await http.post(alice.root, json={"title": "t", "access_token": token}), 401)


@pytest.mark.parametrize(
    ("header", "detail"),
    [
        ("", "Missing authentication"),
        ("Bearer", "Invalid token"),
        ("Basic YWxpY2U6cHc=", "Invalid token"),
        ("Bearer a b c", "Invalid token"),
        ("Token abc", "Invalid token"),
        ("Bearer null", "Invalid token"),
        ("Bearer " + "x" * 1_000_000, "Invalid token"),
        ("Bearer " + "a." * 100_000, "Invalid token"),
        ("Bearer " + "." * 1000, "Invalid token"),
    ],
    ids=lambda value: value[:20] if len(value) < 100 else f"{len(value)} characters",
)
async def test_details_of_401_are_exactly_these(
    service: Service, header: str, detail: str, surface: SurfaceName
) -> None:
    root = "/api/tasks" if surface == "token" else "/api/alice/tasks"
    answer = await service.http.get(root, headers={"Authorization": header})
    if answer.status_code == 431:
        # A header no server should read to its end; refused before anybody looks for a token in it.
        assert len(header) > 8192
        assert_problem(answer, 431)
    else:
        assert_problem(answer, 401, detail=detail)


async def test_two_authorization_headers_are_refused(alice: Caller) -> None:
    sound = alice.headers["Authorization"]
    answer = await alice.service.http.get(alice.root, headers=[("Authorization", sound), ("Authorization", sound)])
    assert_problem(answer, 401, "invalid-token")


NOW = int(time.time())


def without_clock(value: object) -> str:
    """The id of a parameter that is the same whenever the tests are collected."""
    return re.sub(r"\d{10}", "time", str(value))


@pytest.mark.parametrize(
    ("claims", "detail"),
    [
        ({"sub": "alice", "exp": None}, "Invalid token"),
        ({"sub": "alice", "exp": str(NOW + 60)}, "Invalid token"),
        ({"sub": "alice", "exp": [NOW + 60]}, "Invalid token"),
        ({"sub": "alice", "exp": True}, "Invalid token"),
        ({"sub": "alice", "exp": NOW - 1}, "Token expired"),
        ({"sub": "alice", "exp": NOW - 29}, "Token expired"),
        ({"sub": "alice", "exp": -1}, "Token expired"),
        ({"sub": "alice", "nbf": NOW + 3600}, "Invalid token"),
        ({"sub": "alice", "iat": NOW + 3600}, "Invalid token"),
        ({"sub": "alice", "iat": "yesterday"}, "Invalid token"),
        ({"sub": ""}, "Invalid token"),
        ({"sub": 42}, "Invalid token"),
        ({"sub": None}, "Invalid token"),
        ({"sub": ["alice"]}, "Invalid token"),
        ({"sub": "a\x00b"}, "Invalid token"),
        ({"sub": "a\nb"}, "Invalid token"),
        ({"sub": "x" * 256}, "Invalid token"),
        ({"userId": "alice"}, "Invalid token"),
        ({"id": "alice"}, "Invalid token"),
        ({"email": "alice@example.test"}, "Invalid token"),
        ({"email": "alice@example.test", "userId": "alice", "requestType": "verify"}, "Invalid token"),
        ({"user": {"id": "alice"}}, "Invalid token"),
        ({"session": {"userId": "alice"}}, "Invalid token"),
        ({"user": {"id": "alice"}, "session": {"userId": "bob"}}, "Invalid token"),
        ({}, "Invalid token"),
    ],
    ids=without_clock,
)
async def test_a_token_whose_claims_are_not_sound_is_401(service: Service, claims: dict[str, Any], detail: str) -> None:
    assert_problem(await service.http.get("/api/tasks", headers=bearer(signed(claims))), 401, detail=detail)


async def test_a_token_without_exp_is_401(service: Service) -> None:
    answer = await service.http.get("/api/tasks", headers=bearer(unlimited({"sub": "alice"})))
    assert_problem(answer, 401, detail="Invalid token")


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "alice"},
        {"user_id": "alice"},
        {"sub": "alice", "user_id": "bob", "userId": "carol", "id": "dave"},
        {"user": {"id": "alice", "name": "A"}, "session": {"userId": "alice", "token": "t", "id": "s"}},
        {"sub": "alice", "aud": "anything", "iss": "anyone"},
        {"sub": "alice", "iat": NOW + 20, "nbf": NOW + 20},
        {"sub": "alice", "exp": NOW + 3600.5},
    ],
    ids=without_clock,
)
async def test_the_user_is_sub_else_user_id_else_the_cookie_cache(service: Service, claims: dict[str, Any]) -> None:
    answer = await service.http.get("/api/alice/tasks", headers=bearer(signed(claims)))
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "user",
    ["x", "x" * 255, "user@example.test", "Ünï-日本", "a b", "a%2Fb", "%", "..", "tasks", "{user_id}", "a;b=c", "a+b"],
)
async def test_any_printable_user_id_owns_its_tasks(service: Service, user: str, surface: SurfaceName) -> None:
    caller = service.user(user, surface)
    task = await service.user(user).create("mine")
    assert task["user_id"] == user
    if surface == "token" or user not in {"tasks", ".."}:
        # A path cannot carry "..", and /api/tasks/tasks is the token surface's own.
        assert task["id"] in {listed["id"] for listed in await caller.tasks()}


async def test_a_user_called_like_a_route_sees_nothing_of_others(service: Service, alice: Caller) -> None:
    await alice.create("private")
    for user in ("tasks", "trash", "changes", "batch"):
        answer = await service.user(user).get("/api/tasks")
        assert "private" not in answer.text


class TestOrder:
    """401, then the path's owner, then 413/415/400, then 422, then 404 (contract, section 3)."""

    async def test_without_a_token_everything_else_that_is_wrong_is_not_said(self, alice: Caller) -> None:
        http = alice.service.http
        for operation in operations_of(alice):
            url = operation.path("nobody", "malformed")
            answer = await http.request(
                operation.method,
                url,
                content=b"{" * 70_000,
                params={"limit": "x"},
                headers={"Content-Type": "text/plain"},
            )
            assert_problem(answer, 401)

    async def test_the_paths_owner_comes_before_body_query_and_id(self, service: Service) -> None:
        mallory = service.user("mallory", "path")
        for operation in operations_of(mallory):
            for task_id in (NOBODYS, "malformed"):
                answer = await mallory.request(
                    operation.method,
                    operation.path("alice", task_id),
                    content=b"x" * 70_000,
                    params={"limit": "x"},
                    headers={"Content-Type": "text/plain"},
                )
                assert_problem(answer, 403, "path-owner-mismatch")

    async def test_the_body_comes_before_the_task(self, alice: Caller) -> None:
        for method in ("PUT", "PATCH"):
            put = f"/{NOBODYS}"
            assert_problem(await alice.request(method, put, content=b"x" * 70_000, headers=JSON), 413)
            assert_problem(await alice.request(method, put, content=b"{}", headers={"Content-Type": "text/xml"}), 415)
            assert_problem(await alice.request(method, put, content=b"{", headers=JSON), 400)
            assert_problem(await alice.request(method, put, json={"title": ""}), 422)
            assert_problem(await alice.request(method, put, json={"title": "t"}), 404)

    async def test_a_missing_task_comes_before_a_stale_tag(self, alice: Caller) -> None:
        answer = await alice.put(f"/{NOBODYS}", json={"title": "t"}, headers={"If-Match": '"1"'})
        assert_problem(answer, 404)

    async def test_a_foreign_task_comes_before_a_stale_tag(
        self, alice: Caller, bob: Caller, surface: SurfaceName
    ) -> None:
        task = await bob.create()
        answer = await alice.put(f"/{task['id']}", json={"title": "t"}, headers={"If-Match": '"999"'})
        assert_problem(answer, 403 if surface == "token" else 404)

    async def test_a_wrong_body_comes_before_a_foreign_task(self, alice: Caller, bob: Caller) -> None:
        task = await bob.create()
        assert_problem(await alice.put(f"/{task['id']}", json={"title": ""}), 422)

    async def test_a_malformed_id_and_a_wrong_body_on_the_token_surface(self, service: Service) -> None:
        answer = await service.user("alice").put("/malformed", content=b"{", headers=JSON)
        assert_problem(answer, 400)


class TestRegisteredUsers:
    """Under `users = "registered"` a sound token is not enough."""

    @pytest.fixture
    def registered(self, services: Services) -> Service:
        return services.shared(users="registered")

    async def test_only_registered_users_are_served(self, registered: Service, surface: SurfaceName) -> None:
        await registered.execute(SIGN_UP, "ann")
        assert (await registered.user("ann", surface).post(json={"title": "t"})).status_code == 201
        answer = await registered.user("eve", surface).get()
        assert_problem(answer, 401, "unknown-user", detail="Unknown user")
        assert "error=" in answer.headers["www-authenticate"]

    async def test_who_signs_up_is_served_soon(self, registered: Service) -> None:
        late = registered.user("late")
        assert_problem(await late.get(), 401)
        await registered.execute(SIGN_UP, "late")
        deadline = time.monotonic() + 5
        while (await late.get()).status_code == 401:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)

    async def test_a_bad_token_is_told_as_such_first(self, registered: Service) -> None:
        answer = await registered.http.get("/api/tasks", headers=bearer(expired("ann")))
        assert_problem(answer, 401, detail="Token expired")


def test_every_problem_has_a_remedy() -> None:
    assert all(problem.remedy for problem in catalogue())
