"""Alembic's environment: runs migrations on the connection that `engine.migrate` hands over.

1. There is no ini file and no URL here; the hub's settings own the URL.
"""

from alembic import context

from hub.ports.database.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
