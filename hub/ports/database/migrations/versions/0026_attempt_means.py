"""By which means an attempt was made.

Revision ID: 0026
Revises: 0025
"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("payment_attempt") as table:
        table.add_column(sa.Column("customer", sa.String(200), nullable=True))
        table.add_column(sa.Column("method", sa.String(200), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("payment_attempt") as table:
        table.drop_column("method")
        table.drop_column("customer")
