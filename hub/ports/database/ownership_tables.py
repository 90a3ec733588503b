"""Who owns which product when, what they subscribed to, and what holds stand against it.

1. Ownership, subscriptions and holds are of the product, so it can be claimed before it connects.
2. The owner epoch counts the owners of a product from 1; 0 means nobody yet.
3. These are the facts that `entitlements` decides from; the decisions are not stored.
"""

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from hub.ports.database.tables import (
    Base,
    Digest,
    Document,
    Id,
    Instant,
    Items,
    Name,
    Number,
    Scalar,
    big_number,
)


class Ownership(Base):
    """One owner's time with a product, `[started_at, ended_at)`; open while `ended_at` is null.

    `undone_at` is set where it turned out to be nobody's right: it then shows nobody anything.
    `state_version` is the last state that the device was sent before; what it reports of that one
    or of an earlier one is of the time before.
    """

    __tablename__ = "ownership"
    __table_args__ = (
        # One owner at a time: of two claims at once the database lets one win.
        Index(
            "uq_ownership_open",
            "product_id",
            unique=True,
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    product_id: Mapped[Id] = mapped_column(ForeignKey("product.id"), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    owner_id: Mapped[Id] = mapped_column(ForeignKey("owner.id"), index=True)
    started_at: Mapped[Instant]
    ended_at: Mapped[Instant | None]
    undone_at: Mapped[Instant | None]
    state_version: Mapped[int] = mapped_column(big_number, server_default="0")


class ClaimAttempt(Base):
    """A wrong claim code, kept to slow down guessing."""

    __tablename__ = "claim_attempt"
    __table_args__ = (Index(None, "person_id", "at"), Index(None, "product_id", "at"))

    id: Mapped[Number]
    at: Mapped[Instant]
    person_id: Mapped[Id] = mapped_column(ForeignKey("person.id"))
    product_id: Mapped[Id | None] = mapped_column(ForeignKey("product.id"))


class ClaimWindow(Base):
    """Somebody showed on the device itself, at `opened_at`, that they have it in hand."""

    __tablename__ = "claim_window"

    product_id: Mapped[Id] = mapped_column(ForeignKey("product.id"), primary_key=True)
    opened_at: Mapped[Instant]
    until: Mapped[Instant]


class HandOver(Base):
    """The owner of an epoch wants the product released as soon as it is reset to factory settings."""

    __tablename__ = "hand_over"

    product_id: Mapped[Id] = mapped_column(ForeignKey("product.id"), primary_key=True)
    epoch: Mapped[int]
    prepared_at: Mapped[Instant]
    expires_at: Mapped[Instant]
    prepared_by: Mapped[Name]


class TransferOffer(Base):
    """The owner of an epoch offers a product to whoever has an e-mail address or the code."""

    __tablename__ = "transfer_offer"
    __table_args__ = (
        Index(
            "uq_transfer_offer_open",
            "product_id",
            unique=True,
            sqlite_where=text("closed_at IS NULL"),
            postgresql_where=text("closed_at IS NULL"),
        ),
        CheckConstraint("(email IS NULL) <> (code_hash IS NULL)", name="to"),
        CheckConstraint("(closed_at IS NULL) = (outcome IS NULL)", name="closed"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    product_id: Mapped[Id] = mapped_column(ForeignKey("product.id"), index=True)
    epoch: Mapped[int]
    owner_id: Mapped[Id] = mapped_column(ForeignKey("owner.id"), index=True)
    email: Mapped[Name | None] = mapped_column(index=True)
    code_hash: Mapped[Digest | None] = mapped_column(unique=True)
    created_at: Mapped[Instant]
    expires_at: Mapped[Instant]
    closed_at: Mapped[Instant | None]
    outcome: Mapped[Name | None]
    taker_id: Mapped[Id | None] = mapped_column(ForeignKey("owner.id"))


class Dispute(Base):
    """Somebody who has code and product says that it is theirs, not of the epoch's owner."""

    __tablename__ = "dispute"
    __table_args__ = (
        Index(
            "uq_dispute_open",
            "product_id",
            unique=True,
            sqlite_where=text("closed_at IS NULL"),
            postgresql_where=text("closed_at IS NULL"),
        ),
        CheckConstraint("(closed_at IS NULL) = (outcome IS NULL)", name="closed"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    product_id: Mapped[Id] = mapped_column(ForeignKey("product.id"), index=True)
    epoch: Mapped[int]
    owner_id: Mapped[Id] = mapped_column(ForeignKey("owner.id"), index=True)
    claimant_id: Mapped[Id] = mapped_column(ForeignKey("owner.id"), index=True)
    opened_at: Mapped[Instant]
    deadline: Mapped[Instant]
    objected_at: Mapped[Instant | None]
    closed_at: Mapped[Instant | None]
    outcome: Mapped[Name | None]


class Receipt(Base):
    """A household's paper about a change of owner; `content` is JSON, `signed` a COSE_Sign1 of it."""

    __tablename__ = "ownership_receipt"

    id: Mapped[Id] = mapped_column(primary_key=True)
    product_id: Mapped[Id] = mapped_column(ForeignKey("product.id"), index=True)
    owner_id: Mapped[Id] = mapped_column(ForeignKey("owner.id"), index=True)
    at: Mapped[Instant]
    content: Mapped[str]
    signed: Mapped[bytes]


class Letter(Base):
    """Something a household must know about a product: a code plus arguments."""

    __tablename__ = "letter"
    __table_args__ = (Index(None, "owner_id", "id"),)

    id: Mapped[Number]
    owner_id: Mapped[Id] = mapped_column(ForeignKey("owner.id"))
    product_id: Mapped[Id] = mapped_column(ForeignKey("product.id"))
    at: Mapped[Instant]
    code: Mapped[Name]
    arguments: Mapped[Document]


class Subscription(Base):
    """What was agreed about paying for a plan for one product: dates only.

    The fields mean what `entitlements.facts.Subscription` says. `epoch` null goes with the product
    to its next owner.
    """

    __tablename__ = "subscription"

    id: Mapped[Id] = mapped_column(primary_key=True)
    product_id: Mapped[Id] = mapped_column(ForeignKey("product.id"), index=True)
    owner_id: Mapped[Id] = mapped_column(ForeignKey("owner.id"), index=True)
    plan_version_id: Mapped[int] = mapped_column(ForeignKey("plan_version.id"), index=True)
    starts_at: Mapped[Instant]
    trial_end: Mapped[Instant | None]
    paid_until: Mapped[Instant | None]
    grace_s: Mapped[int]
    cancelled_at: Mapped[Instant | None]
    ends_at: Mapped[Instant | None]
    epoch: Mapped[int | None]
    retry_s: Mapped[int] = mapped_column(server_default="0")
    paused_at: Mapped[Instant | None]
    resumes_at: Mapped[Instant | None]
    withdrawn_at: Mapped[Instant | None]
    quantity: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[Instant]


class SubscriptionTerms(Base):
    """The dates of a subscription as they stood until `replaced_at`, when others took their place."""

    __tablename__ = "subscription_terms"

    subscription_id: Mapped[Id] = mapped_column(ForeignKey("subscription.id"), primary_key=True)
    replaced_at: Mapped[Instant] = mapped_column(primary_key=True)
    trial_end: Mapped[Instant | None]
    paid_until: Mapped[Instant | None]
    grace_s: Mapped[int]
    cancelled_at: Mapped[Instant | None]
    ends_at: Mapped[Instant | None]
    retry_s: Mapped[int] = mapped_column(server_default="0")
    paused_at: Mapped[Instant | None]
    resumes_at: Mapped[Instant | None]
    withdrawn_at: Mapped[Instant | None]


class Hold(Base):
    """A reversible block on one product, on an account, or on all products that were built alike.

    On one product it may be of some features, or of one subscription's grants. A recall names a
    model, and perhaps one of its hardware lots or firmwares. `evidence` is what it rests on; the
    same evidence leads to one hold of a kind.
    """

    __tablename__ = "hold"
    __table_args__ = (
        CheckConstraint(
            "kind IN ('payment', 'fraud', 'theft', 'recall', 'clone', 'quota')", name="kind"
        ),
        CheckConstraint(
            "(CASE WHEN product_id IS NULL THEN 0 ELSE 1 END)"
            " + (CASE WHEN owner_id IS NULL THEN 0 ELSE 1 END)"
            " + (CASE WHEN model_number IS NULL THEN 0 ELSE 1 END) = 1",
            name="scope",
        ),
        Index("uq_hold_product_id_kind_evidence", "product_id", "kind", "evidence", unique=True),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    product_id: Mapped[Id | None] = mapped_column(ForeignKey("product.id"), index=True)
    owner_id: Mapped[Id | None] = mapped_column(ForeignKey("owner.id"), index=True)
    model_number: Mapped[int | None] = mapped_column(ForeignKey("product_model.number"), index=True)
    firmware: Mapped[Name | None]
    hardware_lot: Mapped[Name | None]
    kind: Mapped[Name]
    starts_at: Mapped[Instant]
    ends_at: Mapped[Instant | None]
    features: Mapped[Items | None]
    subscription_id: Mapped[Id | None] = mapped_column(ForeignKey("subscription.id"))
    evidence: Mapped[Name | None]
    reason: Mapped[Name]
    author: Mapped[Name]


class Recalled(Base):
    """A product ran the firmware of a recall for a while, `[starts_at, ends_at)`."""

    __tablename__ = "recalled"

    product_id: Mapped[Id] = mapped_column(ForeignKey("product.id"), primary_key=True)
    hold_id: Mapped[Id] = mapped_column(ForeignKey("hold.id"), primary_key=True)
    starts_at: Mapped[Instant] = mapped_column(primary_key=True)
    ends_at: Mapped[Instant | None]


class Grant(Base):
    """A feature given to one product beside any plan."""

    __tablename__ = "feature_grant"

    id: Mapped[Id] = mapped_column(primary_key=True)
    product_id: Mapped[Id] = mapped_column(ForeignKey("product.id"), index=True)
    feature: Mapped[Name]
    starts_at: Mapped[Instant]
    ends_at: Mapped[Instant | None]
    value: Mapped[Scalar]
    reason: Mapped[Name]
    author: Mapped[Name]
