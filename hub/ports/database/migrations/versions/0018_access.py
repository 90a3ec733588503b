"""Who looked at whose product and why; reasons, consents, broken glass.

Revision ID: 0018
Revises: 0017
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_ID = sa.String(16)
_NAME = sa.String(200)
_DIGEST = sa.String(64)


def _key(table: str, column: str, to: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{to}.id"], name=op.f(f"fk_{table}_{column}_{to}"))


def upgrade() -> None:
    op.create_table(
        "look",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            nullable=False,
            autoincrement=False,
        ),
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("person_id", _NAME, nullable=False),
        sa.Column("role", _NAME, nullable=False),
        sa.Column("part", _NAME, nullable=False),
        sa.Column("reason", _NAME, nullable=False),
        sa.Column("case_reference", _NAME, nullable=True),
        sa.Column("reason_key", _DIGEST, nullable=False),
        sa.Column("quarter", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("previous", _DIGEST, nullable=False),
        sa.Column("digest", _DIGEST, nullable=False),
        _key("look", "product_id", "product"),
        _key("look", "owner_id", "owner"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_look")),
        sa.UniqueConstraint(
            "product_id",
            "person_id",
            "part",
            "reason_key",
            "quarter",
            name=op.f("uq_look_product_id_person_id_part_reason_key_quarter"),
        ),
    )
    op.create_index(op.f("ix_look_product_id_id"), "look", ["product_id", "id"])
    op.create_index(op.f("ix_look_at"), "look", ["at"])
    op.create_table(
        "stated_reason",
        sa.Column("person_id", _ID, nullable=False),
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("reason", _NAME, nullable=False),
        sa.Column("case_reference", _NAME, nullable=True),
        sa.Column("stated_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        _key("stated_reason", "person_id", "person"),
        _key("stated_reason", "product_id", "product"),
        sa.PrimaryKeyConstraint("person_id", "product_id", name=op.f("pk_stated_reason")),
    )
    op.create_table(
        "consent",
        sa.Column("id", _ID, nullable=False),
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("product_id", _ID, nullable=True),
        sa.Column("case_reference", _NAME, nullable=True),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("given_by", _NAME, nullable=False),
        sa.Column("withdrawn_at", sa.BigInteger(), nullable=True),
        sa.Column("withdrawn_by", _NAME, nullable=True),
        _key("consent", "owner_id", "owner"),
        _key("consent", "product_id", "product"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consent")),
    )
    op.create_index(op.f("ix_consent_owner_id"), "consent", ["owner_id"])
    op.create_table(
        "broken_glass",
        sa.Column("id", _ID, nullable=False),
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("person_id", _ID, nullable=False),
        sa.Column("reason", _NAME, nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        _key("broken_glass", "product_id", "product"),
        _key("broken_glass", "owner_id", "owner"),
        _key("broken_glass", "person_id", "person"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_broken_glass")),
    )
    op.create_index(
        op.f("ix_broken_glass_product_id_person_id"), "broken_glass", ["product_id", "person_id"]
    )


def downgrade() -> None:
    for table in ("broken_glass", "consent", "stated_reason", "look"):
        op.drop_table(table)
