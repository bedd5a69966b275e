"""The base class of all tables, and the metadata in which migrations and schema checks find them.

The packages above define the tables; starting the application imports them.
"""

from typing import TYPE_CHECKING, ClassVar

import sqlalchemy as sa
from sqlmodel import SQLModel

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Table(SQLModel):
    """The base class of the models."""

    metadata: ClassVar[sa.MetaData] = sa.MetaData(naming_convention=NAMING)  # pyright: ignore[reportIncompatibleVariableOverride]
    if TYPE_CHECKING:
        # SQLModel types it as the function that makes a name from that of the class.
        __tablename__: ClassVar[str]  # pyright: ignore[reportIncompatibleVariableOverride, reportIncompatibleUnannotatedOverride]
