"""A metric may be a state: one of a few numbered ones, not a quantity.

Revision ID: 0009
Revises: 0008
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def _allow(kinds: str) -> None:
    name = op.f("ck_metric_kind")
    with op.batch_alter_table("metric") as table:
        table.drop_constraint(name, type_="check")
        table.create_check_constraint(name, f"kind IN ({kinds})")


def upgrade() -> None:
    _allow("'gauge', 'counter', 'state'")


def downgrade() -> None:
    op.execute("UPDATE metric SET kind = 'gauge' WHERE kind = 'state'")
    _allow("'gauge', 'counter'")
