"""The service with a route that blocks a thread, as a large import does."""

import time

from litestar import Litestar, get

from taskservice import app
from taskservice.auth.middleware import PUBLIC
from taskservice.server import server

server.GRACE_SECONDS = 2  # type: ignore[misc] # the tests do not wait longer for what never ends


@get("/block", sync_to_thread=True, **PUBLIC)
def block() -> None:
    time.sleep(120)


def create_app() -> Litestar:
    service = app.create_app()
    service.register(block)
    return service
