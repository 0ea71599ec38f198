"""What the tables of `store/models.py` are made of: ids, times, the base class and a few kinds of columns."""

from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import uuid4

from sqlalchemy import JSON, Column, DateTime, Dialect, MetaData, TypeDecorator
from sqlmodel import Field, SQLModel

NAMING = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def now() -> datetime:
    """The present moment, UTC."""
    return datetime.now(UTC)


def new_id(prefix: str) -> str:
    """A fresh, unguessable id such as `ex_3f…`; clients never choose ids."""
    return f"{prefix}_{uuid4().hex[:20]}"


class Utc(TypeDecorator[datetime]):
    """A timezone-aware UTC datetime on every database (SQLite drops the zone otherwise)."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class Row(SQLModel):
    """The base of all tables: one metadata with constraint names that migrations can refer to."""

    metadata: ClassVar[MetaData] = MetaData(naming_convention=NAMING)


def json_column(default: type[list[Any]] | type[dict[str, Any]]) -> Any:
    """A column of plain JSON, empty at first."""
    return Field(default_factory=default, sa_column=Column(JSON, nullable=False))


def time_column(*, index: bool = False) -> Any:
    """A moment; the present one at first."""
    return Field(default_factory=now, sa_type=Utc, index=index)


def maybe_time_column() -> Any:
    """A moment that may not have come yet."""
    return Field(default=None, sa_type=Utc, nullable=True)
