"""How Alembic runs a step: on the connection that `engine.ledger.migrate` opened and locked, which also commits it."""

from __future__ import annotations

from alembic import context

from engine.ledger.models import Instance

context.configure(connection=context.config.attributes["connection"], target_metadata=Instance.metadata)
with context.begin_transaction():
    context.run_migrations()
