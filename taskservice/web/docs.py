"""The pages for people: Swagger UI, Scalar, every problem explained, and a signpost at `/`.

All of it is public and works with no internet: the assets come from the installed packages `star-openapi-swagger` and
`star-openapi-scalar` (docs/decisions/0007-docs-assets.md), under addresses that carry their version, and a
Content-Security-Policy keeps the pages from loading anything from elsewhere. Links are relative, so that a proxy may
add a path prefix.
"""

import re
from collections.abc import Mapping
from gzip import compress
from hashlib import sha256
from html import escape
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from string import Template
from typing import Any, Final

from litestar import MediaType, Request, Response, Router, get
from litestar.datastructures import CacheControlHeader
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.params import FromPath
from litestar.response import Redirect
from litestar.types import ControllerRouterHandler

from taskservice import __version__, program_name
from taskservice.auth.middleware import PUBLIC
from taskservice.problems import NotFound, Problem, catalogue
from taskservice.settings import Settings

FOREVER: Final = CacheControlHeader(public=True, max_age=31_536_000, immutable=True).to_header()
TYPES: Final = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}

SECURITY: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}

_PAGES: Final = files("taskservice.web") / "pages"
_SWAGGER: Final = files("star_openapi_swagger") / "templates" / "swagger"
_SCALAR: Final = files("star_openapi_scalar") / "templates" / "scalar"

_HINT_DEVELOPMENT: Final = "No token yet? Run <code>{litestar} token alice</code> and paste what it prints."
_HINT_PRODUCTION: Final = "Authorize with a token of your sign-in service, without the word <code>Bearer</code>."


def docs_router() -> Router:
    """Where Litestar serves the API's description."""
    return Router(
        "/schema", route_handlers=[], include_in_schema=False, opt={PUBLIC: True}, after_request=_in_our_shape
    )


def docs_routes(settings: Settings) -> list[ControllerRouterHandler]:
    assets = _Assets()
    hint = (
        _HINT_PRODUCTION if settings.production else _HINT_DEVELOPMENT.format(litestar=escape(program_name.litestar()))
    )
    problems = {kind.code: kind for kind in catalogue()}
    settled = {"hint": hint, **assets.versions}

    @get("/", sync_to_thread=False)
    def signpost() -> dict[str, str]:
        return {
            "service": "taskservice",
            "version": __version__,
            "docs": settings.address("/docs"),
            "scalar": settings.address("/schema/scalar"),
            "openapi": settings.address("/schema/openapi.json"),
            "problems": settings.address("/schema/problems"),
            "health": settings.address("/health"),
        }

    @get("/docs", status_code=307, sync_to_thread=False)
    def docs() -> Redirect:
        return Redirect("schema/swagger", status_code=307)

    @get("/schema/swagger", media_type=MediaType.HTML, sync_to_thread=False)
    def swagger() -> Response[str]:
        return _page("swagger.html", settled)

    @get("/schema/scalar", media_type=MediaType.HTML, sync_to_thread=False)
    def scalar() -> Response[str]:
        # Scalar writes <style> elements of its own, not all of which take a nonce.
        return _page("scalar.html", settled, styles="'self' 'unsafe-inline'")

    @get("/schema/problems", media_type=MediaType.HTML, sync_to_thread=False)
    def every_problem() -> Response[str]:
        items = (
            f'<li><a href="problems/{kind.code}">{kind.code}</a> ({kind.status}): {escape(kind.title)}</li>'
            for kind in problems.values()
        )
        body = f"<h1>Every error</h1><ul>{''.join(items)}</ul>"
        return _page("problem.html", settled | {"title": "Every error", "body": body, "up": ""})

    @get("/schema/problems/{code:str}", media_type=MediaType.HTML, sync_to_thread=False)
    def one_problem(code: FromPath[str]) -> Response[str]:
        kind = problems.get(code)
        if kind is None:
            raise NotFound
        return _page("problem.html", settled | {"title": kind.title, "body": _explained(kind), "up": "../"})

    @get("/schema/assets/{release:str}/{name:str}", sync_to_thread=True)  # reads and packs files
    def asset(request: Request[Any, Any, Any], release: FromPath[str], name: FromPath[str]) -> Response[bytes]:
        return assets.answer(release, name, packed="gzip" in request.headers.get("accept-encoding", ""))

    return [
        Router(
            "/",
            route_handlers=[signpost, docs, swagger, scalar, every_problem, one_problem, asset],
            before_request=_without_trailing_slash,
            opt={PUBLIC: True},
            include_in_schema=False,
        )
    ]


