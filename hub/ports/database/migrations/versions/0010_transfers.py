"""Products change hands: windows, offers, disputes, receipts and letters; claims can be undone.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_ID = sa.String(16)
_NAME = sa.String(200)
_AT = sa.BigInteger
_OPEN = sa.text("closed_at IS NULL")


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    with op.batch_alter_table("ownership") as table:
        table.add_column(sa.Column("undone_at", _AT(), nullable=True))
        table.add_column(sa.Column("state_version", number, nullable=False, server_default="0"))
    with op.batch_alter_table("product_model") as table:
        table.add_column(sa.Column("possession", _NAME, nullable=False, server_default="label"))
        table.create_check_constraint(
            op.f("ck_product_model_possession"), "possession IN ('window', 'label')"
        )
    op.create_table(
        "claim_window",
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("opened_at", _AT(), nullable=False),
        sa.Column("until", _AT(), nullable=False),
        *_product("claim_window"),
        sa.PrimaryKeyConstraint("product_id", name="pk_claim_window"),
    )
    op.create_table(
        "hand_over",
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("prepared_at", _AT(), nullable=False),
        sa.Column("expires_at", _AT(), nullable=False),
        sa.Column("prepared_by", _NAME, nullable=False),
        *_product("hand_over"),
        sa.PrimaryKeyConstraint("product_id", name="pk_hand_over"),
    )
    op.create_table(
        "transfer_offer",
        sa.Column("id", _ID, nullable=False),
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("email", _NAME, nullable=True),
        sa.Column("code_hash", sa.String(64), nullable=True),
        sa.Column("created_at", _AT(), nullable=False),
        sa.Column("expires_at", _AT(), nullable=False),
        sa.Column("closed_at", _AT(), nullable=True),
        sa.Column("outcome", _NAME, nullable=True),
        sa.Column("taker_id", _ID, nullable=True),
        sa.CheckConstraint(
            "(email IS NULL) <> (code_hash IS NULL)", name=op.f("ck_transfer_offer_to")
        ),
        sa.CheckConstraint(
            "(closed_at IS NULL) = (outcome IS NULL)", name=op.f("ck_transfer_offer_closed")
        ),
        *_product("transfer_offer"),
        *_owner("transfer_offer", "owner_id"),
        *_owner("transfer_offer", "taker_id"),
        sa.PrimaryKeyConstraint("id", name="pk_transfer_offer"),
        sa.UniqueConstraint("code_hash", name="uq_transfer_offer_code_hash"),
    )
    _index("transfer_offer", "product_id", "owner_id", "email")
    _only_one_open("transfer_offer")
    op.create_table(
        "dispute",
        sa.Column("id", _ID, nullable=False),
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("claimant_id", _ID, nullable=False),
        sa.Column("opened_at", _AT(), nullable=False),
        sa.Column("deadline", _AT(), nullable=False),
        sa.Column("objected_at", _AT(), nullable=True),
        sa.Column("closed_at", _AT(), nullable=True),
        sa.Column("outcome", _NAME, nullable=True),
        sa.CheckConstraint(
            "(closed_at IS NULL) = (outcome IS NULL)", name=op.f("ck_dispute_closed")
        ),
        *_product("dispute"),
        *_owner("dispute", "owner_id"),
        *_owner("dispute", "claimant_id"),
        sa.PrimaryKeyConstraint("id", name="pk_dispute"),
    )
    _index("dispute", "product_id", "owner_id", "claimant_id")
    _only_one_open("dispute")
    op.create_table(
        "ownership_receipt",
        sa.Column("id", _ID, nullable=False),
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("at", _AT(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("signed", sa.LargeBinary(), nullable=False),
        *_product("ownership_receipt"),
        *_owner("ownership_receipt", "owner_id"),
        sa.PrimaryKeyConstraint("id", name="pk_ownership_receipt"),
    )
    _index("ownership_receipt", "product_id", "owner_id")
    op.create_table(
        "letter",
        sa.Column("id", number, autoincrement=True, nullable=False),
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("at", _AT(), nullable=False),
        sa.Column("code", _NAME, nullable=False),
        sa.Column("arguments", sa.JSON(none_as_null=True), nullable=False),
        *_product("letter"),
        *_owner("letter", "owner_id"),
        sa.PrimaryKeyConstraint("id", name="pk_letter"),
    )
    op.create_index("ix_letter_owner_id_id", "letter", ["owner_id", "id"])
    # Alerts of the detector end with the ownership they were opened in.
    op.execute(
        "UPDATE alert SET resolved_at = heard_at, resolution = 'owner'"
        " WHERE resolved_at IS NULL AND kind < 128 AND epoch <> COALESCE((SELECT o.epoch"
        " FROM ownership o JOIN device d ON d.product_id = o.product_id"
        " WHERE d.slot = alert.slot AND o.ended_at IS NULL), 0)"
    )


def downgrade() -> None:
    for name in (
        "letter",
        "ownership_receipt",
        "dispute",
        "transfer_offer",
        "hand_over",
        "claim_window",
    ):
        op.drop_table(name)
    with op.batch_alter_table("product_model") as table:
        table.drop_constraint(op.f("ck_product_model_possession"), type_="check")
        table.drop_column("possession")
    with op.batch_alter_table("ownership") as table:
        table.drop_column("state_version")
        table.drop_column("undone_at")


def _product(table: str) -> list[sa.ForeignKeyConstraint]:
    name = f"fk_{table}_product_id"
    return [sa.ForeignKeyConstraint(["product_id"], ["product.id"], name=name)]


def _owner(table: str, column: str) -> list[sa.ForeignKeyConstraint]:
    return [sa.ForeignKeyConstraint([column], ["owner.id"], name=f"fk_{table}_{column}")]


def _index(table: str, *columns: str) -> None:
    for column in columns:
        op.create_index(f"ix_{table}_{column}", table, [column])


def _only_one_open(table: str) -> None:
    op.create_index(
        f"uq_{table}_open",
        table,
        ["product_id"],
        unique=True,
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    )
