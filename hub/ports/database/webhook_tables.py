"""Outgoing webhooks: who wants to hear of what, what happened, and what became of telling them.

1. Events and deliveries are written in the transaction of the change that they tell of.
2. An event keeps ids only. What a receiver is sent is made of the facts when it is sent.
3. No secret is here: those of endpoints follow from a key of the hub and `secret_number`.
"""

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from hub.ports.database.tables import Base, Big, Document, Id, Instant, Items, Name, Number


class WebhookEndpoint(Base):
    """An address that wants to hear of events; `types` empty: of all.

    Of the secret before `secret_number` signatures are made too until `former_until`. `failing_since` is the first
    of the failures that no success has followed; `disabled_why` is a word, null while it is in use.
    """

    __tablename__ = "webhook_endpoint"

    id: Mapped[Id] = mapped_column(primary_key=True)
    url: Mapped[str]
    types: Mapped[Items]
    description: Mapped[Name]
    secret_number: Mapped[int]
    former_until: Mapped[Instant | None]
    created_at: Mapped[Instant]
    failing_since: Mapped[Instant | None]
    disabled_at: Mapped[Instant | None]
    disabled_why: Mapped[Name | None]


class WebhookEvent(Base):
    """Something that happened to a `subject` (`product:ID` or `owner:ID`); ids rise with time and are versions."""

    __tablename__ = "webhook_event"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[Number]
    type: Mapped[Name]
    at: Mapped[Instant] = mapped_column(index=True)
    subject: Mapped[Name]
    details: Mapped[Document]


class WebhookDelivery(Base):
    """One event on its way to one endpoint; `next_at` null: nothing more is tried."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        UniqueConstraint("event_id", "endpoint_id"),
        Index(None, "endpoint_id", "next_at"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    event_id: Mapped[Big] = mapped_column(ForeignKey("webhook_event.id"))
    endpoint_id: Mapped[Id] = mapped_column(ForeignKey("webhook_endpoint.id"))
    tries: Mapped[int]
    next_at: Mapped[Instant | None] = mapped_column(index=True)
    delivered_at: Mapped[Instant | None]


class WebhookAttempt(Base):
    """One try to deliver; `status` of the answer, null where none came, and then `error` says why."""

    __tablename__ = "webhook_attempt"

    delivery_id: Mapped[Id] = mapped_column(ForeignKey("webhook_delivery.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[Instant]
    version: Mapped[Big]
    status: Mapped[int | None]
    error: Mapped[Name | None]
    duration_ms: Mapped[int]
