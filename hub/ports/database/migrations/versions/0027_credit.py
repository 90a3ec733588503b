"""Credit grants, usage told over the API and corrected, thresholds that were crossed, statements, outages.

Revision ID: 0027
Revises: 0026
"""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_ID = sa.String(16)
_NAME = sa.String(200)
_INSTANT = sa.BigInteger()
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TABLES = (
    "outage",
    "credit_grant",
    "usage_entry",
    "usage_level",
    "usage_statement",
    "usage_threshold",
)


def upgrade() -> None:
    _outage()
    _credit_grant()
    _usage_entry()
    _usage_level()
    _usage_statement()
    _usage_threshold()
    with op.batch_alter_table("plan_feature") as table:
        table.add_column(sa.Column("quota", sa.JSON(none_as_null=True), nullable=True))
    _correction(sa.PrimaryKeyConstraint("product_id", "meter", name="pk_usage_correction"))


def downgrade() -> None:
    number = sa.Column("id", _NUMBER, autoincrement=True, nullable=False)
    _correction(number, sa.PrimaryKeyConstraint("id", name="pk_usage_correction"))
    op.create_index("ix_usage_correction_product_id_at", "usage_correction", ["product_id", "at"])
    with op.batch_alter_table("plan_feature") as table:
        table.drop_column("quota")
    for name in _TABLES:
        op.drop_table(name)


