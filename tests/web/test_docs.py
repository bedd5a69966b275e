"""The pages for people, as a client without a browser sees them; tests/browser looks at them with one."""

import gzip
import html
import json
import re
from importlib.metadata import version

import httpx
import pytest

from taskservice.api.openapi import openapi_config
from taskservice.problems import catalogue
from taskservice.web.docs import pages
from tests.web.small_app import client_of, settings_of, small_app


def client(**settings: str) -> httpx.AsyncClient:
    chosen = settings_of(**settings)
    app, _ = small_app(chosen, pages(), openapi_config=openapi_config(chosen))
    return client_of(app)


PAGES = ["/schema/swagger", "/schema/scalar", "/schema/problems", "/schema/problems/validation-failed"]


@pytest.mark.parametrize("page", PAGES)
async def test_pages_allow_no_script_but_files_of_this_service(page: str) -> None:
    async with client() as http:
        answer = await http.get(page)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert not re.search(r"<script(?![^>]* src=)|\son\w+=|https?://", answer.text)


@pytest.mark.parametrize("page", PAGES)
async def test_whatever_a_page_loads_is_there_typed_and_kept_for_ever(page: str) -> None:
    async with client() as http:
        loaded = re.findall(r'(?:src|href)="([^"]*assets/[^"]+)"', (await http.get(page)).text)
        assert loaded
        for reference in loaded:
            asset = await http.get(str(httpx.URL(f"http://service.example{page}").join(reference).path))
            assert asset.status_code == 200
            kind = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}[reference.rpartition(".")[2]]
            assert asset.headers["content-type"].split(";")[0] == kind
            assert asset.headers["x-content-type-options"] == "nosniff"
            assert "max-age=31536000" in asset.headers["cache-control"]
            assert "immutable" in asset.headers["cache-control"]


async def test_assets_are_packed_for_who_can_unpack_them() -> None:
    path = f"/schema/assets/swagger-{version('star-openapi-swagger')}/swagger-ui-bundle.js"
    async with client() as http:
        plain = await http.get(path, headers={"Accept-Encoding": "identity"})
        async with http.stream("GET", path, headers={"Accept-Encoding": "br, gzip"}) as packed:
            raw = b"".join([part async for part in packed.aiter_raw()])
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert len(raw) < len(plain.content) / 2
    assert gzip.decompress(raw) == plain.content


async def test_swagger_ui_is_new_enough_for_openapi_3_1() -> None:
    assert int(version("star-openapi-swagger").split(".")[0]) >= 5


@pytest.mark.parametrize(
    "path",
    [
        "/schema/assets/0/swagger.js",
        "/schema/assets/x/..%2f..%2fdocs.py",
        "/schema/problems/no-such-problem",
        "/schema/nothing",
        "/schema/nothing.json",
    ],
)
async def test_what_is_not_there_is_a_problem_like_everywhere(path: str) -> None:
    async with client() as http:
        answer = await http.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("application/")


async def test_docs_leads_to_swagger_also_below_a_path_prefix() -> None:
    async with client() as http:
        answer = await http.get("/docs")
    assert answer.status_code == 307
    assert not answer.headers["location"].startswith(("/", "http"))
    assert str(httpx.URL("https://example.com/prefix/docs").join(answer.headers["location"])) == (
        "https://example.com/prefix/schema/swagger"
    )


@pytest.mark.parametrize(
    "path", ["/docs", "/schema/swagger", "/schema/scalar", "/schema/problems", "/schema/problems/task-not-found"]
)
async def test_a_page_asked_for_with_a_slash_at_its_end_leads_to_the_page(path: str) -> None:
    async with client() as http:
        answer = await http.get(f"{path}/")
    assert answer.status_code == 307
    asked = httpx.URL(f"https://example.com/prefix{path}/")
    assert str(asked.join(answer.headers["location"])) == f"https://example.com/prefix{path}"


async def test_the_signpost_leads_to_places_that_exist() -> None:
    async with client() as http:
        signs = (await http.get("/")).json()
        for name in ("docs", "scalar", "openapi", "problems"):
            assert (await http.get(signs[name])).status_code in {200, 307}
    assert signs["service"] == "taskservice"


async def test_the_description_is_openapi_3_1() -> None:
    async with client() as http:
        answer = await http.get("/schema/openapi.json")
        assert answer.content == (await http.get("/schema/openapi.json")).content
    assert answer.json()["openapi"].startswith("3.1")


async def test_every_problem_has_the_page_that_its_type_names() -> None:
    async with client() as http:
        overview = (await http.get("/schema/problems")).text
        for kind in catalogue():
            page = await http.get(f"/schema/problems/{kind.code}")
            assert page.status_code == 200
            assert kind.title in page.text
            assert str(kind.status) in page.text
            assert "What to do" in page.text
            shown = json.loads(html.unescape(page.text.partition("<pre><code>")[2].partition("</code></pre>")[0]))
            assert (shown["type"], shown["status"]) == (f"/schema/problems/{kind.code}", kind.status)
            assert f'href="problems/{kind.code}"' in overview


async def test_the_pages_say_how_to_get_a_token() -> None:
    for page in ("/schema/swagger", "/schema/scalar"):
        async with client(env="development") as http:
            assert "litestar token alice" in (await http.get(page)).text
        async with client(env="production") as http:
            assert "litestar token" not in (await http.get(page)).text


async def test_a_service_that_only_trusts_an_issuer_does_not_offer_a_token_of_its_own() -> None:
    async with client(env="development", BETTER_AUTH_SECRET="", BETTER_AUTH_URL="https://auth.example") as http:
        for page in ("/schema/swagger", "/schema/scalar", "/"):
            text = (await http.get(page, headers={"Accept": "text/html"})).text
            assert "litestar token" not in text
            assert "sign-in service" in text
