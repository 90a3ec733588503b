"""Who owns which product when, what they subscribed to, and what holds stand against it.

1. Ownership, subscriptions and holds are of the product, so it can be claimed before it connects.
2. The owner epoch counts the owners of a product from 1; 0 means nobody yet.
3. These are the facts that `entitlements` decides from; the decisions are not stored.
"""

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from hub.ports.database.tables import Base, Id, Instant, Items, Name, Number, Scalar


class Ownership(Base):
    """One owner's time with a product, `[started_at, ended_at)`; open while `ended_at` is null."""

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


class ClaimAttempt(Base):
    """A wrong claim code, kept to slow down guessing."""

    __tablename__ = "claim_attempt"
    __table_args__ = (Index(None, "person_id", "at"), Index(None, "product_id", "at"))

    id: Mapped[Number]
    at: Mapped[Instant]
    person_id: Mapped[Id] = mapped_column(ForeignKey("person.id"))
    product_id: Mapped[Id | None] = mapped_column(ForeignKey("product.id"))


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
    created_at: Mapped[Instant]


class Hold(Base):
    """A reversible block on a product, on some of its features, or on one subscription's grants."""

    __tablename__ = "hold"
    __table_args__ = (
        CheckConstraint("kind IN ('payment', 'fraud', 'theft', 'recall', 'clone')", name="kind"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    product_id: Mapped[Id] = mapped_column(ForeignKey("product.id"), index=True)
    kind: Mapped[Name]
    starts_at: Mapped[Instant]
    ends_at: Mapped[Instant | None]
    features: Mapped[Items | None]
    subscription_id: Mapped[Id | None] = mapped_column(ForeignKey("subscription.id"))
    reason: Mapped[Name]
    author: Mapped[Name]


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
