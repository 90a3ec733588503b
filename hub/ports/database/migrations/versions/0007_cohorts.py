"""Cohorts, incidents about them, and what an alert remembers: evidence, mutes, why it ended, feedback.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

from hub.ports.database.tables import big_number, json_document

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_NAME = sa.String(200)
_NS = sa.BigInteger()


def upgrade() -> None:
    _cohorts()
    _incidents()
    _alerts()


def _cohorts() -> None:
    op.create_table(
        "cohort",
        sa.Column("number", big_number, autoincrement=True, nullable=False),
        sa.Column("model_number", sa.Integer(), nullable=False),
        sa.Column("firmware", _NAME, nullable=False),
        sa.ForeignKeyConstraint(
            ["model_number"], ["product_model.number"], name="fk_cohort_model_number"
        ),
        sa.PrimaryKeyConstraint("number", name="pk_cohort"),
        sa.UniqueConstraint("model_number", "firmware", name="uq_cohort_model_number_firmware"),
    )
    op.execute(
        "INSERT INTO cohort (model_number, firmware) "
        "SELECT DISTINCT product.model_number, substr(device.firmware, 1, 200) "
        "FROM device JOIN product ON product.id = device.product_id "
        "WHERE device.firmware IS NOT NULL AND device.firmware <> '' ORDER BY 1, 2"
    )
    # Both databases know this; batch mode would make SQLite's table anew, without its AUTOINCREMENT.
    number = "INTEGER" if op.get_bind().dialect.name == "sqlite" else "BIGINT"
    op.execute(
        f"ALTER TABLE device ADD COLUMN cohort {number} "
        "CONSTRAINT fk_device_cohort REFERENCES cohort (number)"
    )
    op.execute(
        "UPDATE device SET cohort = (SELECT cohort.number FROM cohort "
        "JOIN product ON product.model_number = cohort.model_number "
        "WHERE product.id = device.product_id AND cohort.firmware = substr(device.firmware, 1, 200))"
    )
    op.create_index("ix_device_cohort", "device", ["cohort"])


def _incidents() -> None:
    op.create_table(
        "incident",
        sa.Column("id", _NAME, nullable=False),
        sa.Column("cohort", big_number, nullable=True),
        sa.Column("metric", sa.Integer(), nullable=True),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("severity", sa.Integer(), nullable=False),
        sa.Column("members", sa.Integer(), nullable=False),
        sa.Column("since", _NS, nullable=False),
        sa.Column("opened_at", _NS, nullable=False),
        sa.Column("last_at", _NS, nullable=False),
        sa.Column("heard_at", _NS, nullable=False),
        sa.Column("ended_at", _NS, nullable=True),
        sa.Column("code", _NAME, nullable=False),
        sa.Column("arguments", json_document, nullable=False),
        sa.ForeignKeyConstraint(["cohort"], ["cohort.number"], name="fk_incident_cohort"),
        sa.PrimaryKeyConstraint("id", name="pk_incident"),
    )
    op.create_index("ix_incident_ended_at", "incident", ["ended_at"])
    op.create_index("ix_incident_opened_at_id", "incident", ["opened_at", "id"])


def _alerts() -> None:
    with op.batch_alter_table("finding") as table:
        table.add_column(sa.Column("incident_id", _NAME, nullable=True))
        table.create_foreign_key("fk_finding_incident_id", "incident", ["incident_id"], ["id"])
    with op.batch_alter_table("alert") as table:
        table.add_column(sa.Column("resolution", _NAME, nullable=True))
        table.add_column(sa.Column("heard_at", _NS, nullable=False, server_default="0"))
        table.add_column(sa.Column("muted_until", _NS, nullable=True))
        table.add_column(sa.Column("muted_by", sa.String(16), nullable=True))
        table.add_column(sa.Column("incident_id", _NAME, nullable=True))
        table.create_foreign_key("fk_alert_muted_by", "person", ["muted_by"], ["id"])
        table.create_foreign_key("fk_alert_incident_id", "incident", ["incident_id"], ["id"])
    op.execute("UPDATE alert SET heard_at = opened_at")
    with op.batch_alter_table("alert") as table:
        table.alter_column("heard_at", server_default=None)
    op.create_index("ix_alert_resolved_at_heard_at", "alert", ["resolved_at", "heard_at"])
    op.create_table(
        "alert_feedback",
        sa.Column("alert_id", _NAME, nullable=False),
        sa.Column("actor", _NAME, nullable=False),
        sa.Column("useful", sa.Boolean(), nullable=False),
        sa.Column("at", _NS, nullable=False),
        sa.ForeignKeyConstraint(["alert_id"], ["alert.id"], name="fk_alert_feedback_alert_id"),
        sa.PrimaryKeyConstraint("alert_id", "actor", name="pk_alert_feedback"),
    )


def downgrade() -> None:
    op.drop_table("alert_feedback")
    op.drop_index("ix_alert_resolved_at_heard_at", "alert")
    with op.batch_alter_table("alert") as table:
        table.drop_constraint("fk_alert_incident_id", type_="foreignkey")
        table.drop_constraint("fk_alert_muted_by", type_="foreignkey")
        for name in ("incident_id", "muted_by", "muted_until", "heard_at", "resolution"):
            table.drop_column(name)
    with op.batch_alter_table("finding") as table:
        table.drop_constraint("fk_finding_incident_id", type_="foreignkey")
        table.drop_column("incident_id")
    op.drop_table("incident")
    op.drop_index("ix_device_cohort", "device")
    op.drop_column("device", "cohort")
    op.drop_table("cohort")
