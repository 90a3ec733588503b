"""Findings know the owner epoch they came in, as alerts do: those of recordings have no alert to ask.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("finding") as table:
        table.add_column(sa.Column("epoch", sa.Integer(), nullable=False, server_default="0"))
    op.execute(
        "UPDATE finding SET epoch = coalesce("
        "(SELECT alert.epoch FROM alert WHERE alert.id = finding.alert_id), 0)"
    )
    with op.batch_alter_table("finding") as table:
        table.alter_column("epoch", server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("finding") as table:
        table.drop_column("epoch")
