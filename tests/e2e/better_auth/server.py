"""A real Better Auth server on Node, and the people who sign in there."""

import itertools
import json
import os
import re
import socket
import subprocess
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
from msgspec import Struct, field

from tests.support import needs

HERE = Path(__file__).parent
CONFIGURABLE = HERE / "configurable"
NODE_MODULES = HERE / "node_modules"
BETTER_AUTH_SECRET = "the-secret-of-better-auth-for-tests-0123456789abcdef"
START_SECONDS = 60


def require_node() -> str:
    """The path of node. Skips the test if it or Better Auth is not there."""
    needs.npm_project("tests/e2e/better_auth")
    return needs.node()


class Person(Struct):
    """Somebody signed in: the cookies of their browser and what Better Auth told them."""

    id: str
    email: str
    session_token: str
    cookies: dict[str, str] = field(default_factory=dict)

    def cookie(self, name: str) -> str:
        """The value of a cookie, whatever prefix its name has."""
        return next(unquote(value) for key, value in self.cookies.items() if key.endswith(name))

    @property
    def headers(self) -> dict[str, str]:
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}

    def keep_cookies(self, response: httpx.Response) -> None:
        for header in response.headers.get_list("set-cookie"):
            found = re.match(r"([^=]+)=([^;]*)", header)
            assert found
            self.cookies[found[1]] = found[2]


class BetterAuth:
    """One server, on a port that stays its own when it is stopped and started again."""

    def __init__(
        self, database_url: str, project: Path = CONFIGURABLE, *, environ: dict[str, str] | None = None, **options: Any
    ) -> None:
        self._node = require_node()
        self._project = project
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        """Where it is reached; its public address may be another."""
        self._environ = {
            "PATH": os.environ["PATH"],
            "PORT": str(self.port),
            "DATABASE_URL": database_url,
            "BETTER_AUTH_URL": self.address,
            "BETTER_AUTH_SECRET": BETTER_AUTH_SECRET,
            "BETTER_AUTH_TELEMETRY": "0",
            "OPTIONS": json.dumps(options),
        } | (environ or {})
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[str] | None = None
        # As a browser on one of its own pages.
        origin = self._environ["BETTER_AUTH_URL"]
        self.http = httpx.AsyncClient(
            base_url=self.address,
            headers={"Origin": origin},
            # Each person has a browser of their own, so this one keeps nothing.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            trust_env=False,
            timeout=START_SECONDS,
        )
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [self._node, str(HERE / "server.mjs"), str(self._project)],
            env={name: value for name, value in self._environ.items() if value},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdout
        said = []
        for line in self._process.stdout:
            if line == "ready\n":
                return
            said.append(line)
        raise AssertionError("Better Auth did not start:\n" + "".join(said))

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(START_SECONDS)
            assert self._process.stdout
            self._process.stdout.close()
            self._process = None

    async def hang_up(self) -> None:
        """Close the connections to it."""
        await self.http.aclose()

    async def sign_up(self, name: str) -> Person:
        """Somebody new, signed in."""
        email = f"{name.lower()}-{next(self._numbers)}@example.test"
        response = await self.http.post(
            "/api/auth/sign-up/email", json={"name": name, "email": email, "password": "correct horse battery"}
        )
        assert response.status_code == 200, response.text
        person = Person(response.json()["user"]["id"], email, response.json()["token"])
        person.keep_cookies(response)
        return person

    async def token(self, person: Person) -> str:
        """What the JWT plugin gives them."""
        response = await self.http.get("/api/auth/token", headers=person.headers)
        assert response.status_code == 200, response.text
        token: str = response.json()["token"]
        return token

    async def mails(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = (await self.http.get("/mails")).json()
        return found
