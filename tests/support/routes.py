"""Every route of the application, so that no test has to remember a new one."""

from typing import Any, NamedTuple
from urllib.parse import quote
from uuid import UUID

from litestar import Litestar
from litestar.routes import HTTPRoute

from tests.support.services import Caller

NOBODYS = str(UUID(int=0x0197_0000_0000_7000_8000_0000_0000_0001))
"""A well-formed task id that no task has."""


class Operation(NamedTuple):
    method: str
    template: str

    @property
    def public(self) -> bool:
        """What the contract (section 3) lets anybody see."""
        first = self.template.split("/")[1]
        return first in {"", "schema", "docs", "llms.txt", "metrics"} or first == "health"

    @property
    def of_one_task(self) -> bool:
        return "{task_id" in self.template

    @property
    def body(self) -> dict[str, Any] | None:
        """One that is sound for it, where it takes one."""
        if self.method in {"PUT", "PATCH"} and not self.template.endswith("/complete"):
            return {"title": "changed"}
        return {"title": "created"} if self.method == "POST" and self.template.endswith("tasks") else None

    def path(self, user: str, task_id: str = NOBODYS) -> str:
        parts = []
        for part in self.template.split("/"):
            if part.startswith("{user_id"):
                parts.append(quote(user, safe=""))
            elif part.startswith("{task_id"):
                parts.append(task_id)
            else:
                parts.append("anything" if part.startswith("{") else part)
        return "/".join(parts)


def operations(app: Litestar) -> list[Operation]:
    """Every method of every route but OPTIONS, which browsers ask without a token."""
    found = {
        Operation(method, route.path_format)
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for method in route.methods
        if method != "OPTIONS"
    }
    return sorted(found)


def operations_of(caller: Caller) -> list[Operation]:
    """Those of the surface that this caller calls."""
    prefix = "/api/tasks" if caller.surface == "token" else "/api/{user_id"
    return [operation for operation in operations(caller.service.app) if operation.template.startswith(prefix)]
