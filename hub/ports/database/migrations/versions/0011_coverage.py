"""Warranties, support contracts, cases, and certificates of health and coverage.

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

from hub.ports.database.tables import big_number, json_document

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_ID = sa.String(16)
_NAME = sa.String(200)
_AT = sa.BigInteger()


def upgrade() -> None:
    _promises()
    _use()
    _bought()
    _cases()
    _certificates()


def _promises() -> None:
    op.create_table(
        "business_calendar",
        sa.Column("name", _NAME, nullable=False),
        sa.Column("zone", _NAME, nullable=False),
        sa.Column("week", json_document, nullable=False),
        sa.Column("holidays", json_document, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_business_calendar"),
    )
    op.create_table(
        "contract_plan",
        sa.Column("name", _NAME, nullable=False),
        sa.Column("title", _NAME, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_contract_plan"),
    )
    op.create_table(
        "contract_version",
        sa.Column("id", big_number, autoincrement=True, nullable=False),
        sa.Column("plan", _NAME, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("months", sa.Integer(), nullable=False),
        sa.Column("incidents", sa.Integer(), nullable=True),
        sa.Column("transferable", sa.Boolean(), nullable=False),
        sa.Column("calendar", _NAME, nullable=True),
        sa.Column("targets", json_document, nullable=False),
        sa.Column("published_at", _AT, nullable=False),
        sa.ForeignKeyConstraint(
            ["calendar"], ["business_calendar.name"], name="fk_contract_version_calendar"
        ),
        sa.ForeignKeyConstraint(["plan"], ["contract_plan.name"], name="fk_contract_version_plan"),
        sa.PrimaryKeyConstraint("id", name="pk_contract_version"),
        sa.UniqueConstraint("plan", "version", name="uq_contract_version_plan_version"),
    )
    op.create_table(
        "warranty_version",
        sa.Column("model_number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("months", sa.Integer(), nullable=False),
        sa.Column("latest_start_months", sa.Integer(), nullable=False),
        sa.Column("transferable", sa.Boolean(), nullable=False),
        sa.Column("use_metric", sa.Integer(), nullable=True),
        sa.Column("use_above", sa.Double(), nullable=True),
        sa.Column("hours_metric", sa.Integer(), nullable=True),
        sa.Column("hours", sa.Double(), nullable=True),
        sa.Column("cycles_metric", sa.Integer(), nullable=True),
        sa.Column("cycles", sa.Double(), nullable=True),
        sa.Column("published_at", _AT, nullable=False),
        sa.ForeignKeyConstraint(
            ["model_number"], ["product_model.number"], name="fk_warranty_version_model_number"
        ),
        sa.PrimaryKeyConstraint("model_number", "version", name="pk_warranty_version"),
    )


def _use() -> None:
    op.create_table(
        "product_use",
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("first_use_at", _AT, nullable=False),
        sa.ForeignKeyConstraint(["product_id"], ["product.id"], name="fk_product_use_product_id"),
        sa.PrimaryKeyConstraint("product_id", name="pk_product_use"),
    )
    op.create_table(
        "meter",
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("metric", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("total", sa.Double(), nullable=False),
        sa.Column("last", sa.Double(), nullable=False),
        sa.Column("before", sa.Double(), nullable=True),
        sa.Column("read_at", _AT, nullable=False),
        sa.ForeignKeyConstraint(["product_id"], ["product.id"], name="fk_meter_product_id"),
        sa.PrimaryKeyConstraint("product_id", "metric", name="pk_meter"),
    )
    op.create_table(
        "meter_reading",
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("metric", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", _AT, autoincrement=False, nullable=False),
        sa.Column("total", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["product_id"], ["product.id"], name="fk_meter_reading_product_id"),
        sa.PrimaryKeyConstraint("product_id", "metric", "at", name="pk_meter_reading"),
    )


def _bought() -> None:
    op.create_table(
        "warranty_extension",
        sa.Column("id", _ID, nullable=False),
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("bought_at", _AT, nullable=False),
        sa.Column("months", sa.Integer(), nullable=False),
        sa.Column("hours", sa.Double(), nullable=False),
        sa.Column("cycles", sa.Double(), nullable=False),
        sa.Column("transferable", sa.Boolean(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("reference", _NAME, nullable=False),
        sa.Column("author", _NAME, nullable=False),
        sa.ForeignKeyConstraint(
            ["product_id"], ["product.id"], name="fk_warranty_extension_product_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_warranty_extension"),
    )
    op.create_index(
        "ix_warranty_extension_product_id", "warranty_extension", ["product_id"], unique=False
    )
    op.create_table(
        "support_contract",
        sa.Column("id", _ID, nullable=False),
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("contract_version_id", big_number, nullable=False),
        sa.Column("starts_at", _AT, nullable=False),
        sa.Column("terms", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("ended_at", _AT, nullable=True),
        sa.Column("reference", _NAME, nullable=False),
        sa.Column("author", _NAME, nullable=False),
        sa.ForeignKeyConstraint(
            ["contract_version_id"],
            ["contract_version.id"],
            name="fk_support_contract_contract_version_id",
        ),
        sa.ForeignKeyConstraint(
            ["product_id"], ["product.id"], name="fk_support_contract_product_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_support_contract"),
    )
    op.create_index(
        "ix_support_contract_product_id", "support_contract", ["product_id"], unique=False
    )
    op.create_table(
        "alert_cover",
        sa.Column("alert_id", _NAME, nullable=False),
        sa.Column("decided_at", _AT, nullable=False),
        sa.Column("kind", _NAME, nullable=True),
        sa.Column("contract_id", _ID, nullable=True),
        sa.Column("code", _NAME, nullable=False),
        sa.Column("arguments", json_document, nullable=False),
        sa.ForeignKeyConstraint(["alert_id"], ["alert.id"], name="fk_alert_cover_alert_id"),
        sa.ForeignKeyConstraint(
            ["contract_id"], ["support_contract.id"], name="fk_alert_cover_contract_id"
        ),
        sa.PrimaryKeyConstraint("alert_id", name="pk_alert_cover"),
    )


def _cases() -> None:
    op.create_table(
        "support_case",
        sa.Column("id", _ID, nullable=False),
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("alert_id", _NAME, nullable=True),
        sa.Column("severity", _NAME, nullable=False),
        sa.Column("subject", _NAME, nullable=False),
        sa.Column("opened_at", _AT, nullable=False),
        sa.Column("opened_by", _NAME, nullable=False),
        sa.Column("assigned_to", _ID, nullable=True),
        sa.Column("responded_at", _AT, nullable=True),
        sa.Column("waiting_since", _AT, nullable=True),
        sa.Column("pauses", json_document, nullable=False),
        sa.Column("resolved_at", _AT, nullable=True),
        sa.Column("closed_at", _AT, nullable=True),
        sa.Column("covered", sa.Boolean(), nullable=False),
        sa.Column("cover_code", _NAME, nullable=False),
        sa.Column("cover_arguments", json_document, nullable=False),
        sa.Column("contract_id", _ID, nullable=True),
        sa.Column("term", sa.Integer(), nullable=True),
        sa.Column("place", sa.Integer(), nullable=True),
        sa.Column("given_back_at", _AT, nullable=True),
        sa.Column("response_due", _AT, nullable=True),
        sa.Column("resolution_due", _AT, nullable=True),
        sa.Column("due_at", _AT, nullable=False),
        sa.CheckConstraint(
            "severity IN ('info', 'warning', 'critical')", name=op.f("ck_support_case_severity")
        ),
        sa.ForeignKeyConstraint(["alert_id"], ["alert.id"], name="fk_support_case_alert_id"),
        sa.ForeignKeyConstraint(["assigned_to"], ["person.id"], name="fk_support_case_assigned_to"),
        sa.ForeignKeyConstraint(
            ["contract_id"], ["support_contract.id"], name="fk_support_case_contract_id"
        ),
        sa.ForeignKeyConstraint(["product_id"], ["product.id"], name="fk_support_case_product_id"),
        sa.PrimaryKeyConstraint("id", name="pk_support_case"),
    )
    op.create_index("ix_support_case_assigned_to", "support_case", ["assigned_to"], unique=False)
    op.create_index(
        "ix_support_case_closed_at_due_at_id",
        "support_case",
        ["closed_at", "due_at", "id"],
        unique=False,
    )
    op.create_index("ix_support_case_product_id", "support_case", ["product_id"], unique=False)
    op.create_index(
        "uq_support_case_alert_open",
        "support_case",
        ["alert_id"],
        unique=True,
        sqlite_where=sa.text("closed_at IS NULL"),
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_index(
        "uq_support_case_place",
        "support_case",
        ["contract_id", "term", "place"],
        unique=True,
        sqlite_where=sa.text("given_back_at IS NULL"),
        postgresql_where=sa.text("given_back_at IS NULL"),
    )
    op.create_table(
        "case_step",
        sa.Column("id", big_number, autoincrement=True, nullable=False),
        sa.Column("case_id", _ID, nullable=False),
        sa.Column("at", _AT, nullable=False),
        sa.Column("actor", _NAME, nullable=False),
        sa.Column("by_staff", sa.Boolean(), nullable=False),
        sa.Column("kind", _NAME, nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["support_case.id"], name="fk_case_step_case_id"),
        sa.PrimaryKeyConstraint("id", name="pk_case_step"),
    )
    op.create_index("ix_case_step_case_id_id", "case_step", ["case_id", "id"], unique=False)


def _certificates() -> None:
    op.create_table(
        "health_certificate",
        sa.Column("id", _ID, nullable=False),
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("purpose", _NAME, nullable=False),
        sa.Column("issued_at", _AT, nullable=False),
        sa.Column("expires_at", _AT, nullable=False),
        sa.Column("issued_by", _NAME, nullable=False),
        sa.Column("link_hash", sa.String(length=64), nullable=False),
        sa.Column("signed", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["product_id"], ["product.id"], name="fk_health_certificate_product_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_health_certificate"),
        sa.UniqueConstraint("link_hash", name="uq_health_certificate_link_hash"),
    )
    op.create_index(
        "ix_health_certificate_product_id", "health_certificate", ["product_id"], unique=False
    )


def downgrade() -> None:
    for table in (
        "health_certificate",
        "case_step",
        "support_case",
        "alert_cover",
        "support_contract",
        "warranty_extension",
        "meter_reading",
        "meter",
        "product_use",
        "warranty_version",
        "contract_version",
        "contract_plan",
        "business_calendar",
    ):
        op.drop_table(table)
