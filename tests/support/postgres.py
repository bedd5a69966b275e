"""The throwaway PostgreSQL of a test session: a real server, and a fresh database whenever one is asked for."""

import itertools
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg

from taskservice.database.embedded import EmbeddedPostgres
from tests.support.stage import Stage


class ThrowawayPostgres:
    """Runs from construction to `stop`."""

    def __init__(self, stage: Stage, directory: Path) -> None:
        self._stage = stage
        self._numbers = itertools.count(1)
        self._server = EmbeddedPostgres(directory, durable=False)
        self.url = self._server.ensure_running()

    def stop(self) -> None:
        self._server.stop()

    def create_database(self, *, template: str = "template1") -> str:
        """A database nobody else uses; its URL."""
        name = f"test_{next(self._numbers)}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
        return self.url_of(name)

    def execute(self, statement: str, url: str | None = None) -> None:
        self._stage.run(self._execute(statement, url or self.url))

    def url_of(self, database: str) -> str:
        parts = urlsplit(self.url)
        # Built by hand: urlunsplit drops the empty host of a socket URL.
        return f"{parts.scheme}://{parts.netloc}/{database}" + (f"?{parts.query}" if parts.query else "")

    @staticmethod
    def name_of(url: str) -> str:
        return urlsplit(url).path.removeprefix("/")

    @property
    def socket(self) -> Path:
        """Where the server listens, for tests that put something in between."""
        host = parse_qs(urlsplit(self.url).query).get("host", [""])[0]
        return Path(unquote(host)) / ".s.PGSQL.5432"

    async def _execute(self, statement: str, url: str) -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()
