"""The first schema: catalogue, products, people, ownership, alerts and the hub's own records.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_NS = sa.BigInteger()
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_JSON = sa.JSON(none_as_null=True)
_NAME = sa.String(200)
_DIGEST = sa.String(64)
_ID = sa.String(16)
_ID16 = sa.LargeBinary(16)


_TABLES = (
    "finding",
    "notice",
    "hold",
    "command",
    "certificate",
    "alert",
    "web_session",
    "subscription",
    "plan_feature",
    "ownership",
    "feature_grant",
    "device",
    "claim_attempt",
    "api_key",
    "product",
    "plan_version",
    "person",
    "metric",
    "feature",
    "setting",
    "product_model",
    "plan",
    "owner",
    "dead_letter",
    "cursor",
    "audit",
)


def upgrade() -> None:
    _audit()
    _cursor()
    _dead_letter()
    _owner()
    _plan()
    _product_model()
    _setting()
    _feature()
    _metric()
    _person()
    _plan_version()
    _product()
    _api_key()
    _claim_attempt()
    _device()
    _feature_grant()
    _ownership()
    _plan_feature()
    _subscription()
    _web_session()
    _alert()
    _certificate()
    _command()
    _hold()
    _notice()
    _finding()


def downgrade() -> None:
    for table in _TABLES:
        op.drop_table(table)


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", _BIG, autoincrement=False, nullable=False),
        sa.Column("at", _NS, nullable=False),
        sa.Column("actor", _NAME, nullable=False),
        sa.Column("action", _NAME, nullable=False),
        sa.Column("object", _NAME, nullable=False),
        sa.Column("details", _JSON, nullable=False),
        sa.Column("previous", _DIGEST, nullable=False),
        sa.Column("digest", _DIGEST, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_object_id"), "audit", ["object", "id"], unique=False)


def _cursor() -> None:
    op.create_table(
        "cursor",
        sa.Column("name", _NAME, nullable=False),
        sa.Column("offset", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_cursor")),
    )


def _dead_letter() -> None:
    op.create_table(
        "dead_letter",
        sa.Column("log", _NAME, nullable=False),
        sa.Column("offset", _BIG, autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", _NS, nullable=False),
        sa.Column("slot", _BIG, nullable=False),
        sa.Column("channel", _NAME, nullable=False),
        sa.Column("reason", sa.Integer(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("sample", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("log", "offset", "position", name=op.f("pk_dead_letter")),
    )
    op.create_index(op.f("ix_dead_letter_at"), "dead_letter", ["at"], unique=False)
    op.create_index(op.f("ix_dead_letter_slot_at"), "dead_letter", ["slot", "at"], unique=False)


def _owner() -> None:
    op.create_table(
        "owner",
        sa.Column("id", _ID, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("created_at", _NS, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_owner")),
    )


def _plan() -> None:
    op.create_table(
        "plan",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("title", _NAME, nullable=False),
        sa.Column("created_at", _NS, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plan")),
        sa.UniqueConstraint("name", name=op.f("uq_plan_name")),
    )


def _product_model() -> None:
    op.create_table(
        "product_model",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("title", _NAME, nullable=False),
        sa.Column("created_at", _NS, nullable=False),
        sa.CheckConstraint(
            "number BETWEEN 1 AND 65535", name=op.f("ck_product_model_number_range")
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_product_model")),
        sa.UniqueConstraint("name", name=op.f("uq_product_model_name")),
    )


def _setting() -> None:
    op.create_table(
        "setting",
        sa.Column("name", _NAME, nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_setting")),
    )


def _feature() -> None:
    op.create_table(
        "feature",
        sa.Column("model_number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("title", _NAME, nullable=False),
        sa.Column("kind", _NAME, nullable=False),
        sa.Column("safe", sa.Boolean(), nullable=False),
        sa.Column("default", _JSON, nullable=True),
        sa.CheckConstraint("kind IN ('on_off', 'value', 'metered')", name=op.f("ck_feature_kind")),
        sa.ForeignKeyConstraint(
            ["model_number"], ["product_model.number"], name=op.f("fk_feature_model_number")
        ),
        sa.PrimaryKeyConstraint("model_number", "name", name=op.f("pk_feature")),
    )


def _metric() -> None:
    op.create_table(
        "metric",
        sa.Column("model_number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("unit", _NAME, nullable=False),
        sa.Column("title", _NAME, nullable=False),
        sa.Column("kind", _NAME, nullable=False),
        sa.Column("low", sa.Double(), nullable=True),
        sa.Column("high", sa.Double(), nullable=True),
        sa.CheckConstraint("kind IN ('gauge', 'counter')", name=op.f("ck_metric_kind")),
        sa.CheckConstraint('"index" BETWEEN 0 AND 65535', name=op.f("ck_metric_index_range")),
        sa.ForeignKeyConstraint(
            ["model_number"], ["product_model.number"], name=op.f("fk_metric_model_number")
        ),
        sa.PrimaryKeyConstraint("model_number", "index", name=op.f("pk_metric")),
        sa.UniqueConstraint("model_number", "name", name=op.f("uq_metric_model_number_name")),
    )


def _person() -> None:
    op.create_table(
        "person",
        sa.Column("id", _ID, nullable=False),
        sa.Column("email", _NAME, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("role", _NAME, nullable=False),
        sa.Column("owner_id", _ID, nullable=True),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("password_changed_at", _NS, nullable=False),
        sa.Column("password_one_time", sa.Boolean(), nullable=False),
        sa.Column("locale", _NAME, nullable=False),
        sa.Column("zone", _NAME, nullable=False),
        sa.Column("created_at", _NS, nullable=False),
        sa.Column("disabled_at", _NS, nullable=True),
        sa.CheckConstraint(
            "(role = 'customer') = (owner_id IS NOT NULL)", name=op.f("ck_person_owner")
        ),
        sa.CheckConstraint(
            "role IN ('customer', 'support', 'operator')", name=op.f("ck_person_role")
        ),
        sa.ForeignKeyConstraint(["owner_id"], ["owner.id"], name=op.f("fk_person_owner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person")),
        sa.UniqueConstraint("email", name=op.f("uq_person_email")),
    )
    op.create_index(op.f("ix_person_owner_id"), "person", ["owner_id"], unique=False)


def _plan_version() -> None:
    op.create_table(
        "plan_version",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("plan_id", _BIG, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("grace_s", sa.Integer(), nullable=False),
        sa.Column("published_at", _NS, nullable=False),
        sa.ForeignKeyConstraint(["plan_id"], ["plan.id"], name=op.f("fk_plan_version_plan_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plan_version")),
        sa.UniqueConstraint("plan_id", "version", name=op.f("uq_plan_version_plan_id_version")),
    )


def _product() -> None:
    op.create_table(
        "product",
        sa.Column("id", _ID, nullable=False),
        sa.Column("model_number", sa.Integer(), nullable=False),
        sa.Column("serial", _NAME, nullable=False),
        sa.Column("name", _NAME, nullable=True),
        sa.Column("zone", _NAME, nullable=False),
        sa.Column("order_reference", _NAME, nullable=True),
        sa.Column("hardware_lot", _NAME, nullable=True),
        sa.Column("region", _NAME, nullable=True),
        sa.Column("enrolment_secret_hash", _DIGEST, nullable=False),
        sa.Column("claim_code_hash", _DIGEST, nullable=False),
        sa.Column("made_at", _NS, nullable=False),
        sa.ForeignKeyConstraint(
            ["model_number"], ["product_model.number"], name=op.f("fk_product_model_number")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_product")),
        sa.UniqueConstraint("claim_code_hash", name=op.f("uq_product_claim_code_hash")),
        sa.UniqueConstraint("model_number", "serial", name=op.f("uq_product_model_number_serial")),
    )
    op.create_index(
        op.f("ix_product_order_reference"), "product", ["order_reference"], unique=False
    )
    op.create_index(op.f("ix_product_serial"), "product", ["serial"], unique=False)


def _api_key() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", _ID, nullable=False),
        sa.Column("key_hash", _DIGEST, nullable=False),
        sa.Column("person_id", _ID, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("scopes", _JSON, nullable=False),
        sa.Column("created_at", _NS, nullable=False),
        sa.Column("expires_at", _NS, nullable=True),
        sa.Column("revoked_at", _NS, nullable=True),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_api_key_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_api_key_key_hash")),
    )
    op.create_index(op.f("ix_api_key_person_id"), "api_key", ["person_id"], unique=False)


def _claim_attempt() -> None:
    op.create_table(
        "claim_attempt",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("at", _NS, nullable=False),
        sa.Column("person_id", _ID, nullable=False),
        sa.Column("product_id", _ID, nullable=True),
        sa.ForeignKeyConstraint(
            ["person_id"], ["person.id"], name=op.f("fk_claim_attempt_person_id")
        ),
        sa.ForeignKeyConstraint(
            ["product_id"], ["product.id"], name=op.f("fk_claim_attempt_product_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_claim_attempt")),
    )
    op.create_index(
        op.f("ix_claim_attempt_person_id_at"), "claim_attempt", ["person_id", "at"], unique=False
    )
    op.create_index(
        op.f("ix_claim_attempt_product_id_at"), "claim_attempt", ["product_id", "at"], unique=False
    )


def _device() -> None:
    op.create_table(
        "device",
        sa.Column("slot", _BIG, autoincrement=True, nullable=False),
        sa.Column("device_id", _ID, nullable=False),
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("enrolled_at", _NS, nullable=False),
        sa.Column("revoked_at", _NS, nullable=True),
        sa.Column("firmware", sa.Text(), nullable=True),
        sa.Column("sdk", sa.Text(), nullable=True),
        sa.Column("boot", sa.LargeBinary(), nullable=True),
        sa.Column("online", sa.Boolean(), nullable=False),
        sa.Column("last_contact", _NS, nullable=True),
        sa.Column("state_version_reported", _BIG, nullable=False),
        sa.Column("entitlement_version_reported", _BIG, nullable=False),
        sa.Column("reported", _JSON, nullable=False),
        sa.Column("reported_errors", _JSON, nullable=False),
        sa.Column("desired", _JSON, nullable=False),
        sa.Column("desired_version", _BIG, nullable=False),
        sa.Column("state_version", _BIG, nullable=False),
        sa.Column("state_digest", _DIGEST, nullable=True),
        sa.Column("entitlement_version", _BIG, nullable=False),
        sa.Column("entitlement_digest", _DIGEST, nullable=True),
        sa.CheckConstraint("slot BETWEEN 1 AND 4294967295", name=op.f("ck_device_slot_range")),
        sa.ForeignKeyConstraint(["product_id"], ["product.id"], name=op.f("fk_device_product_id")),
        sa.PrimaryKeyConstraint("slot", name=op.f("pk_device")),
        sa.UniqueConstraint("device_id", name=op.f("uq_device_device_id")),
        sa.UniqueConstraint("product_id", name=op.f("uq_device_product_id")),
        sqlite_autoincrement=True,
    )


def _feature_grant() -> None:
    op.create_table(
        "feature_grant",
        sa.Column("id", _ID, nullable=False),
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("feature", _NAME, nullable=False),
        sa.Column("starts_at", _NS, nullable=False),
        sa.Column("ends_at", _NS, nullable=True),
        sa.Column("value", _JSON, nullable=True),
        sa.Column("reason", _NAME, nullable=False),
        sa.Column("author", _NAME, nullable=False),
        sa.ForeignKeyConstraint(
            ["product_id"], ["product.id"], name=op.f("fk_feature_grant_product_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feature_grant")),
    )
    op.create_index(
        op.f("ix_feature_grant_product_id"), "feature_grant", ["product_id"], unique=False
    )


def _ownership() -> None:
    op.create_table(
        "ownership",
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("started_at", _NS, nullable=False),
        sa.Column("ended_at", _NS, nullable=True),
        sa.ForeignKeyConstraint(["owner_id"], ["owner.id"], name=op.f("fk_ownership_owner_id")),
        sa.ForeignKeyConstraint(
            ["product_id"], ["product.id"], name=op.f("fk_ownership_product_id")
        ),
        sa.PrimaryKeyConstraint("product_id", "epoch", name=op.f("pk_ownership")),
    )
    op.create_index(op.f("ix_ownership_owner_id"), "ownership", ["owner_id"], unique=False)
    op.create_index(
        "uq_ownership_open",
        "ownership",
        ["product_id"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )


def _plan_feature() -> None:
    op.create_table(
        "plan_feature",
        sa.Column("plan_version_id", _BIG, nullable=False),
        sa.Column("feature", _NAME, nullable=False),
        sa.Column("value", _JSON, nullable=True),
        sa.ForeignKeyConstraint(
            ["plan_version_id"], ["plan_version.id"], name=op.f("fk_plan_feature_plan_version_id")
        ),
        sa.PrimaryKeyConstraint("plan_version_id", "feature", name=op.f("pk_plan_feature")),
    )


def _subscription() -> None:
    op.create_table(
        "subscription",
        sa.Column("id", _ID, nullable=False),
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("plan_version_id", _BIG, nullable=False),
        sa.Column("starts_at", _NS, nullable=False),
        sa.Column("trial_end", _NS, nullable=True),
        sa.Column("paid_until", _NS, nullable=True),
        sa.Column("grace_s", sa.Integer(), nullable=False),
        sa.Column("cancelled_at", _NS, nullable=True),
        sa.Column("ends_at", _NS, nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=True),
        sa.Column("created_at", _NS, nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["owner.id"], name=op.f("fk_subscription_owner_id")),
        sa.ForeignKeyConstraint(
            ["plan_version_id"], ["plan_version.id"], name=op.f("fk_subscription_plan_version_id")
        ),
        sa.ForeignKeyConstraint(
            ["product_id"], ["product.id"], name=op.f("fk_subscription_product_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscription")),
    )
    op.create_index(op.f("ix_subscription_owner_id"), "subscription", ["owner_id"], unique=False)
    op.create_index(
        op.f("ix_subscription_plan_version_id"), "subscription", ["plan_version_id"], unique=False
    )
    op.create_index(
        op.f("ix_subscription_product_id"), "subscription", ["product_id"], unique=False
    )


def _web_session() -> None:
    op.create_table(
        "web_session",
        sa.Column("token_hash", _DIGEST, nullable=False),
        sa.Column("person_id", _ID, nullable=False),
        sa.Column("created_at", _NS, nullable=False),
        sa.Column("expires_at", _NS, nullable=False),
        sa.Column("revoked_at", _NS, nullable=True),
        sa.ForeignKeyConstraint(
            ["person_id"], ["person.id"], name=op.f("fk_web_session_person_id")
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_web_session")),
    )
    op.create_index(op.f("ix_web_session_expires_at"), "web_session", ["expires_at"], unique=False)
    op.create_index(op.f("ix_web_session_person_id"), "web_session", ["person_id"], unique=False)


def _alert() -> None:
    op.create_table(
        "alert",
        sa.Column("id", _NAME, nullable=False),
        sa.Column("slot", _BIG, nullable=False),
        sa.Column("metric", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("severity", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("since", _NS, nullable=False),
        sa.Column("opened_at", _NS, nullable=False),
        sa.Column("last_at", _NS, nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("last_finding", _ID16, nullable=False),
        sa.Column("code", _NAME, nullable=False),
        sa.Column("arguments", _JSON, nullable=False),
        sa.Column("reopened", sa.Integer(), nullable=False),
        sa.Column("acknowledged_at", _NS, nullable=True),
        sa.Column("acknowledged_by", _ID, nullable=True),
        sa.Column("resolved_at", _NS, nullable=True),
        sa.Column("resolved_by", _ID, nullable=True),
        sa.ForeignKeyConstraint(
            ["acknowledged_by"], ["person.id"], name=op.f("fk_alert_acknowledged_by")
        ),
        sa.ForeignKeyConstraint(["resolved_by"], ["person.id"], name=op.f("fk_alert_resolved_by")),
        sa.ForeignKeyConstraint(["slot"], ["device.slot"], name=op.f("fk_alert_slot")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert")),
    )
    op.create_index(op.f("ix_alert_opened_at_id"), "alert", ["opened_at", "id"], unique=False)
    op.create_index(op.f("ix_alert_slot_opened_at"), "alert", ["slot", "opened_at"], unique=False)
    op.create_index(
        "uq_alert_open",
        "alert",
        ["slot", "metric", "kind"],
        unique=True,
        sqlite_where=sa.text("resolved_at IS NULL"),
        postgresql_where=sa.text("resolved_at IS NULL"),
    )


def _certificate() -> None:
    op.create_table(
        "certificate",
        sa.Column("serial", _NAME, nullable=False),
        sa.Column("fingerprint", _DIGEST, nullable=False),
        sa.Column("slot", _BIG, nullable=False),
        sa.Column("not_before", _NS, nullable=False),
        sa.Column("not_after", _NS, nullable=False),
        sa.Column("issued_at", _NS, nullable=False),
        sa.Column("superseded_at", _NS, nullable=True),
        sa.Column("revoked_at", _NS, nullable=True),
        sa.ForeignKeyConstraint(["slot"], ["device.slot"], name=op.f("fk_certificate_slot")),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_certificate")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_certificate_fingerprint")),
    )
    op.create_index(
        op.f("ix_certificate_slot_not_after"), "certificate", ["slot", "not_after"], unique=False
    )


def _command() -> None:
    op.create_table(
        "command",
        sa.Column("id", _ID16, nullable=False),
        sa.Column("slot", _BIG, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("arguments", _JSON, nullable=False),
        sa.Column("created_at", _NS, nullable=False),
        sa.Column("created_by", _NAME, nullable=False),
        sa.Column("expires_at", _NS, nullable=False),
        sa.Column("replied_at", _NS, nullable=True),
        sa.Column("reply_status", sa.Integer(), nullable=True),
        sa.Column("reply_result", _JSON, nullable=True),
        sa.Column("reply_message", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["slot"], ["device.slot"], name=op.f("fk_command_slot")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_command")),
    )
    op.create_index(
        op.f("ix_command_slot_created_at"), "command", ["slot", "created_at"], unique=False
    )


def _hold() -> None:
    op.create_table(
        "hold",
        sa.Column("id", _ID, nullable=False),
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("kind", _NAME, nullable=False),
        sa.Column("starts_at", _NS, nullable=False),
        sa.Column("ends_at", _NS, nullable=True),
        sa.Column("features", _JSON, nullable=True),
        sa.Column("subscription_id", _ID, nullable=True),
        sa.Column("reason", _NAME, nullable=False),
        sa.Column("author", _NAME, nullable=False),
        sa.CheckConstraint(
            "kind IN ('payment', 'fraud', 'theft', 'recall', 'clone')", name=op.f("ck_hold_kind")
        ),
        sa.ForeignKeyConstraint(["product_id"], ["product.id"], name=op.f("fk_hold_product_id")),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscription.id"], name=op.f("fk_hold_subscription_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hold")),
    )
    op.create_index(op.f("ix_hold_product_id"), "hold", ["product_id"], unique=False)


def _notice() -> None:
    op.create_table(
        "notice",
        sa.Column("id", _ID16, nullable=False),
        sa.Column("slot", _BIG, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("code", _NAME, nullable=False),
        sa.Column("arguments", _JSON, nullable=False),
        sa.Column("severity", sa.Integer(), nullable=False),
        sa.Column("created_at", _NS, nullable=False),
        sa.Column("created_by", _NAME, nullable=False),
        sa.ForeignKeyConstraint(["slot"], ["device.slot"], name=op.f("fk_notice_slot")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice")),
    )
    op.create_index(
        op.f("ix_notice_slot_created_at"), "notice", ["slot", "created_at"], unique=False
    )


def _finding() -> None:
    op.create_table(
        "finding",
        sa.Column("id", _ID16, nullable=False),
        sa.Column("slot", _BIG, nullable=False),
        sa.Column("metric", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("severity", sa.Integer(), nullable=False),
        sa.Column("at", _NS, nullable=False),
        sa.Column("since", _NS, nullable=False),
        sa.Column("surprise", sa.Double(), nullable=False),
        sa.Column("observed", sa.Double(), nullable=False),
        sa.Column("expected_low", sa.Double(), nullable=True),
        sa.Column("expected_high", sa.Double(), nullable=True),
        sa.Column("alert_id", _NAME, nullable=True),
        sa.ForeignKeyConstraint(["alert_id"], ["alert.id"], name=op.f("fk_finding_alert_id")),
        sa.ForeignKeyConstraint(["slot"], ["device.slot"], name=op.f("fk_finding_slot")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_finding")),
    )
    op.create_index(op.f("ix_finding_alert_id_at"), "finding", ["alert_id", "at"], unique=False)
    op.create_index(op.f("ix_finding_slot_at"), "finding", ["slot", "at"], unique=False)
