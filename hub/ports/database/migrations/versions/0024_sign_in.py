"""Passkeys, accounts at identity providers, brakes on guessing; how a session began.

Revision ID: 0024
Revises: 0023
"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_ID = sa.String(16)
_NAME = sa.String(200)
_DIGEST = sa.String(64)
_BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _person(table: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_person_id_person")
    return sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=name)


def upgrade() -> None:
    op.create_table(
        "sign_in_failure",
        sa.Column("key", _DIGEST, nullable=False),
        sa.Column("count", _BIG, nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("closed_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_sign_in_failure")),
    )
    op.create_index(op.f("ix_sign_in_failure_last_at"), "sign_in_failure", ["last_at"])
    op.create_table(
        "passkey",
        sa.Column("id", _ID, nullable=False),
        sa.Column("person_id", _ID, nullable=False),
        sa.Column("credential_hash", _DIGEST, nullable=False),
        sa.Column("credential_id", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", _BIG, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        _person("passkey"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_passkey")),
        sa.UniqueConstraint("credential_hash", name=op.f("uq_passkey_credential_hash")),
    )
    op.create_index(op.f("ix_passkey_person_id"), "passkey", ["person_id"])
    op.create_table(
        "external_identity",
        sa.Column("id", _ID, nullable=False),
        sa.Column("person_id", _ID, nullable=False),
        sa.Column("issuer", _NAME, nullable=False),
        sa.Column("subject", _NAME, nullable=False),
        sa.Column("linked_at", sa.BigInteger(), nullable=False),
        _person("external_identity"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_external_identity")),
        sa.UniqueConstraint("issuer", "subject", name=op.f("uq_external_identity_issuer_subject")),
    )
    op.create_index(op.f("ix_external_identity_person_id"), "external_identity", ["person_id"])
    op.create_table(
        "sign_in_flow",
        sa.Column("token_hash", _DIGEST, nullable=False),
        sa.Column("kind", _NAME, nullable=False),
        sa.Column("person_id", _ID, nullable=True),
        sa.Column("details", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        _person("sign_in_flow"),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_sign_in_flow")),
    )
    op.create_index(op.f("ix_sign_in_flow_expires_at"), "sign_in_flow", ["expires_at"])
    op.add_column(
        "web_session", sa.Column("method", _NAME, nullable=False, server_default="password")
    )
    op.add_column("web_session", sa.Column("agent", _NAME, nullable=True))


def downgrade() -> None:
    op.drop_column("web_session", "agent")
    op.drop_column("web_session", "method")
    for table in ("sign_in_flow", "external_identity", "passkey", "sign_in_failure"):
        op.drop_table(table)
