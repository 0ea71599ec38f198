"""What people say of logged answers, metric by metric."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "judgelabel",
        sa.Column("exchange_id", sa.String(), nullable=False),
        sa.Column("metric", sa.String(), nullable=False),
        sa.Column("value", sa.Boolean(), nullable=False),
        sa.Column("comment", sa.String(), nullable=False),
        sa.Column("labelled_by", sa.String(), nullable=False),
        sa.Column("labelled_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["exchange_id"], ["exchange.id"], name=op.f("fk_judgelabel_exchange_id_exchange")),
        sa.PrimaryKeyConstraint("exchange_id", "metric", name=op.f("pk_judgelabel")),
    )


def downgrade() -> None:
    op.drop_table("judgelabel")
