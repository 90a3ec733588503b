"""Dead letters say what was wrong and which rows they hold, and when they were replayed.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("dead_letter") as table:
        table.add_column(
            sa.Column("detail", sa.Text(), nullable=False, server_default=sa.text("''"))
        )
        table.add_column(sa.Column("rows", sa.JSON(none_as_null=True), nullable=True))
        table.add_column(sa.Column("replayed_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("dead_letter") as table:
        for name in ("replayed_at", "rows", "detail"):
            table.drop_column(name)
