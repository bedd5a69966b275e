"""What the repositories have in common: advanced-alchemy's reading methods, and writing methods that refuse.

Each write of a user's tasks takes the next number of that user's change counter. The writing methods that
advanced-alchemy's repository comes with do not use the counter, so here every one of them raises `WriteRefused`.
Repositories override those that they support.
"""

from typing import Any, ClassVar, NoReturn, TypeVar, cast

from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncSession

from taskservice.database.tables import Table

Model = TypeVar("Model", bound=Table)


class WriteRefused(Exception):
    """The method would write past the change counter. The message names the one to call instead."""


def _refuses(method: str) -> Any:
    async def refuse(self: "ReadingRepository[Any]", *_: Any, **__: Any) -> NoReturn:
        raise WriteRefused(f"{type(self).__name__}.{method} would write past the change counter: {self.instead}")

    return refuse


class ReadingRepository(SQLAlchemyAsyncRepository[Model]):  # type: ignore[type-var] # SQLModel, supported at runtime
    """Reads what `statement` selects, always as the database has it now.

    Errors are SQLAlchemy's own, but for `NotFoundError`.
    """

    instead: ClassVar[str]
    """What to call where a writing method refuses."""

    def __init__(self, *, session: AsyncSession, statement: Select[Model]) -> None:
        super().__init__(
            session=session,
            statement=cast("Any", statement),  # typed for SQLAlchemy 2.0
            execution_options={"populate_existing": True},
            wrap_exceptions=False,
            count_with_window_function=False,  # the inherited method counts 0 on a page past the end
        )

    # ---- reading. `statement` would replace the one that keeps to the repository's rows, so none takes it

    async def get(self, item_id: Any, **options: Any) -> Model:
        return await super().get(item_id, **_narrowing(options))

    async def get_one(self, *filters: Any, **options: Any) -> Model:
        return await super().get_one(*filters, **_narrowing(options))

    async def get_one_or_none(self, *filters: Any, **options: Any) -> Model | None:
        return await super().get_one_or_none(*filters, **_narrowing(options))

    async def get_many(self, *filters: Any, **options: Any) -> list[Model]:
        return await super().get_many(*filters, **_narrowing(options))

    async def get_many_and_count(self, *filters: Any, **options: Any) -> tuple[list[Model], int]:
        return await super().get_many_and_count(*filters, **_narrowing(options))

    async def count(self, *filters: Any, **options: Any) -> int:
        return await super().count(*filters, **_narrowing(options))

    # ---- writing

    add = _refuses("add")
    add_many = _refuses("add_many")
    update = _refuses("update")
    update_many = _refuses("update_many")
    delete = _refuses("delete")
    delete_many = _refuses("delete_many")
    delete_where = _refuses("delete_where")
    upsert = _refuses("upsert")
    upsert_many = _refuses("upsert_many")
    get_or_upsert = _refuses("get_or_upsert")
    get_and_update = _refuses("get_and_update")


def _narrowing(options: dict[str, Any]) -> dict[str, Any]:
    if options.get("statement") is not None:
        raise TypeError("the repository's statement cannot be replaced, as it keeps to its rows: give filters")
    return options
