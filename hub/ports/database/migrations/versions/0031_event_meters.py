"""Meters of what programs tell, whose unit is their own.

Revision ID: 0031
Revises: 0030
"""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("usage_meter") as table:
        table.add_column(sa.Column("unit", sa.String(200), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("usage_meter") as table:
        table.drop_column("unit")
