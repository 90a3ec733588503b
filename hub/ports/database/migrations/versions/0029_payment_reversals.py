"""What the payment provider does unasked (disputes, refunds at its side), and what it is to forget.

Revision ID: 0029
Revises: 0028
"""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

_ID = sa.String(16)
_NAME = sa.String(200)
_BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_AT = sa.BigInteger()


def upgrade() -> None:
    op.create_table(
        "payment_reversal",
        sa.Column("id", _NAME, nullable=False),
        sa.Column("kind", _NAME, nullable=False),
        sa.Column("reference", _NAME, nullable=False),
        sa.Column("charge_id", _ID, nullable=True),
        sa.Column("currency", _NAME, nullable=False),
        sa.Column("amount", _BIG, nullable=False),
        sa.Column("state", _NAME, nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("said_at", _BIG, nullable=False),
        sa.Column("reason", _NAME, nullable=False),
        sa.Column("answer_by", _AT, nullable=True),
        sa.Column("booked", _NAME, nullable=False),
        sa.Column("postings", sa.Integer(), nullable=False),
        sa.Column("from_credit", _BIG, nullable=False),
        sa.Column("heard_at", _AT, nullable=False),
        sa.CheckConstraint("kind IN ('dispute', 'refund')", name=op.f("ck_payment_reversal_kind")),
        sa.ForeignKeyConstraint(
            ["charge_id"],
            ["payment_attempt.id"],
            name=op.f("fk_payment_reversal_charge_id_payment_attempt"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_reversal")),
    )
    for column in ("reference", "charge_id"):
        op.create_index(op.f(f"ix_payment_reversal_{column}"), "payment_reversal", [column])
    op.create_table(
        "payment_removal",
        sa.Column("kind", _NAME, nullable=False),
        sa.Column("reference", _NAME, nullable=False),
        sa.Column("ordered_at", _AT, nullable=False),
        sa.Column("next_at", _AT, nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.CheckConstraint("kind IN ('customer', 'method')", name=op.f("ck_payment_removal_kind")),
        sa.PrimaryKeyConstraint("kind", "reference", name=op.f("pk_payment_removal")),
    )
    op.create_index(op.f("ix_payment_removal_next_at"), "payment_removal", ["next_at"])


def downgrade() -> None:
    op.drop_table("payment_removal")
    op.drop_table("payment_reversal")
