"""What exchanges rest on; the bytes and the rules that documents were made of."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from store.answers import cited_numbers

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BATCH = 500


def upgrade() -> None:
    made = op.create_table(
        "exchangepassage",
        sa.Column("exchange_id", sa.String(), nullable=False),
        sa.Column("document_id", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("cited", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["exchange_id"], ["exchange.id"], name=op.f("fk_exchangepassage_exchange_id_exchange")),
        sa.PrimaryKeyConstraint("exchange_id", "document_id", "digest", name=op.f("pk_exchangepassage")),
    )
    op.create_index(op.f("ix_exchangepassage_document_id"), "exchangepassage", ["document_id"], unique=False)
    op.create_index(op.f("ix_exchangepassage_digest"), "exchangepassage", ["digest"], unique=False)
    # Added in place, defaults and all: making the table anew would drop rows that chunks refer to.
    for name in ("file_digest", "rules"):
        op.add_column("document", sa.Column(name, sa.String(), nullable=False, server_default=""))
    op.create_index(op.f("ix_document_file_digest"), "document", ["file_digest"], unique=False)
    _fill(op.get_bind(), made)


def _fill(connection: sa.Connection, into: sa.Table) -> None:
    """Enter the passages of the exchanges that have ended, some at a time."""
    exchange = sa.table("exchange", *(sa.column(n) for n in ("id", "state", "answer")), sa.column("passages", sa.JSON))
    feedback = sa.table("feedback", sa.column("exchange_id"), sa.column("correction"))
    query = (
        sa.select(exchange.c.id, exchange.c.answer, exchange.c.passages, feedback.c.correction)
        .select_from(exchange.outerjoin(feedback, feedback.c.exchange_id == exchange.c.id))
        .where(exchange.c.state != "streaming")
        .order_by(exchange.c.id)
        .limit(BATCH)
    )
    last = ""
    while some := connection.execute(query.where(exchange.c.id > last)).all():
        last = some[-1].id
        rows = [row for one in some for row in _rows(one.id, one.passages, one.correction or "", one.answer)]
        if rows:
            connection.execute(into.insert(), rows)


def _rows(exchange_id: str, passages: Any, correction: str, answer: str) -> list[dict[str, Any]]:
    """The rows of one exchange, one for each text of a document; cited by the correction, or else by the answer."""
    numbers = cited_numbers(correction) or cited_numbers(answer)
    found: dict[tuple[str, str], bool] = {}
    for passage in passages if isinstance(passages, list) else []:
        document, digest = passage.get("document"), passage.get("digest")
        if isinstance(document, str) and isinstance(digest, str):
            found[document, digest] = found.get((document, digest), False) or passage.get("n") in numbers
    names = ("exchange_id", "document_id", "digest", "cited")
    return [dict(zip(names, (exchange_id, *key, cited), strict=True)) for key, cited in found.items()]


def downgrade() -> None:
    op.drop_index(op.f("ix_document_file_digest"), "document")
    for name in ("rules", "file_digest"):
        op.drop_column("document", name)
    op.drop_table("exchangepassage")
