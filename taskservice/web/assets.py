"""The files that the pages load: their style, scripts and icon, Swagger UI and Scalar.

Swagger UI and Scalar come from the installed packages `star-openapi-swagger` and `star-openapi-scalar`
(docs/decisions/0007-docs-assets.md). Every address carries a version, so that browsers may keep the files for ever.
"""

from gzip import compress
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final

from litestar import Request, Response, get
from litestar.datastructures import CacheControlHeader
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from taskservice.problems import NotFound
from taskservice.web.layout import SECURITY

FOREVER: Final = CacheControlHeader(public=True, max_age=31_536_000, immutable=True).to_header()
MEDIA_TYPES: Final = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}

_OWN: Final = files("taskservice.web") / "static"
_SWAGGER: Final = files("star_openapi_swagger") / "templates" / "swagger"
_SCALAR: Final = files("star_openapi_scalar") / "templates" / "scalar"


class Assets:
    """Every file under its version and name. Read and compressed at the first request for it, then kept."""

    def __init__(self) -> None:
        own = sorted(_OWN.iterdir(), key=lambda file: file.name)
        self.versions: Final = {
            "own": sha256(b"".join(file.read_bytes() for file in own)).hexdigest()[:12],
            "swagger": f"swagger-{version('star-openapi-swagger')}",
            "scalar": f"scalar-{version('star-openapi-scalar')}",
        }
        self._files: Final[dict[tuple[str, str], Traversable]] = {
            (self.versions["swagger"], "swagger-ui.css"): _SWAGGER / "css" / "swagger-ui.css",
            (self.versions["swagger"], "swagger-ui-bundle.js"): _SWAGGER / "js" / "swagger-ui-bundle.js",
            (self.versions["scalar"], "scalar.standalone.js"): _SCALAR / "js" / "scalar.standalone.js",
        } | {(self.versions["own"], file.name): file for file in own}
        self._contents: Final[dict[tuple[str, str, bool], bytes]] = {}

    def content(self, release: str, name: str, *, packed: bool) -> bytes:
        """Raises `NotFound` when there is no such file."""
        key = (release, name, packed)
        if key not in self._contents:
            file = self._files.get((release, name))
            if file is None:
                raise NotFound
            plain = file.read_bytes()
            self._contents[key] = compress(plain, mtime=0) if packed else plain
        return self._contents[key]


def asset_route(assets: Assets) -> HTTPRouteHandler:
    @get("/schema/assets/{release:str}/{name:str}", sync_to_thread=True)  # the first request reads and compresses
    def asset(request: Request[Any, Any, Any], release: FromPath[str], name: FromPath[str]) -> Response[bytes]:
        packed = "gzip" in request.headers.get("accept-encoding", "")
        headers = SECURITY | {"Cache-Control": FOREVER, "Vary": "Accept-Encoding"}
        if packed:
            headers["Content-Encoding"] = "gzip"
        content = assets.content(release, name, packed=packed)
        return Response(content, media_type=MEDIA_TYPES[name.rpartition(".")[2]], headers=headers)

    return asset
