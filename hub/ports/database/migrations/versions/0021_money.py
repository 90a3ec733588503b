"""Prices of plans, taxes, billing accounts, invoices, attempts to collect them, and the ledger.

Revision ID: 0021
Revises: 0020
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_ID = sa.String(16)
_NAME = sa.String(200)
_DIGEST = sa.String(64)
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_WAITING_CHARGE = sa.text("answered_at IS NULL AND kind = 'charge'")
_TABLES = (
    "invoice_line",
    "payment_attempt",
    "ledger_entry",
    "ledger_seal",
    "invoice",
    "payment_event",
    "billing_account",
    "tax_region",
)


def upgrade() -> None:
    _accounts()
    _invoices()
    _payments()
    _ledger()
    with op.batch_alter_table("plan") as table:
        table.add_column(
            sa.Column("addon", sa.Boolean(), server_default=sa.false(), nullable=False)
        )
    with op.batch_alter_table("plan_version") as table:
        table.add_column(sa.Column("price", sa.JSON(), nullable=True))


def _accounts() -> None:
    op.create_table(
        "tax_region",
        sa.Column("region", _NAME, nullable=False),
        sa.Column("title", _NAME, nullable=False),
        sa.Column("rates", sa.JSON(), nullable=False),
        sa.Column("reverse_charge", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("region", name=op.f("pk_tax_region")),
    )
    op.create_table(
        "billing_account",
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("currency", _NAME, nullable=False),
        sa.Column("zone", _NAME, nullable=False),
        sa.Column("region", _NAME, nullable=False),
        sa.Column("tax_id", _NAME, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("email", _NAME, nullable=False),
        sa.Column("customer", _NAME, nullable=True),
        sa.Column("method", _NAME, nullable=True),
        sa.Column("method_title", _NAME, nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["owner.id"], name=op.f("fk_billing_account_owner_id")
        ),
        sa.PrimaryKeyConstraint("owner_id", name=op.f("pk_billing_account")),
    )


def _invoices() -> None:
    op.create_table(
        "invoice",
        sa.Column("id", _ID, nullable=False),
        sa.Column("number", _NAME, nullable=False),
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("cause", _NAME, nullable=False),
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("currency", _NAME, nullable=False),
        sa.Column("net", _BIG, nullable=False),
        sa.Column("tax", _BIG, nullable=False),
        sa.Column("gross", _BIG, nullable=False),
        sa.Column("tax_title", _NAME, nullable=False),
        sa.Column("buyer", sa.JSON(), nullable=False),
        sa.Column("seller", sa.JSON(), nullable=False),
        sa.Column("issued_at", sa.BigInteger(), nullable=False),
        sa.Column("paid_at", sa.BigInteger(), nullable=True),
        sa.Column("voided_at", sa.BigInteger(), nullable=True),
        sa.Column("written_off_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("gross = net + tax", name=op.f("ck_invoice_total")),
        sa.ForeignKeyConstraint(["owner_id"], ["owner.id"], name=op.f("fk_invoice_owner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoice")),
        sa.UniqueConstraint("cause", name=op.f("uq_invoice_cause")),
        sa.UniqueConstraint("number", name=op.f("uq_invoice_number")),
        sa.UniqueConstraint("year", "sequence", name=op.f("uq_invoice_year_sequence")),
    )
    op.create_index(op.f("ix_invoice_owner_id_issued_at"), "invoice", ["owner_id", "issued_at"])
    op.create_table(
        "invoice_line",
        sa.Column("invoice_id", _ID, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("subscription_id", _ID, nullable=True),
        sa.Column("product_id", _ID, nullable=True),
        sa.Column("kind", _NAME, nullable=False),
        sa.Column("code", _NAME, nullable=False),
        sa.Column("args", sa.JSON(), nullable=False),
        sa.Column("quantity", _NAME, nullable=False),
        sa.Column("net", _BIG, nullable=False),
        sa.Column("tax", _BIG, nullable=False),
        sa.Column("tax_ppm", sa.Integer(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=True),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["invoice_id"], ["invoice.id"], name=op.f("fk_invoice_line_invoice_id")
        ),
        sa.ForeignKeyConstraint(
            ["product_id"], ["product.id"], name=op.f("fk_invoice_line_product_id")
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscription.id"], name=op.f("fk_invoice_line_subscription_id")
        ),
        sa.PrimaryKeyConstraint("invoice_id", "position", name=op.f("pk_invoice_line")),
    )
    op.create_index(op.f("ix_invoice_line_subscription_id"), "invoice_line", ["subscription_id"])


def _payments() -> None:
    op.create_table(
        "payment_event",
        sa.Column("id", _NAME, nullable=False),
        sa.Column("kind", _NAME, nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_event")),
    )
    op.create_index(op.f("ix_payment_event_received_at"), "payment_event", ["received_at"])
    op.create_table(
        "payment_attempt",
        sa.Column("id", _ID, nullable=False),
        sa.Column("kind", _NAME, nullable=False),
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("invoice_id", _ID, nullable=True),
        sa.Column("charge_id", _ID, nullable=True),
        sa.Column("cause", _NAME, nullable=False),
        sa.Column("currency", _NAME, nullable=False),
        sa.Column("amount", _BIG, nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.Column("begun_at", sa.BigInteger(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("answered_at", sa.BigInteger(), nullable=True),
        sa.Column("outcome", _NAME, nullable=True),
        sa.Column("reference", _NAME, nullable=True),
        sa.Column("code", _NAME, nullable=True),
        sa.CheckConstraint(
            "(kind = 'charge') = (charge_id IS NULL)", name=op.f("ck_payment_attempt_charge")
        ),
        sa.CheckConstraint("kind IN ('charge', 'refund')", name=op.f("ck_payment_attempt_kind")),
        sa.CheckConstraint(
            "outcome IN ('paid', 'failed', 'cancelled')", name=op.f("ck_payment_attempt_outcome")
        ),
        sa.CheckConstraint(
            "(answered_at IS NULL) = (outcome IS NULL)", name=op.f("ck_payment_attempt_answered")
        ),
        sa.ForeignKeyConstraint(
            ["charge_id"], ["payment_attempt.id"], name=op.f("fk_payment_attempt_charge_id")
        ),
        sa.ForeignKeyConstraint(
            ["invoice_id"], ["invoice.id"], name=op.f("fk_payment_attempt_invoice_id")
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["owner.id"], name=op.f("fk_payment_attempt_owner_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_attempt")),
        sa.UniqueConstraint("cause", name=op.f("uq_payment_attempt_cause")),
    )
    op.create_index(op.f("ix_payment_attempt_charge_id"), "payment_attempt", ["charge_id"])
    op.create_index("ix_payment_attempt_due", "payment_attempt", ["answered_at", "next_at"])
    op.create_index(op.f("ix_payment_attempt_invoice_id"), "payment_attempt", ["invoice_id"])
    op.create_index(op.f("ix_payment_attempt_owner_id"), "payment_attempt", ["owner_id"])
    op.create_index(op.f("ix_payment_attempt_reference"), "payment_attempt", ["reference"])
    op.create_index(
        "uq_payment_attempt_waiting",
        "payment_attempt",
        ["invoice_id"],
        unique=True,
        sqlite_where=_WAITING_CHARGE,
        postgresql_where=_WAITING_CHARGE,
    )


def _ledger() -> None:
    op.create_table(
        "ledger_seal",
        sa.Column("entry_id", _BIG, autoincrement=False, nullable=False),
        sa.Column("digest", _DIGEST, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_ledger_seal")),
    )
    op.create_table(
        "ledger_entry",
        sa.Column("id", _BIG, autoincrement=False, nullable=False),
        sa.Column("posting", _BIG, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("cause", _NAME, nullable=False),
        sa.Column("account", _NAME, nullable=False),
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("invoice_id", _ID, nullable=True),
        sa.Column("currency", _NAME, nullable=False),
        sa.Column("amount", _BIG, nullable=False),
        sa.Column("previous", _DIGEST, nullable=False),
        sa.Column("digest", _DIGEST, nullable=False),
        sa.CheckConstraint("amount <> 0", name=op.f("ck_ledger_entry_amount")),
        sa.ForeignKeyConstraint(
            ["invoice_id"], ["invoice.id"], name=op.f("fk_ledger_entry_invoice_id")
        ),
        sa.ForeignKeyConstraint(["owner_id"], ["owner.id"], name=op.f("fk_ledger_entry_owner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entry")),
        sa.UniqueConstraint("cause", "position", name=op.f("uq_ledger_entry_cause_position")),
    )
    op.create_index(
        op.f("ix_ledger_entry_invoice_id_account"), "ledger_entry", ["invoice_id", "account"]
    )
    op.create_index(
        op.f("ix_ledger_entry_owner_id_account_currency"),
        "ledger_entry",
        ["owner_id", "account", "currency"],
    )


def downgrade() -> None:
    with op.batch_alter_table("plan_version") as table:
        table.drop_column("price")
    with op.batch_alter_table("plan") as table:
        table.drop_column("addon")
    for name in _TABLES:
        op.drop_table(name)
