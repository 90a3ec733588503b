"""Findings know whether they are about rows that their owner could not see.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("finding") as table:
        table.add_column(
            sa.Column("hidden", sa.Boolean(), nullable=False, server_default=sa.false())
        )
    with op.batch_alter_table("finding") as table:
        table.alter_column("hidden", server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("finding") as table:
        table.drop_column("hidden")
