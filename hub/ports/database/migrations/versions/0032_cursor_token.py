"""The fencing token of the segment that a reader of a log read last.

Revision ID: 0032
Revises: 0031
"""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    with op.batch_alter_table("cursor") as table:
        table.add_column(sa.Column("token", _NUMBER, nullable=False, server_default="0"))


def downgrade() -> None:
    with op.batch_alter_table("cursor") as table:
        table.drop_column("token")
