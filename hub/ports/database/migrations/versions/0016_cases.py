"""Purchases count once; a case knows the instant that decides who pays, and severities of alerts.

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_BOUGHT = ("warranty_extension", "support_contract")


def upgrade() -> None:
    for name in _BOUGHT:
        op.drop_index(f"ix_{name}_product_id", table_name=name)
        with op.batch_alter_table(name) as table:
            table.create_unique_constraint(
                f"uq_{name}_product_id_reference", ["product_id", "reference"]
            )
    _check("'notice', 'warning', 'critical'")
    with op.batch_alter_table("support_case") as table:
        table.add_column(
            sa.Column("counted_at", sa.BigInteger(), nullable=False, server_default=sa.text("0"))
        )
    with op.batch_alter_table("support_case") as table:
        table.alter_column("counted_at", server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("support_case") as table:
        table.drop_column("counted_at")
    _check("'info', 'warning', 'critical'")
    for name in _BOUGHT:
        with op.batch_alter_table(name) as table:
            table.drop_constraint(f"uq_{name}_product_id_reference", type_="unique")
        op.create_index(f"ix_{name}_product_id", name, ["product_id"])


def _check(severities: str) -> None:
    name = op.f("ck_support_case_severity")
    with op.batch_alter_table("support_case") as table:
        table.drop_constraint(name, type_="check")
        table.create_check_constraint(name, f"severity IN ({severities})")
