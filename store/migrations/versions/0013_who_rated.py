"""Who rated an answer and when, apart from who corrected it and when; until now one row had one of each."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("feedback", sa.Column("rated_by", sa.String(), nullable=True))
    op.add_column("feedback", sa.Column("rated_at", sa.DateTime(), nullable=True))
    op.execute("UPDATE feedback SET rated_by = person_id, rated_at = updated_at WHERE rating IS NOT NULL")


def downgrade() -> None:
    with op.batch_alter_table("feedback") as feedback:
        feedback.drop_column("rated_at")
        feedback.drop_column("rated_by")
