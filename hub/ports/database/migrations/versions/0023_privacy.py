"""Erasures of people, and how long plans keep telemetry.

Revision ID: 0023
Revises: 0022
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_ID = sa.String(16)
_BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "erasure",
        sa.Column("id", _ID, nullable=False),
        sa.Column("person_id", _ID, nullable=False),
        sa.Column("households", sa.JSON(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("asked_by", sa.String(200), nullable=False),
        sa.Column("counted", sa.JSON(), nullable=False),
        sa.Column("parts", sa.JSON(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasure")),
    )
    op.create_index(op.f("ix_erasure_person_id"), "erasure", ["person_id"])
    op.create_index(op.f("ix_erasure_finished_at"), "erasure", ["finished_at"])
    op.create_table(
        "telemetry_erasure",
        sa.Column("id", _BIG, nullable=False),
        sa.Column("erasure_id", _ID, nullable=False),
        sa.Column("slot", _BIG, nullable=False),
        sa.Column("first_epoch", sa.BigInteger(), nullable=False),
        sa.Column("last_epoch", sa.BigInteger(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=True),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["erasure_id"], ["erasure.id"], name=op.f("fk_telemetry_erasure_erasure_id_erasure")
        ),
        sa.ForeignKeyConstraint(
            ["slot"], ["device.slot"], name=op.f("fk_telemetry_erasure_slot_device")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_telemetry_erasure")),
    )
    op.create_index(op.f("ix_telemetry_erasure_erasure_id"), "telemetry_erasure", ["erasure_id"])
    op.add_column("plan_version", sa.Column("retention", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("plan_version", "retention")
    op.drop_table("telemetry_erasure")
    op.drop_table("erasure")
