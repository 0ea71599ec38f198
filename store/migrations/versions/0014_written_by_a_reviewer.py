"""Whether a correction was written by a reviewer or an admin; of older ones, by who is one now."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("feedback", sa.Column("by_reviewer", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute(
        "UPDATE feedback SET by_reviewer = TRUE WHERE correction <> '' "
        "AND person_id IN (SELECT id FROM person WHERE role <> 'chat')"
    )


def downgrade() -> None:
    with op.batch_alter_table("feedback") as feedback:
        feedback.drop_column("by_reviewer")
