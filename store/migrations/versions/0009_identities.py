"""Who somebody is at an identity provider; when an API key ends."""

import sqlalchemy as sa
from alembic import op

from store.models import Utc

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "identity",
        sa.Column("issuer", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("person_id", sa.String(), nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_identity_person_id_person")),
        sa.PrimaryKeyConstraint("issuer", "subject", name=op.f("pk_identity")),
    )
    op.create_index(op.f("ix_identity_person_id"), "identity", ["person_id"], unique=False)
    with op.batch_alter_table("key") as batch:
        batch.add_column(sa.Column("expires_at", Utc(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("key") as batch:
        batch.drop_column("expires_at")
    op.drop_table("identity")
