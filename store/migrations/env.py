"""Alembic's entry: runs migrations over the connection that store/database.py hands in."""

from alembic import context

from store.models import Row

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Row.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
