"""What the detector found, the alerts it became, and what was pushed to devices.

1. One open alert per device, metric and kind; the database holds it.
2. Ids of findings, notices and commands are deterministic: a replay writes nothing twice.
3. Sentences are a code plus arguments.
"""

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from hub.ports.database.tables import Base, Document, Id, Identity16, Instant, Name, big_number


class Finding(Base):
    """One remark of the detector on one series; `hidden`: on rows that the owner could not see then."""

    __tablename__ = "finding"
    __table_args__ = (Index(None, "alert_id", "at"), Index(None, "slot", "at"))

    id: Mapped[Identity16] = mapped_column(primary_key=True)
    slot: Mapped[int] = mapped_column(ForeignKey("device.slot"))
    epoch: Mapped[int]
    metric: Mapped[int]
    kind: Mapped[int]
    severity: Mapped[int]
    at: Mapped[Instant]
    since: Mapped[Instant]
    surprise: Mapped[float]
    observed: Mapped[float]
    expected_low: Mapped[float | None]
    expected_high: Mapped[float | None]
    hidden: Mapped[bool] = mapped_column(default=False)
    alert_id: Mapped[Name | None] = mapped_column(ForeignKey("alert.id"))
    incident_id: Mapped[Name | None] = mapped_column(ForeignKey("incident.id"))


class Incident(Base):
    """Something found about many products at once: a whole cohort, or (without one) all of them.

    `id` is the hex of the finding that opened it. `metric` is missing where it is about the products
    themselves.
    """

    __tablename__ = "incident"
    __table_args__ = (Index(None, "ended_at"), Index(None, "opened_at", "id"))

    id: Mapped[Name] = mapped_column(primary_key=True)
    cohort: Mapped[int | None] = mapped_column(big_number, ForeignKey("cohort.number"))
    metric: Mapped[int | None]
    kind: Mapped[int]
    severity: Mapped[int]
    members: Mapped[int]
    since: Mapped[Instant]
    opened_at: Mapped[Instant]
    last_at: Mapped[Instant]
    heard_at: Mapped[Instant]
    ended_at: Mapped[Instant | None]
    code: Mapped[Name]
    arguments: Mapped[Document]


class Alert(Base):
    """Something wrong with one metric of one device that a person should know of.

    `id` is the hex of the finding that opened it, so replays open it once.
    """

    __tablename__ = "alert"
    __table_args__ = (
        Index(
            "uq_alert_open",
            "slot",
            "metric",
            "kind",
            unique=True,
            sqlite_where=text("resolved_at IS NULL"),
            postgresql_where=text("resolved_at IS NULL"),
        ),
        Index(None, "slot", "opened_at"),
        Index(None, "opened_at", "id"),
        Index(None, "resolved_at", "heard_at"),
    )

    id: Mapped[Name] = mapped_column(primary_key=True)
    slot: Mapped[int] = mapped_column(ForeignKey("device.slot"))
    metric: Mapped[int]
    kind: Mapped[int]
    severity: Mapped[int]
    epoch: Mapped[int]
    since: Mapped[Instant]
    opened_at: Mapped[Instant]
    last_at: Mapped[Instant]
    count: Mapped[int]
    last_finding: Mapped[Identity16]
    code: Mapped[Name]
    arguments: Mapped[Document]
    reopened: Mapped[int]
    acknowledged_at: Mapped[Instant | None]
    acknowledged_by: Mapped[Id | None] = mapped_column(ForeignKey("person.id"))
    resolved_at: Mapped[Instant | None]
    resolved_by: Mapped[Id | None] = mapped_column(ForeignKey("person.id"))
    # Why, where nobody did: a value of `hub.services.alerts.Resolution`.
    resolution: Mapped[Name | None]
    # When evidence arrived last, on the hub's clock; `last_at` is on the device's.
    heard_at: Mapped[Instant]
    muted_until: Mapped[Instant | None]
    muted_by: Mapped[Id | None] = mapped_column(ForeignKey("person.id"))
    incident_id: Mapped[Name | None] = mapped_column(ForeignKey("incident.id"))


class AlertFeedback(Base):
    """What a person thought of an alert; the last word counts."""

    __tablename__ = "alert_feedback"

    alert_id: Mapped[Name] = mapped_column(ForeignKey("alert.id"), primary_key=True)
    actor: Mapped[Name] = mapped_column(primary_key=True)
    useful: Mapped[bool]
    at: Mapped[Instant]


class Notice(Base):
    """A message for the people at a device; `told_at` is the birth at which it was sent again."""

    __tablename__ = "notice"
    __table_args__ = (Index(None, "slot", "created_at"),)

    id: Mapped[Identity16] = mapped_column(primary_key=True)
    slot: Mapped[int] = mapped_column(ForeignKey("device.slot"))
    epoch: Mapped[int]
    code: Mapped[Name]
    arguments: Mapped[Document]
    severity: Mapped[int]
    created_at: Mapped[Instant]
    created_by: Mapped[Name]
    told_at: Mapped[Instant | None]


class Command(Base):
    """Something a device is told to do before `expires_at`, and what it replied."""

    __tablename__ = "command"
    __table_args__ = (Index(None, "slot", "created_at"),)

    id: Mapped[Identity16] = mapped_column(primary_key=True)
    slot: Mapped[int] = mapped_column(ForeignKey("device.slot"))
    epoch: Mapped[int] = mapped_column(server_default="0")
    name: Mapped[Name]
    arguments: Mapped[Document]
    created_at: Mapped[Instant]
    created_by: Mapped[Name]
    expires_at: Mapped[Instant]
    replied_at: Mapped[Instant | None]
    reply_status: Mapped[int | None]
    reply_result: Mapped[Document | None]
    reply_message: Mapped[str | None]
