"""`/`: a page for browsers, and the same addresses as JSON for other clients.

In development, and only for a browser on the same machine, the page carries a token for a demo user.
"""

import datetime as dt
import ipaddress
import re
from html import escape
from typing import Any, Final

import msgspec
from litestar import Request, Response, get

from taskservice import __version__, program_name
from taskservice.auth.tokens import issue_token
from taskservice.settings import Settings
from taskservice.tasks.samples import sample_tasks
from taskservice.tasks.schemas import TaskCreate
from taskservice.web.layout import fill, page

DEMO_USER: Final = "demo"
_JSON, _HTML = "application/json", "text/html"
_FORWARDED: Final = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
_HOST: Final = re.compile(r"(?P<name>[A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?")


@get("/", sync_to_thread=False)
def home(request: Request[Any, Any, Any]) -> Response[Any]:
    settings: Settings = request.app.state.settings
    if request.accept.best_match([_JSON, _HTML]) != _HTML:
        signs = {
            "service": "taskservice",
            "version": __version__,
            "docs": settings.address("/docs"),
            "scalar": settings.address("/schema/scalar"),
            "openapi": settings.address("/schema/openapi.json"),
            "problems": settings.address("/schema/problems"),
            "llms": settings.address("/llms.txt"),
            "health": settings.address("/health"),
        }
        return Response(signs, headers={"Vary": "Accept"})
    token = _demo_token(settings, request)
    values = {"version": __version__, "address": escape(_address(settings, request))}
    values["start"] = _start(settings, token, values["address"])
    kept = "no-store" if token else "no-cache"
    headers = {"Vary": "Accept", "Cache-Control": kept}
    return page("home.html", values, title="taskservice", root="./", headers=headers)


def _start(settings: Settings, token: str | None, address: str) -> str:
    """How to make the first requests: with the demo user's token if there is one, else with the reader's."""
    values = {"address": address, "token": token or "PASTE_A_TOKEN_HERE", "user": DEMO_USER}
    examples = fill("examples.html", values)
    if token:
        return fill("demo.html", values | {"samples": escape(_samples())}) + examples
    return fill("token.html", {"source": token_source(settings)}) + examples


def _samples() -> str:
    """The creations that the button "Make sample tasks" sends, as JSON."""
    operations = [
        {"op": "create", "data": TaskCreate(**{name: getattr(task, name) for name in TaskCreate.__struct_fields__})}
        for task in sample_tasks(dt.datetime.now(dt.UTC))
    ]
    return msgspec.json.encode({"operations": operations}).decode()


def token_source(settings: Settings) -> str:
    """Where a reader of the pages gets a token, as HTML."""
    if settings.production or not settings.secrets:
        return "Use one of the sign-in service that this API trusts, without the word <code>Bearer</code>."
    return f"Run <code>{escape(program_name.litestar())} token alice</code> on the server and paste what it prints."


def offers_demo(settings: Settings) -> bool:
    """Whether there may be a demo user: never in production, and only for clients on this machine."""
    return not (settings.production or settings.public_url or settings.users == "registered" or not settings.secrets)


def _demo_token(settings: Settings, request: Request[Any, Any, Any]) -> str | None:
    """A token for the demo user, if the reader is somebody who could make one: a developer at this machine.

    A page of another origin, a name that was made to point at this machine, and a client behind a proxy get none.
    """
    if not offers_demo(settings):
        return None
    if "origin" in request.headers or any(name in request.headers for name in _FORWARDED):
        return None
    if request.client is None or not (_is_loopback(request.client.host) and _is_loopback(_host_name(request))):
        return None
    return issue_token(settings, DEMO_USER)


def _host_name(request: Request[Any, Any, Any]) -> str:
    found = _HOST.fullmatch(request.headers.get("host", ""))
    return found["name"].strip("[]") if found else ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _address(settings: Settings, request: Request[Any, Any, Any]) -> str:
    """The service's address for examples. The page's script puts the browser's own in its place."""
    if settings.public_url:
        return settings.public_url
    host = request.headers.get("host", "")
    return f"{request.url.scheme}://{host if _HOST.fullmatch(host) else 'localhost:8000'}"
