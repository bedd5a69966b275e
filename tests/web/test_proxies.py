"""Behind a real proxy with TLS and a path prefix, configured as "proxies.md" says, every address is the public one."""

import re
import ssl
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from bench.processes import free_port
from tests.support.proxies import PROXIES, running_proxy
from tests.support.services import Service, Services

pytestmark = pytest.mark.slow


class Behind(NamedTuple):
    service: Service
    public_url: str
    certificate: Path


@pytest.fixture(scope="module", params=PROXIES)
def behind(
    request: pytest.FixtureRequest, services: Services, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Behind]:
    port = free_port()
    public_url = f"https://localhost:{port}/todo"
    service = services.start(public_url=public_url, metrics="true")
    with running_proxy(request.param, tmp_path_factory.mktemp("proxy"), port, service.url) as certificate:
        yield Behind(service, public_url, certificate)
    service.ask_to_stop()


@pytest.fixture
async def client(behind: Behind) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {behind.service.token('alice/of the proxies')}"}
    trust = ssl.create_default_context(cafile=str(behind.certificate))
    async with httpx.AsyncClient(base_url=behind.public_url, headers=headers, verify=trust, trust_env=False) as client:
        yield client


async def test_the_location_of_a_new_task_can_be_followed(behind: Behind, client: httpx.AsyncClient) -> None:
    made = await client.post("/api/tasks", json={"title": "Buy milk"})
    assert made.headers["location"] == f"{behind.public_url}/api/tasks/{made.json()['id']}"
    assert (await client.get(made.headers["location"])).json() == made.json()


async def test_the_link_to_the_next_page_can_be_followed(behind: Behind, client: httpx.AsyncClient) -> None:
    for number in range(3):
        await client.post("/api/tasks", json={"title": f"{number}"})
    page = await client.get("/api/tasks?limit=2")
    assert page.links["next"]["url"].startswith(f"{behind.public_url}/api/tasks?")
    assert (await client.get(page.links["next"]["url"])).status_code == 200


async def test_a_user_id_with_a_slash_survives_the_proxy(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/alice%2Fof%20the%20proxies/tasks")).status_code == 200


async def test_the_type_of_a_problem_is_a_page_that_explains_it(behind: Behind, client: httpx.AsyncClient) -> None:
    problem = (await client.post("/api/tasks", json={"title": ""})).json()
    assert problem["type"] == f"{behind.public_url}/schema/problems/validation-failed"
    assert problem["instance"] == f"{behind.public_url}/api/tasks"
    assert "What to do" in (await client.get(problem["type"])).text


async def test_the_description_names_the_public_address(behind: Behind, client: httpx.AsyncClient) -> None:
    assert (await client.get("/schema/openapi.json")).json()["servers"] == [{"url": behind.public_url}]


async def test_the_addresses_at_the_root_can_be_followed(behind: Behind, client: httpx.AsyncClient) -> None:
    signs = (await client.get("/")).json()
    for name in ("docs", "scalar", "openapi", "problems", "health"):
        assert signs[name].startswith(f"{behind.public_url}/")
        assert (await client.get(signs[name], follow_redirects=True)).status_code == 200


async def test_pages_load_everything_from_below_the_prefix(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs", follow_redirects=True)
    assert page.status_code == 200
    for reference in re.findall(r'(?:src|href)="([^"]*assets/[^"]+)"', page.text):
        assert (await client.get(str(page.url.join(reference)))).status_code == 200


async def test_the_proxy_compresses_lists(client: httpx.AsyncClient) -> None:
    for number in range(20):
        await client.post("/api/tasks", json={"title": f"task {number}"})
    page = await client.get("/api/tasks", headers={"Accept-Encoding": "gzip"})
    assert page.headers["content-encoding"] == "gzip"
    again = await client.get("/api/tasks", headers={"Accept-Encoding": "gzip", "If-None-Match": page.headers["etag"]})
    assert again.status_code == 304


async def test_an_import_of_several_megabytes_passes_the_proxy(client: httpx.AsyncClient) -> None:
    about = {"description": "x" * 900, "created_at": "2026-11-20T09:15:30Z"}
    tasks = [{"id": str(uuid.uuid4()), "title": f"task {number}", **about} for number in range(3000)]
    answer = await client.post("/api/tasks/import?dry_run=true", json=tasks)
    assert answer.status_code == 200, answer.text[:1000]


@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "/%6Detrics"])
async def test_metrics_stay_inside(behind: Behind, client: httpx.AsyncClient, path: str) -> None:
    assert (await behind.service.http.get(path)).status_code == 200
    assert (await client.get(path)).status_code == 404


async def test_the_prefix_without_a_slash_leads_to_the_page_below_it(behind: Behind, client: httpx.AsyncClient) -> None:
    answer = await client.get(behind.public_url, follow_redirects=True)
    assert answer.status_code == 200
    assert str(answer.url) == f"{behind.public_url}/"
