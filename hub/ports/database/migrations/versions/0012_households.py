"""Households have people with roles; partners have people and grants.

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

from hub.ports.database.tables import json_document

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_ID = sa.String(16)
_NAME = sa.String(200)
_RELATION = "relation IN ('owner', 'member', 'viewer', 'installer')"
_ROLES = "role IN ('customer', 'support', 'operator')"
_ROLES_AND_PARTNER = "role IN ('customer', 'partner', 'support', 'operator')"
_HAS_PARTNER = "(role = 'partner') = (partner_id IS NOT NULL)"
_OF_COLUMN = (
    " CONSTRAINT fk_person_partner_id_partner REFERENCES partner (id)"
    f" CONSTRAINT ck_person_partner CHECK ({_HAS_PARTNER})"
)


def upgrade() -> None:
    op.create_table(
        "partner",
        sa.Column("id", _ID, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_partner")),
    )
    _memberships()
    _invitations()
    _grants()
    _person()
    # Until now everybody of a household could do everything.
    op.execute(
        "INSERT INTO membership (id, owner_id, person_id, relation, starts_at, given_by) "
        "SELECT id, owner_id, id, 'owner', created_at, 'hub' FROM person "
        "WHERE owner_id IS NOT NULL"
    )


def downgrade() -> None:
    op.drop_table("partner_grant")
    op.drop_table("invitation")
    op.drop_table("membership")
    if op.get_bind().dialect.name == "sqlite":
        _rewrite(_ROLES_AND_PARTNER, _ROLES)
        _rewrite(_OF_COLUMN, "")
    else:
        op.drop_constraint(op.f("ck_person_partner"), "person", type_="check")
        op.drop_constraint(op.f("ck_person_role"), "person", type_="check")
        op.create_check_constraint(op.f("ck_person_role"), "person", _ROLES)
    op.drop_index(op.f("ix_person_partner_id"), "person")
    op.drop_column("person", "partner_id")
    op.drop_table("partner")


def _memberships() -> None:
    op.create_table(
        "membership",
        sa.Column("id", _ID, nullable=False),
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("person_id", _ID, nullable=False),
        sa.Column("relation", _NAME, nullable=False),
        sa.Column("product_ids", json_document, nullable=True),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.Column("given_by", _NAME, nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_by", _NAME, nullable=True),
        sa.CheckConstraint(_RELATION, name=op.f("ck_membership_relation")),
        sa.CheckConstraint(
            "relation <> 'installer' OR ends_at IS NOT NULL", name=op.f("ck_membership_installer")
        ),
        sa.CheckConstraint(
            "relation <> 'owner' OR ends_at IS NULL", name=op.f("ck_membership_owner")
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["owner.id"], name=op.f("fk_membership_owner_id_owner")
        ),
        sa.ForeignKeyConstraint(
            ["person_id"], ["person.id"], name=op.f("fk_membership_person_id_person")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_membership")),
    )
    op.create_index(op.f("ix_membership_owner_id"), "membership", ["owner_id"])
    op.create_index(op.f("ix_membership_person_id"), "membership", ["person_id"])
    open_ = sa.text("ended_at IS NULL")
    op.create_index(
        "uq_membership_open",
        "membership",
        ["owner_id", "person_id"],
        unique=True,
        sqlite_where=open_,
        postgresql_where=open_,
    )


def _invitations() -> None:
    op.create_table(
        "invitation",
        sa.Column("id", _ID, nullable=False),
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("email", _NAME, nullable=True),
        sa.Column("code_hash", sa.String(64), nullable=True),
        sa.Column("relation", _NAME, nullable=False),
        sa.Column("product_ids", json_document, nullable=True),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", _NAME, nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("answered_at", sa.BigInteger(), nullable=True),
        sa.Column("answer", _NAME, nullable=True),
        sa.Column("answered_by", _NAME, nullable=True),
        sa.CheckConstraint(_RELATION, name=op.f("ck_invitation_relation")),
        sa.CheckConstraint(
            "answer IN ('accepted', 'declined', 'withdrawn', 'expired')",
            name=op.f("ck_invitation_answer"),
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["owner.id"], name=op.f("fk_invitation_owner_id_owner")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitation")),
        sa.UniqueConstraint("code_hash", name=op.f("uq_invitation_code_hash")),
    )
    op.create_index(op.f("ix_invitation_owner_id"), "invitation", ["owner_id"])
    op.create_index(op.f("ix_invitation_email"), "invitation", ["email"])
    open_ = sa.text("answered_at IS NULL AND email IS NOT NULL")
    op.create_index(
        "uq_invitation_open",
        "invitation",
        ["owner_id", "email"],
        unique=True,
        sqlite_where=open_,
        postgresql_where=open_,
    )


def _grants() -> None:
    op.create_table(
        "partner_grant",
        sa.Column("id", _ID, nullable=False),
        sa.Column("partner_id", _ID, nullable=False),
        sa.Column("owner_id", _ID, nullable=True),
        sa.Column("product_ids", json_document, nullable=True),
        sa.Column("model_number", sa.Integer(), nullable=True),
        sa.Column("region", _NAME, nullable=True),
        sa.Column("order_prefix", _NAME, nullable=True),
        sa.Column("acts", json_document, nullable=False),
        sa.Column("reason", _NAME, nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("given_by", _NAME, nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_by", _NAME, nullable=True),
        sa.ForeignKeyConstraint(
            ["partner_id"], ["partner.id"], name=op.f("fk_partner_grant_partner_id_partner")
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["owner.id"], name=op.f("fk_partner_grant_owner_id_owner")
        ),
        sa.ForeignKeyConstraint(
            ["model_number"],
            ["product_model.number"],
            name=op.f("fk_partner_grant_model_number_product_model"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_partner_grant")),
    )
    op.create_index(op.f("ix_partner_grant_partner_id"), "partner_grant", ["partner_id"])
    op.create_index(op.f("ix_partner_grant_owner_id"), "partner_grant", ["owner_id"])


def _person() -> None:
    column = sa.Column("partner_id", _ID, nullable=True)
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"ALTER TABLE person ADD COLUMN partner_id VARCHAR(16){_OF_COLUMN}")
        _rewrite(_ROLES, _ROLES_AND_PARTNER)
    else:
        op.add_column("person", column)
        op.create_foreign_key(
            op.f("fk_person_partner_id_partner"), "person", "partner", ["partner_id"], ["id"]
        )
        op.create_check_constraint(op.f("ck_person_partner"), "person", _HAS_PARTNER)
        op.drop_constraint(op.f("ck_person_role"), "person", type_="check")
        op.create_check_constraint(op.f("ck_person_role"), "person", _ROLES_AND_PARTNER)
    op.create_index(op.f("ix_person_partner_id"), "person", ["partner_id"])


def _rewrite(old: str, new: str) -> None:
    """Change a CHECK in the schema's text.

    A copy of the table, Alembic's way, would drop the old one, to which others refer. This is what
    SQLite's manual gives for changes that touch no stored row (ALTER TABLE, section 7).
    """
    connection = op.get_bind()
    version = connection.exec_driver_sql("PRAGMA schema_version").scalar_one()
    connection.exec_driver_sql("PRAGMA writable_schema=ON")
    connection.execute(
        sa.text(
            "UPDATE sqlite_schema SET sql = replace(sql, :old, :new) "
            "WHERE type = 'table' AND name = 'person'"
        ),
        {"old": old, "new": new},
    )
    connection.exec_driver_sql(f"PRAGMA schema_version={version + 1}")
    connection.exec_driver_sql("PRAGMA writable_schema=OFF")
