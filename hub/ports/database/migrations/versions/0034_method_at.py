"""When a household's means of payment was given or taken away: the provider's words come in any order.

Revision ID: 0034
Revises: 0033
"""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("billing_account", sa.Column("method_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("billing_account", "method_at")
