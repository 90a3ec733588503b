"""Subscriptions that are collected, paused, withdrawn from, and bought more than once.

Revision ID: 0020
Revises: 0019
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_INSTANTS = ("paused_at", "resumes_at", "withdrawn_at")


def upgrade() -> None:
    for name in ("subscription", "subscription_terms"):
        with op.batch_alter_table(name) as table:
            table.add_column(sa.Column("retry_s", sa.Integer(), nullable=False, server_default="0"))
            for instant in _INSTANTS:
                table.add_column(sa.Column(instant, sa.BigInteger(), nullable=True))
    with op.batch_alter_table("subscription") as table:
        table.add_column(sa.Column("quantity", sa.Integer(), nullable=False, server_default="1"))


def downgrade() -> None:
    with op.batch_alter_table("subscription") as table:
        table.drop_column("quantity")
    for name in ("subscription", "subscription_terms"):
        with op.batch_alter_table(name) as table:
            for column in ("retry_s", *_INSTANTS):
                table.drop_column(column)