def _without_trailing_slash(request: Request[Any, Any, Any]) -> Redirect | None:
    """The router takes `/docs/` for `/docs`, but a browser resolves relative links against what it asked for."""
    asked: str = request.scope["raw_path"].decode("ascii")
    page = asked.rstrip("/")
    if page in {"", asked}:
        return None
    return Redirect("../" * (len(asked) - len(page)) + page.rpartition("/")[2], status_code=307)


class DocumentPlugin(JsonRenderPlugin):
    """`/schema/openapi.json`, encoded once."""

    _encoded: bytes | None = None

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        if self._encoded is None:
            self._encoded = self.render_json(request, openapi_schema)
        return self._encoded


class _Assets:
    """The files that the pages load, each under the release it belongs to."""

    def __init__(self) -> None:
        own = [entry for entry in _PAGES.iterdir() if entry.name.rpartition(".")[2] in TYPES]
        digest = sha256(b"".join(entry.read_bytes() for entry in sorted(own, key=lambda entry: entry.name)))
        self.versions: Final = {
            "own": digest.hexdigest()[:12],
            "swagger": f"swagger-{version('star-openapi-swagger')}",
            "scalar": f"scalar-{version('star-openapi-scalar')}",
        }
        self._files: dict[tuple[str, str], Traversable] = {
            (self.versions["swagger"], "swagger-ui.css"): _SWAGGER / "css" / "swagger-ui.css",
            (self.versions["swagger"], "swagger-ui-bundle.js"): _SWAGGER / "js" / "swagger-ui-bundle.js",
            (self.versions["scalar"], "scalar.standalone.js"): _SCALAR / "js" / "scalar.standalone.js",
        } | {(self.versions["own"], entry.name): entry for entry in own}
        self._packed: dict[tuple[str, str], bytes] = {}

    def answer(self, release: str, name: str, *, packed: bool) -> Response[bytes]:
        file = self._files.get((release, name))
        if file is None:
            raise NotFound
        headers = SECURITY | {"Cache-Control": FOREVER, "Vary": "Accept-Encoding"}
        if packed:
            headers["Content-Encoding"] = "gzip"
            if (release, name) not in self._packed:
                self._packed[release, name] = compress(file.read_bytes(), mtime=0)
            content = self._packed[release, name]
        else:
            content = file.read_bytes()
        return Response(content, media_type=TYPES[name.rpartition(".")[2]], headers=headers)


def _page(template: str, values: Mapping[str, str], *, styles: str = "'self'") -> Response[str]:
    policy = (
        f"default-src 'none'; script-src 'self'; style-src {styles}; img-src 'self' data:; font-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Response(
        Template((_PAGES / template).read_text("utf-8")).substitute(values),
        media_type=MediaType.HTML,
        headers=SECURITY | {"Content-Security-Policy": policy, "Cache-Control": "no-cache"},
    )


def _explained(kind: type[Problem]) -> str:
    remedy = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(kind.remedy, quote=False))
    return (
        f"<h1>{escape(kind.title)}</h1><dl><dt>Status</dt><dd>{kind.status}</dd>"
        f"<dt>Code</dt><dd><code>{kind.code}</code></dd><dt>What to do</dt><dd>{remedy}</dd></dl>"
        '<p><a href="../problems">Every error</a></p>'
    )


async def _in_our_shape(response: Response[Any]) -> Response[Any]:
    # Litestar answers unknown paths below /schema with a page of its own; errors have one shape here.
    if response.status_code == 404:
        raise NotFound
    return response
