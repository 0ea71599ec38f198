"""Lists that grow at their front, a page at a time."""

from typing import Any

from sqlmodel import Session, SQLModel, and_, col, or_

from store.errors import Invalid


def newest(session: Session, query: Any, model: type[SQLModel], *, limit: int, before: str | None = None) -> Any:
    """A query for rows of `model` (with `id` and `created_at`), the newest first; `before` is the id last seen.

    Raises Invalid for a `before` that is no row's: a list that began anew would look like its end.
    """
    made, key = col(getattr(model, "created_at")), col(getattr(model, "id"))  # noqa: B009, every such table has both
    if before is not None:
        last: Any = session.get(model, before)
        if last is None:
            raise Invalid(f'the cursor is "{before}", which is no row.', "It was deleted: begin the list anew.")
        query = query.where(or_(made < last.created_at, and_(made == last.created_at, key < last.id)))
    return query.order_by(made.desc(), key.desc()).limit(limit)
