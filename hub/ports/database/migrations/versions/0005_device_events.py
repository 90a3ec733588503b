"""What happened to devices is kept: what they said themselves, and their coming and going.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "device_event",
        sa.Column("id", number, autoincrement=True, nullable=False),
        sa.Column("slot", number, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.LargeBinary(16), nullable=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("arguments", sa.JSON(none_as_null=True), nullable=False),
        sa.ForeignKeyConstraint(["slot"], ["device.slot"], name="fk_device_event_slot"),
        sa.PrimaryKeyConstraint("id", name="pk_device_event"),
    )
    op.create_index("ix_device_event_slot_at", "device_event", ["slot", "at"])
    op.create_index(
        "uq_device_event_slot_event_id", "device_event", ["slot", "event_id"], unique=True
    )


def downgrade() -> None:
    op.drop_table("device_event")
