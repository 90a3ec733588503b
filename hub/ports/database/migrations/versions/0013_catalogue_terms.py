"""What a catalogue says of support, data sheets, settings, values and withdrawn plan versions.

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

from hub.ports.database.tables import big_number, json_document

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_NAMES = {
    "product_model": ("support_until", "data_sheet", "settings"),
    "feature": ("unit", "low", "high", "choices"),
    "plan_version": ("withdrawn", "settings"),
}


def upgrade() -> None:
    with op.batch_alter_table("product_model") as table:
        table.add_column(sa.Column("support_until", sa.Date(), nullable=True))
        table.add_column(sa.Column("data_sheet", json_document, nullable=True))
        table.add_column(sa.Column("settings", json_document, nullable=True))
    with op.batch_alter_table("feature") as table:
        table.add_column(sa.Column("unit", sa.String(200), nullable=False, server_default=""))
        table.add_column(sa.Column("low", big_number, nullable=True))
        table.add_column(sa.Column("high", big_number, nullable=True))
        table.add_column(sa.Column("choices", json_document, nullable=True))
    with op.batch_alter_table("plan_version") as table:
        table.add_column(
            sa.Column("withdrawn", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        table.add_column(sa.Column("settings", json_document, nullable=True))
    for name, column in (("feature", "unit"), ("plan_version", "withdrawn")):
        with op.batch_alter_table(name) as table:
            table.alter_column(column, server_default=None)


def downgrade() -> None:
    for name, columns in _NAMES.items():
        with op.batch_alter_table(name) as table:
            for column in columns:
                table.drop_column(column)
