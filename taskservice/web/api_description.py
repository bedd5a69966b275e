"""The API's description (OpenAPI 3.1), from the same rules and shapes that the service works by."""

from litestar.handlers import HTTPRouteHandler
from litestar.types import Method
from litestar.types.internal_types import PathParameterDefinition


def operation_id(handler: HTTPRouteHandler, _method: Method, path: list[str | PathParameterDefinition]) -> str:
    """`listTasks` on the token surface, `listUserTasks` on the path surface."""
    verb, *rest = handler.handler_name.split("_")
    of_user = len(path) > 1 and not isinstance(path[1], str)
    return verb + ("User" if of_user else "") + "".join(word.title() for word in rest)
