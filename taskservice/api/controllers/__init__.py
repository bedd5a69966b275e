"""The task routes: one definition of every operation, on both surfaces."""

from typing import Any, Final

from litestar import Router

from taskservice.api.controllers.batch import BatchController
from taskservice.api.controllers.changes import ChangesController
from taskservice.api.controllers.tasks import TaskController
from taskservice.api.controllers.transfer import TransferController
from taskservice.api.controllers.trash import TrashController
from taskservice.api.request import SURFACE, TaskRequest
from taskservice.auth.middleware import PathOwner
from taskservice.tasks.list_query import PATH_SURFACE, TOKEN_SURFACE, Surface

CONTROLLERS: Final = [TaskController, TrashController, BatchController, ChangesController, TransferController]


def task_routers() -> list[Router]:
    """The token surface, and the path surface with the user's id in the path."""
    return [
        _router("/api/tasks", TOKEN_SURFACE, tags=["tasks"]),
        _router("/api/{user_id:str}/tasks", PATH_SURFACE, tags=["user tasks"], middleware=[PathOwner]),
    ]


def _router(path: str, surface: Surface, **more: Any) -> Router:
    return Router(
        path,
        route_handlers=CONTROLLERS,
        request_class=TaskRequest,
        return_dto=None,  # else Litestar would encode answers with the DTO of the body
        opt={SURFACE: surface},
        **more,
    )
