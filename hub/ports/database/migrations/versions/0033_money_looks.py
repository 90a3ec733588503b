"""Looks at what a household pays, which are at no single product; and an index that holds what usage is summed from.

Revision ID: 0033
Revises: 0032
"""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

_OF_HOUSEHOLD = sa.text("product_id IS NULL")
_ENTRY_INDEX = "ix_usage_entry_product_id_meter_at"


def upgrade() -> None:
    with op.batch_alter_table("look") as table:
        table.alter_column("product_id", existing_type=sa.String(16), nullable=True)
    op.create_index(
        "uq_look_household",
        "look",
        ["owner_id", "person_id", "part", "reason_key", "quarter"],
        unique=True,
        sqlite_where=_OF_HOUSEHOLD,
        postgresql_where=_OF_HOUSEHOLD,
    )
    op.create_index(
        f"{_ENTRY_INDEX}_quantity", "usage_entry", ["product_id", "meter", "at", "quantity"]
    )
    op.drop_index(_ENTRY_INDEX, table_name="usage_entry")


def downgrade() -> None:
    op.create_index(_ENTRY_INDEX, "usage_entry", ["product_id", "meter", "at"])
    op.drop_index(f"{_ENTRY_INDEX}_quantity", table_name="usage_entry")
    op.drop_index("uq_look_household", table_name="look")
    op.execute(sa.delete(sa.table("look", sa.column("product_id"))).where(_OF_HOUSEHOLD))
    with op.batch_alter_table("look") as table:
        table.alter_column("product_id", existing_type=sa.String(16), nullable=False)
