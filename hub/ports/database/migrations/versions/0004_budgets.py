"""Models and plan versions may say how much a product may send.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

from hub.ports.database.tables import json_document

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TABLES = ("product_model", "plan_version")


def upgrade() -> None:
    for name in _TABLES:
        with op.batch_alter_table(name) as table:
            table.add_column(sa.Column("budget", json_document, nullable=True))


def downgrade() -> None:
    for name in _TABLES:
        with op.batch_alter_table(name) as table:
            table.drop_column("budget")
