"""What an operator does beside a real Better Auth server, on the command line."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.e2e.better_auth.conftest import Both, Pairs, caller
from tests.e2e.better_auth.server import BETTER_AUTH_SECRET, HERE, BetterAuth
from tests.support.services import Service

pytestmark = pytest.mark.slow

ROOT = HERE.parents[2]
LITESTAR = Path(sys.executable).with_name("litestar")


async def litestar(*command: str, server: BetterAuth, service: Service, **environ: str) -> tuple[int, str]:
    """The exit code of a command and all that it said."""
    settings = {
        "DATABASE_URL": service.database_url,
        "BETTER_AUTH_URL": server.address,
        "BETTER_AUTH_SECRET": BETTER_AUTH_SECRET,
        "TASKSERVICE_DATA_DIR": str(service.settings.data_dir),
    }
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        LITESTAR,
        *command,
        cwd=ROOT,
        env=inherited | settings | environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def test_the_doctor_finds_both_kinds_of_keys_and_the_users(usual: Both) -> None:
    server, service = usual
    code, said = await litestar("doctor", server=server, service=service, TASKSERVICE_USERS="registered")
    assert code == 0, said
    assert f"{server.address}/api/auth/jwks: EdDSA " in said
    assert "shared secret" in said
    assert "users table" in said
    assert BETTER_AUTH_SECRET not in said


async def test_the_doctor_says_why_a_token_is_refused(usual: Both) -> None:
    server, service = usual
    ann = await server.sign_up("Ann")
    token = await server.token(ann)
    assert (await litestar("doctor", "--token", token, server=server, service=service))[0] == 0
    for refused, words in (
        (ann.session_token, "it is a session token of Better Auth, not a JWT"),
        (token[:-6] + "AAAAAA", "was changed afterwards"),
        ((await server.mails())[-1]["token"], "it is an e-mail link token of Better Auth"),
    ):
        code, said = await litestar("doctor", "--token", refused, server=server, service=service)
        assert code == 1
        assert words in said
        assert refused not in said


async def test_a_token_of_the_command_line_is_good_for_an_hour(usual: Both) -> None:
    server, service = usual
    code, said = await litestar("token", "ann", "--ttl", "1h", server=server, service=service)
    assert code == 0, said
    assert (await caller(service, said.strip(), "ann").get()).status_code == 200


async def test_what_deleted_users_leave_behind_can_be_removed(pairs: Pairs) -> None:
    server, service = await pairs.start(plugin={})
    ann, bob = await server.sign_up("Ann"), await server.sign_up("Bob")
    for person in (ann, bob):
        await caller(service, await server.token(person), person.id).create()
    password = {"password": "correct horse battery"}
    assert (await server.http.post("/api/auth/delete-user", headers=ann.headers, json=password)).status_code == 200
    code, said = await litestar("purge", "--orphans", server=server, service=service)
    assert code == 0, said
    assert [row["id"] for row in await service.rows("SELECT id FROM users")] == [bob.id]
    assert [row["user_id"] for row in await service.rows("SELECT user_id FROM tasks")] == [bob.id]
    assert await caller(service, await server.token(bob), bob.id).titles() == ["Buy milk"]
