"""The pooler of docker/compose.yaml, under its own configuration, between the service and a PostgreSQL."""

import asyncio
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from tests.image.relay import free_port
from tests.support import needs
from tests.support.postgres import ThrowawayPostgres
from tests.support.services import Services

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PASSWORD = "of-the-composition"
ACCOUNT = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


def configuration(name: str) -> str:
    composition = yaml.safe_load((ROOT / "docker/compose.yaml").read_text("utf-8"))
    content: str = composition["configs"][name]["content"]
    return content.replace("${POSTGRES_PASSWORD:?}", PASSWORD)


def user_of(postgres: ThrowawayPostgres) -> str:
    user = urlsplit(postgres.url).username
    assert user
    return user


def accepts(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def directory() -> Iterator[Path]:
    # Not pytest's own, which nobody else may enter; and PgBouncer refuses to be root.
    with tempfile.TemporaryDirectory(prefix="pooler-") as directory:
        yield Path(directory)


@pytest.fixture
def pooler_port(database_port: int, postgres: ThrowawayPostgres, directory: Path) -> Iterator[int]:
    program = needs.program("pgbouncer")
    port = free_port()
    # What differs from the composition is where things are, never how they work.
    ini = configuration("pgbouncer.ini")
    for there, here in {
        "host=postgres port=5432": f"host=127.0.0.1 port={database_port}",
        "listen_addr = *": "listen_addr = 127.0.0.1",
        "listen_port = 6432": f"listen_port = {port}\nunix_socket_dir =",
        "/etc/pgbouncer": str(directory),
    }.items():
        assert there in ini
        ini = ini.replace(there, here)
    (directory / "pgbouncer.ini").write_text(ini, "utf-8")
    users = configuration("userlist.txt").replace("taskservice", user_of(postgres))
    (directory / "userlist.txt").write_text(users, "utf-8")
    for path in (directory, *directory.iterdir()):
        shutil.chown(path, ACCOUNT)
    process = subprocess.Popen(
        [program, "--quiet", "pgbouncer.ini"], cwd=directory, user=ACCOUNT if os.geteuid() == 0 else None
    )
    deadline = time.monotonic() + 10
    while not accepts(port):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield port
    process.terminate()
    process.wait(10)


async def test_the_service_works_through_the_pooler(
    pooler_port: int, postgres: ThrowawayPostgres, services: Services, empty_database_url: str
) -> None:
    pooled = (
        f"postgresql://{user_of(postgres)}:{PASSWORD}@127.0.0.1:{pooler_port}/{postgres.name_of(empty_database_url)}"
    )
    service = services.start(database_url=pooled, DATABASE_DIRECT_URL=empty_database_url, database_pooler="true")
    try:
        alice = service.user("alice")
        await asyncio.gather(*(alice.create(f"Task {number}") for number in range(40)))
        assert len(await alice.tasks()) == 40
    finally:
        service.stop()