def _correction(*keyed: sa.schema.SchemaItem) -> None:
    """Make the table of corrections anew, with one row for each product and meter."""
    rows = sa.text(
        "SELECT product_id, meter, MIN(since) AS since, MAX(at) AS at FROM usage_correction"
        " GROUP BY product_id, meter"
    )
    kept = [dict(row) for row in op.get_bind().execute(rows).mappings()]
    op.drop_table("usage_correction")
    table = op.create_table(
        "usage_correction",
        *(part for part in keyed if isinstance(part, sa.Column)),
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("meter", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("since", _INSTANT, nullable=False),
        sa.Column("at", _INSTANT, nullable=False),
        sa.ForeignKeyConstraint(
            ["product_id"], ["product.id"], name="fk_usage_correction_product_id"
        ),
        sa.ForeignKeyConstraint(
            ["meter"], ["usage_meter.number"], name="fk_usage_correction_meter"
        ),
        *(part for part in keyed if not isinstance(part, sa.Column)),
    )
    if kept:
        op.bulk_insert(table, kept)


def _outage() -> None:
    op.create_table(
        "outage",
        sa.Column("id", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("part", _NAME, nullable=False),
        sa.Column("starts_at", _INSTANT, nullable=False),
        sa.Column("ends_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_outage"),
        sa.UniqueConstraint("part", "starts_at", name="uq_outage_part_starts_at"),
    )


def _credit_grant() -> None:
    op.create_table(
        "credit_grant",
        sa.Column("id", _ID, nullable=False),
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("product_id", _ID, nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=True),
        sa.Column("meter", _NAME, nullable=False),
        sa.Column("kind", _NAME, nullable=False),
        sa.Column("code", _NAME, nullable=True),
        sa.Column("cause", _NAME, nullable=False),
        sa.Column("amount", _INSTANT, nullable=False),
        sa.Column("decimals", sa.Integer(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("starts_at", _INSTANT, nullable=False),
        sa.Column("ends_at", _INSTANT, nullable=True),
        sa.Column("renews", sa.Boolean(), nullable=False),
        sa.Column("min_rollover", _INSTANT, nullable=False),
        sa.Column("max_rollover", _INSTANT, nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("author", _NAME, nullable=False),
        sa.Column("reason", _NAME, nullable=False),
        sa.CheckConstraint(
            "kind IN ('topup', 'addon', 'promotion', 'goodwill', 'outage')",
            name=op.f("ck_credit_grant_kind"),
        ),
        sa.CheckConstraint("amount >= 1", name=op.f("ck_credit_grant_amount_positive")),
        sa.CheckConstraint(
            "min_rollover >= 0 AND min_rollover <= max_rollover",
            name=op.f("ck_credit_grant_rollover_range"),
        ),
        sa.CheckConstraint(
            "priority BETWEEN 0 AND 255", name=op.f("ck_credit_grant_priority_range")
        ),
        sa.ForeignKeyConstraint(["owner_id"], ["owner.id"], name="fk_credit_grant_owner_id"),
        sa.ForeignKeyConstraint(["product_id"], ["product.id"], name="fk_credit_grant_product_id"),
        sa.PrimaryKeyConstraint("id", name="pk_credit_grant"),
        sa.UniqueConstraint("cause", name="uq_credit_grant_cause"),
    )
    op.create_index(
        "ix_credit_grant_owner_id_meter", "credit_grant", ["owner_id", "meter"], unique=False
    )
    op.create_index(
        "ix_credit_grant_product_id_meter", "credit_grant", ["product_id", "meter"], unique=False
    )


def _usage_entry() -> None:
    op.create_table(
        "usage_entry",
        sa.Column("id", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("meter", sa.Integer(), nullable=False),
        sa.Column("event_id", _NAME, nullable=False),
        sa.Column("kind", _NAME, nullable=False),
        sa.Column("at", _INSTANT, nullable=False),
        sa.Column("quantity", _INSTANT, nullable=False),
        sa.Column("received_at", _INSTANT, nullable=False),
        sa.Column("author", _NAME, nullable=False),
        sa.Column("reason", _NAME, nullable=False),
        sa.CheckConstraint("kind IN ('event', 'correction')", name=op.f("ck_usage_entry_kind")),
        sa.ForeignKeyConstraint(["meter"], ["usage_meter.number"], name="fk_usage_entry_meter"),
        sa.ForeignKeyConstraint(["product_id"], ["product.id"], name="fk_usage_entry_product_id"),
        sa.PrimaryKeyConstraint("id", name="pk_usage_entry"),
        sa.UniqueConstraint("product_id", "event_id", name="uq_usage_entry_product_id_event_id"),
    )
    op.create_index(
        "ix_usage_entry_product_id_meter_at",
        "usage_entry",
        ["product_id", "meter", "at"],
        unique=False,
    )


def _usage_level() -> None:
    op.create_table(
        "usage_level",
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("meter", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("start", _INSTANT, nullable=False),
        sa.Column("share", sa.Integer(), nullable=False),
        sa.Column("changes", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["meter"], ["usage_meter.number"], name="fk_usage_level_meter"),
        sa.ForeignKeyConstraint(["product_id"], ["product.id"], name="fk_usage_level_product_id"),
        sa.PrimaryKeyConstraint("product_id", "meter", name="pk_usage_level"),
    )


def _usage_statement() -> None:
    op.create_table(
        "usage_statement",
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("meter", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("start", _INSTANT, nullable=False),
        sa.Column("revision", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("end", _INSTANT, nullable=False),
        sa.Column("owner_id", _ID, nullable=True),
        sa.Column("used", _INSTANT, nullable=False),
        sa.Column("overage", _INSTANT, nullable=False),
        sa.Column("at", _INSTANT, nullable=False),
        sa.Column("reason", _NAME, nullable=False),
        sa.Column("cause", _NAME, nullable=True),
        sa.ForeignKeyConstraint(["meter"], ["usage_meter.number"], name="fk_usage_statement_meter"),
        sa.ForeignKeyConstraint(["owner_id"], ["owner.id"], name="fk_usage_statement_owner_id"),
        sa.ForeignKeyConstraint(
            ["product_id"], ["product.id"], name="fk_usage_statement_product_id"
        ),
        sa.PrimaryKeyConstraint(
            "product_id", "meter", "start", "revision", name="pk_usage_statement"
        ),
    )


def _usage_threshold() -> None:
    op.create_table(
        "usage_threshold",
        sa.Column("id", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("meter", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("owner_id", _ID, nullable=True),
        sa.Column("start", _INSTANT, nullable=False),
        sa.Column("share", sa.Integer(), nullable=False),
        sa.Column("up", sa.Boolean(), nullable=False),
        sa.Column("used", _INSTANT, nullable=False),
        sa.Column("allowance", _INSTANT, nullable=False),
        sa.Column("at", _INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["meter"], ["usage_meter.number"], name="fk_usage_threshold_meter"),
        sa.ForeignKeyConstraint(["owner_id"], ["owner.id"], name="fk_usage_threshold_owner_id"),
        sa.ForeignKeyConstraint(
            ["product_id"], ["product.id"], name="fk_usage_threshold_product_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_usage_threshold"),
        sa.UniqueConstraint(
            "product_id", "meter", "number", name="uq_usage_threshold_product_id_meter_number"
        ),
    )
