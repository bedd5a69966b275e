"""Verified TLS to a real PostgreSQL, with an authority of the test's own."""

import asyncio
import datetime as dt
import os
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench.http import request
from bench.postgres import INITDB
from bench.processes import free_port
from bench.reliability.program import Program, running_program
from tests.support import needs

pytestmark = pytest.mark.slow

PASSWORD = "a/password:with@everything"
IN_A_URL = "a%2Fpassword%3Awith%40everything"
Key = ec.EllipticCurvePrivateKey


class Authority:
    """Signs certificates for servers."""

    def __init__(self, directory: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority for tests")])
        self.file = directory / "authority.pem"
        certificate = self._signed(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None))
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, host: str, directory: Path) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        certificate = self._signed(name, key, x509.SubjectAlternativeName([x509.DNSName(host)]))
        files = directory / "server.crt", directory / "server.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        files[1].write_bytes(private)
        files[1].chmod(0o600)
        return files

    def _signed(self, name: x509.Name, key: Key, extension: x509.ExtensionType) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        is_authority = isinstance(extension, x509.BasicConstraints)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(extension, critical=is_authority)
            .sign(self._key, hashes.SHA256())
        )


class Tls:
    """A PostgreSQL at `localhost` that takes passwords over TLS only."""

    def __init__(self, port: int, authority: Path) -> None:
        self.port = port
        self.authority = authority

    def url(self, query: str, *, host: str = "localhost", password: str = IN_A_URL) -> str:
        return f"postgresql://postgres:{password}@{host}:{self.port}/postgres?{query}"


@pytest.fixture(scope="module")
async def tls() -> AsyncIterator[Tls]:
    binaries = needs.debian_postgresql()
    home = Path(tempfile.mkdtemp(prefix="tls-"))
    home.chmod(0o755)
    data = home / "data"
    data.mkdir()
    authority = Authority(home)
    run_as: dict[str, Any] = {"cwd": "/"}
    if os.geteuid() == 0:
        shutil.chown(data, "nobody")
        run_as |= {"user": "nobody", "extra_groups": []}
    (home / "password").write_text(PASSWORD)
    subprocess.run(
        [binaries / "initdb", "-D", data, *INITDB, "--pwfile", home / "password"],
        check=True,
        stdout=subprocess.DEVNULL,
        **run_as,
    )
    for file in authority.issue("localhost", data):
        if os.geteuid() == 0:
            shutil.chown(file, "nobody")
    (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")
    port = free_port()
    settings = ["-p", str(port), "-c", "ssl=on", "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen([binaries / "postgres", "-D", data, *settings], stdout=log, stderr=log, **run_as)
    context = ssl.create_default_context(cafile=authority.file)
    while True:
        assert server.poll() is None, (home / "log").read_text()
        try:
            connection = await asyncpg.connect(
                host="localhost", port=port, user="postgres", password=PASSWORD, database="postgres", ssl=context
            )
        except (OSError, asyncpg.PostgresError):
            await asyncio.sleep(0.02)
        else:
            await connection.close()
            break
    yield Tls(port, authority.file)
    server.terminate()
    server.wait(10)
    shutil.rmtree(home, ignore_errors=True)


async def trouble(program: Program) -> str:
    """The one line that says why the database cannot be used."""
    await program.ready(path="/health/live")
    assert (await program.once(request("GET", "/health/ready", None))).status == 503
    await asyncio.sleep(1)
    lines = [line for line in program.log.splitlines() if "the database is not usable yet" in line]
    assert len(lines) == 1, program.log
    assert PASSWORD not in program.log
    assert IN_A_URL not in program.log
    assert "Traceback" not in program.log
    return lines[0]


@pytest.mark.parametrize(
    "query",
    ["sslmode=verify-full&sslrootcert={}", "sslmode=require&channel_binding=require&sslrootcert={}",
     "sslmode=verify-ca&sslrootcert={}"],
)  # fmt: skip
async def test_a_certificate_of_the_named_authority_is_trusted(tls: Tls, query: str) -> None:
    async with running_program(database_url=tls.url(query.format(tls.authority))) as program:
        answer = await program.once(request("POST", "/api/tasks", "tls", {"title": "over TLS"}))
        assert answer.status == 201
        assert "postgres:***@localhost" in program.log
        assert IN_A_URL not in program.log


async def test_neons_url_verifies_against_the_authorities_of_the_system(tls: Tls) -> None:
    """As Neon prints it, with the name of the server exchanged: `sslmode=require` is no less than `verify-full`."""
    url = tls.url("sslmode=require&channel_binding=require")
    async with running_program(database_url=url, ssl_cert_file=str(tls.authority)) as program:
        answer = await program.once(request("POST", "/api/tasks", "neon", {"title": "over TLS"}))
        assert answer.status == 201


@pytest.mark.parametrize("mode", ["require", "verify-full"])
async def test_a_certificate_of_another_authority_is_refused_and_said(tls: Tls, mode: str) -> None:
    async with running_program(ready=False, database_url=tls.url(f"sslmode={mode}")) as program:
        assert "certificate cannot be verified" in await trouble(program)


async def test_a_certificate_for_another_host_is_refused_and_said(tls: Tls) -> None:
    url = tls.url(f"sslmode=verify-full&sslrootcert={tls.authority}", host="127.0.0.1")
    async with running_program(ready=False, database_url=url) as program:
        assert "check the host in DATABASE_URL" in await trouble(program)


async def test_a_server_that_wants_tls_is_not_spoken_to_without(tls: Tls) -> None:
    async with running_program(ready=False, database_url=tls.url("sslmode=disable")) as program:
        assert "28000" in await trouble(program)


async def test_a_wrong_password_is_said_once_and_not_repeated(tls: Tls) -> None:
    url = tls.url(f"sslmode=verify-full&sslrootcert={tls.authority}", password="wrong-secret")
    async with running_program(ready=False, database_url=url) as program:
        assert "(28P01): check the user and password in DATABASE_URL" in await trouble(program)
        assert "wrong-secret" not in program.log
