"""Bodies through Litestar's DTO layer: read strictly, with everything that is wrong noted on the request."""

from typing import Any, TypeVar, cast

from litestar.dto import AbstractDTO
from litestar.typing import FieldDefinition
from msgspec import Struct

from taskservice.api.conditional import asks_to_create
from taskservice.api.request import TaskRequest
from taskservice.tasks.batch import BatchRequest, read_batch
from taskservice.tasks.schemas import TaskChange, TaskCreate

T = TypeVar("T", bound=Struct)


class BodyDTO(AbstractDTO[T]):
    """Reads a body of the shape `T`, which is also what the API's description shows.

    Litestar's own DTOs stop at the first wrong field, and accept "5" for 5 and the second of two equal names.
    `data` is None where something is wrong; the handler's `request.refuse()` then raises the errors.
    """

    __slots__ = ()

    @classmethod
    def create_for_field_definition(cls, *_: Any, **__: Any) -> None:
        """Creates no backend, because none is generated from the model."""

    def decode_bytes(self, value: bytes) -> Any:
        request = cast("TaskRequest", self.asgi_connection)
        return request.service.bodies.read(self.model_type, request.document, request.errors)

    @classmethod
    def create_openapi_schema(cls, field_definition: FieldDefinition, handler_id: str, schema_creator: Any) -> Any:
        return schema_creator.for_field_definition(FieldDefinition.from_annotation(cls.model_type))


class PutDTO(BodyDTO[TaskChange]):
    """Reads the body of a PUT: a change, or a whole new task where the request asks to create it."""

    def decode_bytes(self, value: bytes) -> Any:
        request = cast("TaskRequest", self.asgi_connection)
        kind = TaskCreate if asks_to_create(request) else TaskChange
        return request.service.bodies.read(kind, request.document, request.errors)


class BatchDTO(BodyDTO[BatchRequest]):
    """Reads the operations of a batch."""

    def decode_bytes(self, value: bytes) -> Any:
        request = cast("TaskRequest", self.asgi_connection)
        service = request.service
        return read_batch(request.document, service.bodies, request.errors, hard_delete=service.hard_delete)
