"""A canary's testers, what a process serves as canary, and blind previews."""

import sqlalchemy as sa
from alembic import op

from store.models import Utc

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("deployment") as deployment:
        deployment.add_column(sa.Column("testers", sa.JSON(), nullable=False, server_default="[]"))
    with op.batch_alter_table("deployment") as deployment:
        deployment.alter_column("testers", existing_type=sa.JSON(), existing_nullable=False, server_default=None)
    with op.batch_alter_table("process") as process:
        process.add_column(sa.Column("canary", sa.String(), nullable=True))

    op.create_table(
        "preview",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("person_id", sa.String(), nullable=False),
        sa.Column("adapter", sa.String(), nullable=False),
        sa.Column("serving", sa.String(), nullable=False),
        sa.Column("question", sa.String(), nullable=False),
        sa.Column("passages", sa.JSON(), nullable=False),
        sa.Column("answers", sa.JSON(), nullable=False),
        sa.Column("choice", sa.String(), nullable=True),
        sa.Column("comment", sa.String(), nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.Column("chosen_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_preview_person_id_person")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_preview")),
    )
    op.create_index(op.f("ix_preview_adapter"), "preview", ["adapter"], unique=False)
    op.create_index(op.f("ix_preview_created_at"), "preview", ["created_at"], unique=False)
    op.create_index(op.f("ix_preview_person_id"), "preview", ["person_id"], unique=False)


def downgrade() -> None:
    op.drop_table("preview")
    with op.batch_alter_table("process") as process:
        process.drop_column("canary")
    with op.batch_alter_table("deployment") as deployment:
        deployment.drop_column("testers")
