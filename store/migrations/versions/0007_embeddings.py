"""Embeddings of exchanges, kept; an index of labels by who gave them and under which taxonomy."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "embedding",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("exchange_id", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("question", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("words", sa.LargeBinary(), nullable=False),
        sa.Column("given", sa.Boolean(), nullable=False),
        sa.Column("parent_id", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["exchange_id"], ["exchange.id"], name=op.f("fk_embedding_exchange_id_exchange")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_embedding")),
    )
    op.create_index("ix_embedding_exchange_id_model", "embedding", ["exchange_id", "model"], unique=True)
    op.create_index("ix_label_labelled_by_taxonomy", "label", ["labelled_by", "taxonomy"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_label_labelled_by_taxonomy", "label")
    op.drop_table("embedding")
