"""Sentence vectors of passages; a document's collection and tags."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("chunk") as chunk:
        chunk.add_column(sa.Column("sentences", sa.LargeBinary(), nullable=True))
    with op.batch_alter_table("document") as document:
        document.add_column(sa.Column("collection", sa.String(), nullable=False, server_default=""))
        document.add_column(sa.Column("tags", sa.JSON(), nullable=False, server_default="[]"))
    with op.batch_alter_table("document") as document:
        for name, kind in (("collection", sa.String()), ("tags", sa.JSON())):
            document.alter_column(name, existing_type=kind, existing_nullable=False, server_default=None)
        document.create_index(op.f("ix_document_collection"), ["collection"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("document") as document:
        document.drop_index(op.f("ix_document_collection"))
        document.drop_column("tags")
        document.drop_column("collection")
    with op.batch_alter_table("chunk") as chunk:
        chunk.drop_column("sentences")
