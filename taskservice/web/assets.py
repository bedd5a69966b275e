"""The files that the pages load: their style, scripts and icon, Swagger UI and Scalar.

Swagger UI and Scalar come from the installed packages `star-openapi-swagger` and `star-openapi-scalar`
(docs/decisions/0007-docs-assets.md). Every address carries a version, so that browsers may keep the files for ever.
"""

from functools import cache
from gzip import compress
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final

from litestar import Request, Response, get
from litestar.datastructures import CacheControlHeader
from litestar.params import FromPath

from taskservice.problems import NotFound

FOREVER: Final = CacheControlHeader(public=True, max_age=31_536_000, immutable=True).to_header()
SECURITY: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Headers of the pages and of their files."""
MEDIA_TYPES: Final = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}

_OWN: Final = files("taskservice.web") / "static"
_SWAGGER: Final = files("star_openapi_swagger") / "templates" / "swagger"
_SCALAR: Final = files("star_openapi_scalar") / "templates" / "scalar"


_OWN_FILES: Final = sorted(_OWN.iterdir(), key=lambda file: file.name)

VERSIONS: Final = {
    "own": sha256(b"".join(file.read_bytes() for file in _OWN_FILES)).hexdigest()[:12],
    "swagger": f"swagger-{version('star-openapi-swagger')}",
    "scalar": f"scalar-{version('star-openapi-scalar')}",
}
_FILES: Final[dict[tuple[str, str], Traversable]] = {
    (VERSIONS["swagger"], "swagger-ui.css"): _SWAGGER / "css" / "swagger-ui.css",
    (VERSIONS["swagger"], "swagger-ui-bundle.js"): _SWAGGER / "js" / "swagger-ui-bundle.js",
    (VERSIONS["scalar"], "scalar.standalone.js"): _SCALAR / "js" / "scalar.standalone.js",
} | {(VERSIONS["own"], file.name): file for file in _OWN_FILES}


@get("/schema/assets/{release:str}/{name:str}", sync_to_thread=True)  # the first request reads and compresses
def asset(request: Request[Any, Any, Any], release: FromPath[str], name: FromPath[str]) -> Response[bytes]:
    if (release, name) not in _FILES:
        raise NotFound
    packed = "gzip" in request.headers.get("accept-encoding", "")
    headers = SECURITY | {"Cache-Control": FOREVER, "Vary": "Accept-Encoding"}
    if packed:
        headers["Content-Encoding"] = "gzip"
    media_type = MEDIA_TYPES[name.rpartition(".")[2]]
    return Response(_content(release, name, packed), media_type=media_type, headers=headers)


@cache
def _content(release: str, name: str, packed: bool) -> bytes:
    plain = _FILES[release, name].read_bytes()
    return compress(plain, mtime=0) if packed else plain
