"""What people say of two sides' answers to held-out cases."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "caselabel",
        sa.Column("exchange_id", sa.String(), nullable=False),
        sa.Column("answer_digest", sa.String(), nullable=False),
        sa.Column("value", sa.Boolean(), nullable=False),
        sa.Column("labelled_by", sa.String(), nullable=False),
        sa.Column("labelled_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["exchange_id"], ["exchange.id"], name=op.f("fk_caselabel_exchange_id_exchange")),
        sa.PrimaryKeyConstraint("exchange_id", "answer_digest", name=op.f("pk_caselabel")),
    )


def downgrade() -> None:
    op.drop_table("caselabel")
