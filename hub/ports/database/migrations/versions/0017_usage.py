"""Meters that count usage, corrections of closed periods, and holds of quotas that are used up.

Revision ID: 0017
Revises: 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_ID = sa.String(16)
_NAME = sa.String(200)
_KINDS = "kind IN ('payment', 'fraud', 'theft', 'recall', 'clone'{more})"


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "usage_meter",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("model_number", sa.Integer(), nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("title", _NAME, nullable=False),
        sa.Column("metric_index", sa.Integer(), nullable=False),
        sa.Column("aggregation", _NAME, nullable=False),
        sa.Column("decimals", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "aggregation IN ('count', 'sum', 'max', 'last', 'increase', 'unique')",
            name=op.f("ck_usage_meter_aggregation"),
        ),
        sa.CheckConstraint("number BETWEEN 1 AND 65535", name=op.f("ck_usage_meter_number_range")),
        sa.CheckConstraint("decimals BETWEEN 0 AND 9", name=op.f("ck_usage_meter_decimals_range")),
        sa.ForeignKeyConstraint(
            ["model_number"], ["product_model.number"], name="fk_usage_meter_model_number"
        ),
        sa.PrimaryKeyConstraint("number", name="pk_usage_meter"),
        sa.UniqueConstraint("model_number", "name", name="uq_usage_meter_model_number_name"),
    )
    op.create_table(
        "usage_correction",
        sa.Column("id", number, autoincrement=True, nullable=False),
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("meter", sa.Integer(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["product_id"], ["product.id"], name="fk_usage_correction_product_id"
        ),
        sa.ForeignKeyConstraint(
            ["meter"], ["usage_meter.number"], name="fk_usage_correction_meter"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_usage_correction"),
    )
    op.create_index("ix_usage_correction_product_id_at", "usage_correction", ["product_id", "at"])
    with op.batch_alter_table("feature") as table:
        table.add_column(sa.Column("meter", _NAME, nullable=True))
    _kinds(", 'quota'")


def downgrade() -> None:
    op.execute("DELETE FROM hold WHERE kind = 'quota'")
    _kinds("")
    with op.batch_alter_table("feature") as table:
        table.drop_column("meter")
    op.drop_table("usage_correction")
    op.drop_table("usage_meter")


def _kinds(more: str) -> None:
    with op.batch_alter_table("hold") as table:
        table.drop_constraint(op.f("ck_hold_kind"), type_="check")
        table.create_check_constraint(op.f("ck_hold_kind"), _KINDS.format(more=more))
