"""Leases of the workers on lanes of telemetry.

Revision ID: 0022
Revises: 0021
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_NAME = sa.String(200)


def upgrade() -> None:
    op.create_table(
        "ingest_lane",
        sa.Column("lane", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("holder", _NAME, nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.Column("wanted_by", _NAME, nullable=False),
        sa.PrimaryKeyConstraint("lane", name=op.f("pk_ingest_lane")),
    )


def downgrade() -> None:
    op.drop_table("ingest_lane")
