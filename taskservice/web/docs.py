"""Swagger UI and Scalar, the description they show, and the routes of all pages for people."""

from typing import Any, Final

from litestar import MediaType, Request, Response, Router, get
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.response import Redirect

from taskservice.auth.middleware import PUBLIC
from taskservice.problems import FieldError, NotFound, ValidationFailed
from taskservice.settings import Settings
from taskservice.web.assets import asset
from taskservice.web.home import home, offers_demo, token_source
from taskservice.web.layout import page
from taskservice.web.llms import llms
from taskservice.web.problem_pages import every_problem, one_problem

SURFACES: Final = ("token", "path")
USER: Final = "/{user_id}"
"""What the paths of the second surface have, and their twins have not."""


def docs_router() -> Router:
    """Where Litestar serves the API's description."""
    return Router("/schema", route_handlers=[], include_in_schema=False, **PUBLIC, after_request=_in_our_shape)


@get("/docs", status_code=307, sync_to_thread=False)
def docs() -> Redirect:
    return Redirect("schema/swagger", status_code=307)


@get("/schema/swagger", media_type=MediaType.HTML, sync_to_thread=False)
def swagger(request: Request[Any, Any, Any]) -> Response[str]:
    return page("swagger.html", _hint(request), title="taskservice: Swagger UI", root="../")


@get("/schema/scalar", media_type=MediaType.HTML, sync_to_thread=False)
def scalar(request: Request[Any, Any, Any]) -> Response[str]:
    # Scalar writes <style> elements of its own, not all of which take a nonce.
    return page("scalar.html", _hint(request), title="taskservice: Scalar", root="../", inline_styles=True)


def pages() -> Router:
    """Every page for people, and the files they load. All of it is public and works with no internet."""
    return Router(
        "/",
        route_handlers=[home, llms, docs, swagger, scalar, every_problem, one_problem, asset],
        before_request=_without_trailing_slash,
        **PUBLIC,
        include_in_schema=False,
    )


def _hint(request: Request[Any, Any, Any]) -> dict[str, str]:
    """Where a reader gets a token, for the template."""
    settings: Settings = request.app.state.settings
    hint = f"No token yet? {token_source(settings)}"
    if offers_demo(settings):
        hint += ' On the same machine, <a href="../">the start page</a> has one ready.'
    return {"hint": hint}


def _without_trailing_slash(request: Request[Any, Any, Any]) -> Redirect | None:
    """The router treats `/docs/` as `/docs`, but a browser resolves relative links against the path it requested."""
    asked: str = request.scope["raw_path"].decode("ascii")
    page = asked.rstrip("/")
    if page in {"", asked}:
        return None
    return Redirect("../" * (len(asked) - len(page)) + page.rpartition("/")[2], status_code=307)


class DocumentPlugin(JsonRenderPlugin):
    """`/schema/openapi.json`, encoded once. `?surface=` leaves out the other one of two surfaces that are alike."""

    def __init__(self) -> None:
        super().__init__()
        self._encoded: dict[str | None, bytes] = {}

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        surface = request.query_params.get("surface")
        if surface not in {None, *SURFACES}:
            message = "must be token or path, or be left out"
            raise ValidationFailed(
                [FieldError(field="surface", location="query", rule="one_of", allowed=SURFACES, message=message)]
            )
        if surface not in self._encoded:
            document = openapi_schema if surface is None else _one_surface(openapi_schema, surface)
            self._encoded[surface] = self.render_json(request, document)
        return self._encoded[surface]


def _one_surface(document: dict[str, Any], surface: str) -> dict[str, Any]:
    with_user = {path for path in document["paths"] if USER in path}
    left_out = with_user if surface == "token" else {path.replace(USER, "") for path in with_user}
    paths = {path: item for path, item in document["paths"].items() if path not in left_out}
    tags = {tag for item in paths.values() for operation in item.values() for tag in operation.get("tags", ())}
    return {
        **document,
        "paths": paths,
        "tags": [tag for tag in document.get("tags", ()) if tag["name"] in tags],
        "components": _used_components(document["components"], paths),
    }


def _used_components(components: dict[str, Any], paths: dict[str, Any]) -> dict[str, Any]:
    """The components that these paths refer to, and those that they refer to themselves."""
    used: set[str] = set()
    unread: list[Any] = [paths]
    while unread:
        value = unread.pop()
        if isinstance(value, list):
            unread += value
        elif isinstance(value, dict):
            unread += value.values()
            reference = value.get("$ref")
            if isinstance(reference, str) and reference not in used:
                used.add(reference)
                _, _, section, name = reference.split("/")
                unread.append(components[section][name])
    return {
        section: {
            name: part
            for name, part in parts.items()
            # Security schemes are named and not referred to.
            if section == "securitySchemes" or f"#/components/{section}/{name}" in used
        }
        for section, parts in components.items()
    }


def _in_our_shape(response: Response[Any]) -> Response[Any]:
    # Litestar answers unknown paths below /schema with a page of its own; errors have one shape here.
    if response.status_code == 404:
        raise NotFound
    return response
