"""What stands around the operations: CORS, request ids, health, methods, descriptions (contract, sections 8 and 9)."""

import asyncio
import re

import pytest

from tests.support.problems import PROBLEMS, assert_problem
from tests.support.routes import NOBODYS, operations
from tests.support.services import Caller, Service
from tests.support.tokens import bearer, expired
from tests.support.wire import Wire

ORIGIN = "http://localhost:3000"
ASKED = ("authorization", "content-type", "if-match", "if-none-match", "idempotency-key")
EXPOSED = {
    "etag",
    "link",
    "location",
    "retry-after",
    "x-request-id",
    "x-total-count",
    "idempotency-replayed",
    "x-trash",
}


class TestCors:
    async def test_a_preflight_needs_no_token_on_any_route(self, service: Service) -> None:
        for operation in operations(service.app):
            answer = await service.http.options(
                operation.path("alice"),
                headers={
                    "Origin": ORIGIN,
                    "Access-Control-Request-Method": operation.method,
                    "Access-Control-Request-Headers": ",".join(ASKED),
                },
            )
            assert answer.status_code in {200, 204}
            assert answer.headers["access-control-allow-origin"] == ORIGIN
            methods = answer.headers["access-control-allow-methods"].split(", ")
            assert operation.method in methods
            allowed = answer.headers["access-control-allow-headers"].lower()
            for name in ASKED:
                assert name in allowed

    async def test_answers_expose_what_a_front_end_reads(self, alice: Caller) -> None:
        answer = await alice.get("", headers={"Origin": ORIGIN})
        assert {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")} >= EXPOSED
        assert "origin" in answer.headers["vary"].lower()

    async def test_errors_carry_it_too(self, alice: Caller) -> None:
        http, origin = alice.service.http, {"Origin": ORIGIN}
        answers = [
            await http.get(alice.root, headers=origin),
            await http.get(alice.root, headers=origin | bearer(expired("alice"))),
            await alice.get(f"/{NOBODYS}", headers=origin),
            await alice.get("/nonsense/nonsense", headers=origin),
            await alice.put("", headers=origin),
            await alice.post(content=b"{", headers=origin | {"Content-Type": "application/json"}),
            await alice.post(content=b"x" * 70_000, headers=origin | {"Content-Type": "application/json"}),
            await alice.post(json={}, headers=origin),
        ]
        assert [answer.status_code for answer in answers] == [401, 401, 404, 404, 405, 400, 413, 422]
        for answer in answers:
            assert answer.headers["access-control-allow-origin"] == ORIGIN
            assert "x-request-id" in answer.headers["access-control-expose-headers"].lower()

    async def test_a_503_carries_it_too(self, severed: tuple[Service, Wire]) -> None:
        service, wire = severed
        wire.cut()
        answer = await service.user("alice").get("", headers={"Origin": ORIGIN})
        assert_problem(answer, 503)
        assert answer.headers["access-control-allow-origin"] == ORIGIN

    async def test_an_origin_that_is_not_on_the_list_gets_nothing(self, alice: Caller) -> None:
        asked = {"Origin": "https://evil.test", "Access-Control-Request-Method": "GET"}
        preflight = await alice.service.http.options(alice.root, headers=asked)
        assert "access-control-allow-origin" not in preflight.headers
        assert "access-control-allow-origin" not in (await alice.get("", headers=asked)).headers

    async def test_credentials_are_never_allowed(self, alice: Caller) -> None:
        # Tokens travel in a header; a cookie must never speak for anybody.
        answer = await alice.get("", headers={"Origin": ORIGIN})
        assert "access-control-allow-credentials" not in answer.headers


class TestRequestId:
    async def test_a_sane_one_is_taken_and_echoed(self, alice: Caller) -> None:
        for sane in ("abc-123", "8e03978e-40d5-43e8-bc93-6894a57f9324", "a" * 64):
            assert (await alice.get("", headers={"X-Request-ID": sane})).headers["x-request-id"] == sane

    @pytest.mark.parametrize("odd", ["", "a b", "x" * 1000, "<script>", 'a"b', "a,b;c=d\te"])
    async def test_any_other_is_replaced(self, alice: Caller, odd: str) -> None:
        answer = await alice.get("", headers={"X-Request-ID": odd})
        assert answer.headers["x-request-id"] != odd
        assert re.fullmatch(r"[\w.:-]{8,200}", answer.headers["x-request-id"])

    async def test_every_answer_has_its_own(self, service: Service, alice: Caller) -> None:
        paths = ("/", "/health", "/docs", "/schema/openapi.json", "/nonsense", alice.root)
        answers = [await service.http.get(path) for path in paths] + [await alice.get() for _ in range(3)]
        ids = [answer.headers["x-request-id"] for answer in answers]
        assert len(set(ids)) == len(ids)

    async def test_an_error_names_it(self, alice: Caller) -> None:
        answer = await alice.get(f"/{NOBODYS}", headers={"X-Request-ID": "find-me"})
        assert answer.json()["request_id"] == "find-me"


class TestHealth:
    async def test_all_is_well(self, service: Service) -> None:
        for path in ("/health/live", "/health/ready", "/health"):
            assert (await service.http.get(path)).status_code == 200

    async def test_without_a_database_it_lives_but_is_not_ready(self, severed: tuple[Service, Wire]) -> None:
        service, wire = severed
        wire.cut()
        live, ready, health = await asyncio.gather(
            *(asyncio.wait_for(service.http.get(path), 4) for path in ("/health/live", "/health/ready", "/health"))
        )
        assert live.status_code == 200
        assert_problem(ready, 503, "not-ready")
        assert_problem(health, 503, "not-ready")


class TestMethods:
    async def test_every_route_refuses_other_methods_with_allow(self, service: Service, alice: Caller) -> None:
        served: dict[str, set[str]] = {}
        for operation in operations(service.app):
            served.setdefault(operation.path(alice.user), set()).add(operation.method)
        for path, methods in served.items():
            for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - methods:
                if path.startswith("/schema") and "anything" in path:
                    continue  # what lies behind may not be there at all
                answer = await alice.service.http.request(method, path, headers=alice.headers)
                assert_problem(answer, 405, "method-not-allowed")
                allowed = set(answer.headers["allow"].split(", "))
                assert methods <= allowed
                assert method not in allowed

    async def test_head_is_get_without_its_body(self, alice: Caller) -> None:
        task = await alice.create()
        for path in ("", f"/{task['id']}", "/trash", "/changes", "?status=completed"):
            got, headed = await alice.get(path), await alice.request("HEAD", path)
            assert (headed.status_code, headed.content) == (200, b"")
            for name in ("content-type", "etag", "content-length", "link"):
                assert headed.headers.get(name) == got.headers.get(name), name
        assert (await alice.request("HEAD", f"/{NOBODYS}")).status_code == 404
        assert (await alice.service.http.head(alice.root)).status_code == 401
        assert (await alice.request("HEAD", "?sort=x")).status_code == 422

    async def test_head_on_public_pages(self, service: Service) -> None:
        for path in ("/health/live", "/health", "/schema/openapi.json"):
            assert (await service.http.head(path)).status_code == 200

    async def test_options_says_what_is_allowed(self, alice: Caller) -> None:
        task = await alice.create()
        for path, methods in (
            (alice.root, {"GET", "HEAD", "POST", "DELETE"}),
            (f"{alice.root}/{task['id']}", {"GET", "HEAD", "PUT", "PATCH", "DELETE"}),
            (f"{alice.root}/{task['id']}/complete", {"PATCH"}),
        ):
            answer = await alice.service.http.options(path)
            assert answer.is_success
            assert methods <= set(answer.headers["allow"].split(", "))

    async def test_an_unknown_path_is_404_in_the_one_shape(self, service: Service, alice: Caller) -> None:
        for path in (
            "/nonsense",
            "/api",
            "/api/nonsense",
            "/api/tasks/1/2/3",
            "/favicon.ico",
            "/.env",
            "/wp-login.php",
        ):
            for headers in ({}, alice.headers):
                assert_problem(await service.http.get(path, headers=headers), 404)

    async def test_a_trailing_slash_is_the_same_resource_or_none(self, alice: Caller) -> None:
        task = await alice.create()
        for path in ("/", f"/{task['id']}/"):
            answer = await alice.get(path)
            assert answer.status_code in {200, 404}
        answer = await alice.post("/", json={"title": "t"})
        if answer.status_code == 201:
            assert (await alice.get(answer.headers["location"])).json() == answer.json()


class TestDescription:
    async def test_root_and_docs_lead_to_swagger(self, service: Service) -> None:
        answer = await service.http.get("/docs", follow_redirects=True)
        assert answer.status_code == 200
        assert "swagger" in answer.text.lower()

    @pytest.mark.parametrize("page", ["/schema/swagger", "/schema/scalar"])
    async def test_the_pages_load_nothing_from_elsewhere(self, service: Service, page: str) -> None:
        answer = await service.http.get(page)
        assert answer.status_code == 200
        sources = re.findall(r"""(?:src|href)=["']([^"']+)""", answer.text)
        assert sources
        for source in sources:
            assert not source.startswith(("http:", "https:", "//")), source
            if source.startswith("/"):
                assert (await service.http.get(source)).status_code == 200

    async def test_it_is_openapi_3_1_with_the_bearer_scheme(self, service: Service) -> None:
        description = (await service.http.get("/schema/openapi.json")).json()
        assert description["openapi"].startswith("3.1")
        for path, methods in description["paths"].items():
            if not path.startswith("/api"):
                continue
            names = {match for match in re.findall(r"{(\w+)}", path)}  # noqa: C416 (a list would keep doubles)
            assert names <= {"user_id", "task_id"}
            for method, operation in methods.items():
                assert operation["operationId"], (method, path)
                assert operation.get("security", description.get("security")), (method, path)

    async def test_every_problem_type_has_a_page(self, service: Service) -> None:
        for _, code in sorted(PROBLEMS):
            answer = await service.http.get(f"/schema/problems/{code}")
            assert answer.status_code == 200, code

    async def test_the_type_of_a_problem_can_be_followed(self, alice: Caller) -> None:
        document = (await alice.get(f"/{NOBODYS}")).json()
        assert (await alice.service.http.get(document["type"])).status_code == 200


async def test_metrics_are_there_only_when_asked_for(service: Service) -> None:
    assert_problem(await service.http.get("/metrics"), 404)


async def test_answers_do_not_say_what_serves_them(alice: Caller) -> None:
    answer = await alice.get()
    assert "server" not in answer.headers
    assert "x-powered-by" not in answer.headers
    # Nothing of a user's tasks may be guessed to be a page.
    assert answer.headers["content-type"] == "application/json"


async def test_a_slow_reader_of_one_user_does_not_hold_up_another(alice: Caller, bob: Caller) -> None:
    for n in range(5):
        await alice.create(f"task {n}", description="d" * 1000)
    _, answer = await asyncio.gather(asyncio.gather(*(alice.get() for _ in range(50))), asyncio.wait_for(bob.get(), 5))
    assert answer.status_code == 200
