"""Agreements to pay regularly, their bills, and promotions; how plans are tried, collected and left.

Revision ID: 0025
Revises: 0024
"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

_ID = sa.String(16)
_NAME = sa.String(200)
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_OPEN = sa.text("closed_at IS NULL")
_WAITING = sa.text("settled_at IS NULL")


def _key(table: str, column: str, to: str, name: str = "id") -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], [f"{to}.{name}"], name=op.f(f"fk_{table}_{column}_{to}")
    )


def upgrade() -> None:
    with op.batch_alter_table("plan_version") as table:
        table.add_column(sa.Column("lifecycle", sa.JSON(), nullable=True))
    op.create_table(
        "promotion",
        sa.Column("id", _ID, nullable=False),
        sa.Column("code", _NAME, nullable=False),
        sa.Column("title", _NAME, nullable=False),
        sa.Column("percent_ppm", sa.Integer(), nullable=True),
        sa.Column("amounts", sa.JSON(), nullable=True),
        sa.Column("periods", sa.Integer(), nullable=True),
        sa.Column("plans", sa.JSON(), nullable=True),
        sa.Column("most", sa.Integer(), nullable=True),
        sa.Column("redeemed", sa.Integer(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.Column("created_by", _NAME, nullable=False),
        sa.CheckConstraint(
            "(percent_ppm IS NULL) <> (amounts IS NULL)", name=op.f("ck_promotion_discount")
        ),
        sa.CheckConstraint("percent_ppm BETWEEN 1 AND 1000000", name=op.f("ck_promotion_percent")),
        sa.CheckConstraint("most IS NULL OR redeemed <= most", name=op.f("ck_promotion_most")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promotion")),
        sa.UniqueConstraint("code", name=op.f("uq_promotion_code")),
    )
    _agreement()
    op.create_table(
        "promotion_redemption",
        sa.Column("promotion_id", _ID, nullable=False),
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("agreement_id", _ID, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        _key("promotion_redemption", "promotion_id", "promotion"),
        _key("promotion_redemption", "owner_id", "owner"),
        _key("promotion_redemption", "agreement_id", "agreement"),
        sa.PrimaryKeyConstraint("promotion_id", "owner_id", name=op.f("pk_promotion_redemption")),
    )
    op.create_index(
        op.f("ix_promotion_redemption_agreement_id"), "promotion_redemption", ["agreement_id"]
    )


def _agreement() -> None:
    op.create_table(
        "agreement",
        sa.Column("id", _ID, nullable=False),
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("subscription_id", _ID, nullable=False),
        sa.Column("currency", _NAME, nullable=False),
        sa.Column("zone", _NAME, nullable=False),
        sa.Column("concluded_at", sa.BigInteger(), nullable=False),
        sa.Column("anchor_at", sa.BigInteger(), nullable=False),
        sa.Column("anchor_months", sa.Integer(), nullable=False),
        sa.Column("period_start", sa.BigInteger(), nullable=True),
        sa.Column("period_end", sa.BigInteger(), nullable=True),
        sa.Column("billed", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("next_version_id", _BIG, nullable=True),
        sa.Column("promotion_id", _ID, nullable=True),
        sa.Column("promotion_left", sa.Integer(), nullable=True),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        _key("agreement", "product_id", "product"),
        _key("agreement", "owner_id", "owner"),
        _key("agreement", "subscription_id", "subscription"),
        _key("agreement", "next_version_id", "plan_version"),
        _key("agreement", "promotion_id", "promotion"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agreement")),
        sa.UniqueConstraint("subscription_id", name=op.f("uq_agreement_subscription_id")),
    )
    for column in ("product_id", "owner_id", "next_at"):
        op.create_index(op.f(f"ix_agreement_{column}"), "agreement", [column])
    op.create_index(
        "uq_agreement_open",
        "agreement",
        ["product_id"],
        unique=True,
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    )
    op.create_table(
        "agreement_item",
        sa.Column("subscription_id", _ID, nullable=False),
        sa.Column("agreement_id", _ID, nullable=False),
        sa.Column("amount", _BIG, nullable=False),
        sa.Column("tax_ppm", sa.Integer(), nullable=False),
        sa.Column("inclusive", sa.Boolean(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        _key("agreement_item", "subscription_id", "subscription"),
        _key("agreement_item", "agreement_id", "agreement"),
        sa.PrimaryKeyConstraint("subscription_id", name=op.f("pk_agreement_item")),
    )
    op.create_index(op.f("ix_agreement_item_agreement_id"), "agreement_item", ["agreement_id"])
    op.create_table(
        "agreement_bill",
        sa.Column("invoice_id", _ID, nullable=False),
        sa.Column("agreement_id", _ID, nullable=False),
        sa.Column("kind", _NAME, nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("wanted", sa.JSON(), nullable=True),
        sa.Column("settled_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('first', 'period', 'change', 'back')", name=op.f("ck_agreement_bill_kind")
        ),
        _key("agreement_bill", "invoice_id", "invoice"),
        _key("agreement_bill", "agreement_id", "agreement"),
        sa.PrimaryKeyConstraint("invoice_id", name=op.f("pk_agreement_bill")),
    )
    op.create_index(
        op.f("ix_agreement_bill_agreement_id_asked_at"),
        "agreement_bill",
        ["agreement_id", "asked_at"],
    )
    op.create_index(
        "uq_agreement_bill_waiting",
        "agreement_bill",
        ["agreement_id"],
        unique=True,
        sqlite_where=_WAITING,
        postgresql_where=_WAITING,
    )


def downgrade() -> None:
    for name in (
        "agreement_bill",
        "agreement_item",
        "promotion_redemption",
        "agreement",
        "promotion",
    ):
        op.drop_table(name)
    with op.batch_alter_table("plan_version") as table:
        table.drop_column("lifecycle")
