"""Orders of top-ups.

Revision ID: 0030
Revises: 0029
"""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

_ID = sa.String(16)
_NAME = sa.String(200)
_INSTANT = sa.BigInteger()


def upgrade() -> None:
    op.create_table(
        "topup_order",
        sa.Column("id", _ID, nullable=False),
        sa.Column("invoice_id", _ID, nullable=False),
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("title", _NAME, nullable=False),
        sa.Column("meter", _NAME, nullable=False),
        sa.Column("amount", _INSTANT, nullable=False),
        sa.Column("decimals", sa.Integer(), nullable=False),
        sa.Column("days", sa.Integer(), nullable=True),
        sa.Column("ordered_at", _INSTANT, nullable=False),
        sa.Column("ordered_by", _NAME, nullable=False),
        sa.Column("grant_id", _ID, nullable=True),
        sa.Column("refunded_at", _INSTANT, nullable=True),
        sa.CheckConstraint("amount >= 1", name="amount_positive"),
        sa.CheckConstraint("decimals BETWEEN 0 AND 9", name="decimals_range"),
        sa.CheckConstraint("days IS NULL OR days >= 1", name="days_positive"),
        sa.ForeignKeyConstraint(
            ["grant_id"], ["credit_grant.id"], name="fk_topup_order_grant_id_credit_grant"
        ),
        sa.ForeignKeyConstraint(
            ["invoice_id"], ["invoice.id"], name="fk_topup_order_invoice_id_invoice"
        ),
        sa.ForeignKeyConstraint(["owner_id"], ["owner.id"], name="fk_topup_order_owner_id_owner"),
        sa.ForeignKeyConstraint(
            ["product_id"], ["product.id"], name="fk_topup_order_product_id_product"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_topup_order"),
        sa.UniqueConstraint("grant_id", name="uq_topup_order_grant_id"),
        sa.UniqueConstraint("invoice_id", name="uq_topup_order_invoice_id"),
    )
    op.create_index("ix_topup_order_owner_id", "topup_order", ["owner_id"])
    op.create_index("ix_topup_order_product_id", "topup_order", ["product_id"])


def downgrade() -> None:
    op.drop_table("topup_order")
