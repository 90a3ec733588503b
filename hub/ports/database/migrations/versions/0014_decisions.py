"""Holds on accounts and on what was built alike; earlier terms; settings of owners.

Revision ID: 0014
Revises: 0013
"""

import sqlalchemy as sa
from alembic import op

from hub.ports.database.tables import json_document

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_ID = sa.String(16)
_NAME = sa.String(200)
_NS = sa.BigInteger()
_ONE_SCOPE = (
    "(CASE WHEN product_id IS NULL THEN 0 ELSE 1 END)"
    " + (CASE WHEN owner_id IS NULL THEN 0 ELSE 1 END)"
    " + (CASE WHEN model_number IS NULL THEN 0 ELSE 1 END) = 1"
)


def upgrade() -> None:
    with op.batch_alter_table("hold") as table:
        table.alter_column("product_id", existing_type=_ID, nullable=True)
        table.add_column(sa.Column("owner_id", _ID, nullable=True))
        table.add_column(sa.Column("model_number", sa.Integer(), nullable=True))
        table.add_column(sa.Column("firmware", _NAME, nullable=True))
        table.add_column(sa.Column("hardware_lot", _NAME, nullable=True))
        table.add_column(sa.Column("evidence", _NAME, nullable=True))
        table.create_foreign_key("fk_hold_owner_id", "owner", ["owner_id"], ["id"])
        table.create_foreign_key(
            "fk_hold_model_number", "product_model", ["model_number"], ["number"]
        )
        table.create_check_constraint(op.f("ck_hold_scope"), _ONE_SCOPE)
    op.create_index("ix_hold_owner_id", "hold", ["owner_id"])
    op.create_index("ix_hold_model_number", "hold", ["model_number"])
    op.create_index(
        "uq_hold_product_id_kind_evidence", "hold", ["product_id", "kind", "evidence"], unique=True
    )
    op.create_table(
        "recalled",
        sa.Column("hold_id", _ID, nullable=False),
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("starts_at", _NS, nullable=False),
        sa.Column("ends_at", _NS, nullable=True),
        sa.ForeignKeyConstraint(["hold_id"], ["hold.id"], name="fk_recalled_hold_id"),
        sa.ForeignKeyConstraint(["product_id"], ["product.id"], name="fk_recalled_product_id"),
        sa.PrimaryKeyConstraint("product_id", "hold_id", "starts_at", name="pk_recalled"),
    )
    op.create_table(
        "subscription_terms",
        sa.Column("subscription_id", _ID, nullable=False),
        sa.Column("replaced_at", _NS, nullable=False),
        sa.Column("trial_end", _NS, nullable=True),
        sa.Column("paid_until", _NS, nullable=True),
        sa.Column("grace_s", sa.Integer(), nullable=False),
        sa.Column("cancelled_at", _NS, nullable=True),
        sa.Column("ends_at", _NS, nullable=True),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["subscription.id"],
            name="fk_subscription_terms_subscription_id",
        ),
        sa.PrimaryKeyConstraint("subscription_id", "replaced_at", name="pk_subscription_terms"),
    )
    op.create_table(
        "owner_setting",
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("value", json_document, nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["owner.id"], name="fk_owner_setting_owner_id"),
        sa.PrimaryKeyConstraint("owner_id", "name", name="pk_owner_setting"),
    )


def downgrade() -> None:
    op.drop_table("owner_setting")
    op.drop_table("subscription_terms")
    op.drop_table("recalled")
    op.execute("DELETE FROM hold WHERE product_id IS NULL")
    op.drop_index("uq_hold_product_id_kind_evidence", "hold")
    op.drop_index("ix_hold_model_number", "hold")
    op.drop_index("ix_hold_owner_id", "hold")
    with op.batch_alter_table("hold") as table:
        table.drop_constraint(op.f("ck_hold_scope"), type_="check")
        table.drop_constraint("fk_hold_model_number", type_="foreignkey")
        table.drop_constraint("fk_hold_owner_id", type_="foreignkey")
        for column in ("evidence", "hardware_lot", "firmware", "model_number", "owner_id"):
            table.drop_column(column)
        table.alter_column("product_id", existing_type=_ID, nullable=False)
