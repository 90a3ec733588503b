"""Outgoing webhooks: endpoints, events, deliveries and tries.

Revision ID: 0028
Revises: 0027
"""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

_ID = sa.String(16)
_NAME = sa.String(200)
_BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_AT = sa.BigInteger()


def _key(table: str, column: str, to: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{to}.id"], name=op.f(f"fk_{table}_{column}_{to}"))


def upgrade() -> None:
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", _ID, nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("types", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("description", _NAME, nullable=False),
        sa.Column("secret_number", sa.Integer(), nullable=False),
        sa.Column("former_until", _AT, nullable=True),
        sa.Column("created_at", _AT, nullable=False),
        sa.Column("failing_since", _AT, nullable=True),
        sa.Column("disabled_at", _AT, nullable=True),
        sa.Column("disabled_why", _NAME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoint")),
    )
    op.create_table(
        "webhook_event",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("type", _NAME, nullable=False),
        sa.Column("at", _AT, nullable=False),
        sa.Column("subject", _NAME, nullable=False),
        sa.Column("details", sa.JSON(none_as_null=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_event")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_webhook_event_at"), "webhook_event", ["at"])
    op.create_table(
        "webhook_delivery",
        sa.Column("id", _ID, nullable=False),
        sa.Column("event_id", _BIG, nullable=False),
        sa.Column("endpoint_id", _ID, nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_at", _AT, nullable=True),
        sa.Column("delivered_at", _AT, nullable=True),
        _key("webhook_delivery", "event_id", "webhook_event"),
        _key("webhook_delivery", "endpoint_id", "webhook_endpoint"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_delivery")),
        sa.UniqueConstraint(
            "event_id", "endpoint_id", name=op.f("uq_webhook_delivery_event_id_endpoint_id")
        ),
    )
    op.create_index(
        op.f("ix_webhook_delivery_endpoint_id_next_at"),
        "webhook_delivery",
        ["endpoint_id", "next_at"],
    )
    op.create_index(op.f("ix_webhook_delivery_next_at"), "webhook_delivery", ["next_at"])
    op.create_table(
        "webhook_attempt",
        sa.Column("delivery_id", _ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("at", _AT, nullable=False),
        sa.Column("version", _BIG, nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", _NAME, nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        _key("webhook_attempt", "delivery_id", "webhook_delivery"),
        sa.PrimaryKeyConstraint("delivery_id", "number", name=op.f("pk_webhook_attempt")),
    )


def downgrade() -> None:
    for table in ("webhook_attempt", "webhook_delivery", "webhook_event", "webhook_endpoint"):
        op.drop_table(table)
