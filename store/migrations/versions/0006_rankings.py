"""Learned weights of retrieval."""

import sqlalchemy as sa
from alembic import op

from store.models import Utc

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ranking",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("weights", sa.JSON(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("verdict", sa.JSON(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("compared_with", sa.String(), nullable=False),
        sa.Column("previous", sa.String(), nullable=False),
        sa.Column("cycle_id", sa.String(), nullable=True),
        sa.Column("comment", sa.String(), nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.Column("decided_at", Utc(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ranking")),
    )
    for name in ("created_at", "digest", "state"):
        op.create_index(op.f(f"ix_ranking_{name}"), "ranking", [name], unique=False)


def downgrade() -> None:
    op.drop_table("ranking")
