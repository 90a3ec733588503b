"""Commands carry their owner epoch; tokens are kept as issued, and issued anew when they turn.

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    with op.batch_alter_table("command") as table:
        table.add_column(sa.Column("epoch", sa.Integer(), nullable=False, server_default="0"))
    op.execute(
        "UPDATE command SET epoch = COALESCE((SELECT max(o.epoch)"
        " FROM ownership o JOIN device d ON d.product_id = o.product_id"
        " WHERE d.slot = command.slot AND o.started_at <= command.created_at"
        " AND (o.ended_at IS NULL OR o.ended_at > command.created_at)), 0)"
    )
    with op.batch_alter_table("device") as table:
        table.add_column(sa.Column("state_due", sa.BigInteger(), nullable=True))
        table.create_index(op.f("ix_device_state_due"), ["state_due"])
    op.create_table(
        "issued_token",
        sa.Column("slot", number, autoincrement=False, nullable=False),
        sa.Column("version", number, autoincrement=False, nullable=False),
        sa.Column("issued_at", sa.BigInteger(), nullable=False),
        sa.Column("claims", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["slot"], ["device.slot"], name="fk_issued_token_slot"),
        sa.PrimaryKeyConstraint("slot", "version", name="pk_issued_token"),
    )


def downgrade() -> None:
    op.drop_table("issued_token")
    with op.batch_alter_table("device") as table:
        table.drop_index(op.f("ix_device_state_due"))
        table.drop_column("state_due")
    with op.batch_alter_table("command") as table:
        table.drop_column("epoch")
