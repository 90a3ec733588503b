"""What is counted of products' telemetry, and what followed from it.

1. A meter's number goes into snapshots and logs, so it never changes or is reused; nor does what it
   counts.
2. Totals of telemetry are not kept here: the archive has them, for any period
   (`hub/services/usage_archive.py`). A statement says what a closed period was billed by.
"""

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from hub.ports.database.tables import Base, Id, Instant, Name, Number


class UsageMeter(Base):
    """Something of a model that is counted; see `entitlements.billing.meters.Meter`.

    `unit` is of a meter that reads no metric (`NO_METRIC`), but what programs tell.
    """

    __tablename__ = "usage_meter"
    __table_args__ = (
        UniqueConstraint("model_number", "name"),
        CheckConstraint(
            "aggregation IN ('count', 'sum', 'max', 'last', 'increase', 'unique')",
            name="aggregation",
        ),
        CheckConstraint("number BETWEEN 1 AND 65535", name="number_range"),
        CheckConstraint("decimals BETWEEN 0 AND 9", name="decimals_range"),
    )

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    model_number: Mapped[int] = mapped_column(ForeignKey("product_model.number"))
    name: Mapped[Name]
    title: Mapped[Name]
    metric_index: Mapped[int]
    aggregation: Mapped[Name]
    decimals: Mapped[int]
    unit: Mapped[Name | None]


class UsageCorrection(Base):
    """Rows of periods that were over came in: these are to be counted again.

    `since` is the time of the earliest of them. One row for a product and meter, gone when it is done.
    """

    __tablename__ = "usage_correction"

    product_id: Mapped[Id] = mapped_column(ForeignKey("product.id"), primary_key=True)
    meter: Mapped[int] = mapped_column(
        ForeignKey("usage_meter.number"), primary_key=True, autoincrement=False
    )
    since: Mapped[Instant]
    at: Mapped[Instant]


class CreditGrant(Base):
    """Units of a meter that may be used beside a plan's quota; see `entitlements.billing.credit`.

    For one product and owner epoch, or (`product_id` null) for each product of an owner that has the
    meter. `amount` and rollovers are in `10**-decimals` of the meter's unit. `code` names what must
    not be given twice for the same time. `renews` anew in each period.
    """

    __tablename__ = "credit_grant"
    __table_args__ = (
        UniqueConstraint("cause"),
        CheckConstraint(
            "kind IN ('topup', 'addon', 'promotion', 'goodwill', 'outage')", name="kind"
        ),
        CheckConstraint("amount >= 1", name="amount_positive"),
        CheckConstraint("priority BETWEEN 0 AND 255", name="priority_range"),
        CheckConstraint(
            "min_rollover >= 0 AND min_rollover <= max_rollover", name="rollover_range"
        ),
        Index(None, "product_id", "meter"),
        Index(None, "owner_id", "meter"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    owner_id: Mapped[Id] = mapped_column(ForeignKey("owner.id"))
    product_id: Mapped[Id | None] = mapped_column(ForeignKey("product.id"))
    epoch: Mapped[int | None]
    meter: Mapped[Name]
    kind: Mapped[Name]
    code: Mapped[Name | None]
    cause: Mapped[Name]
    amount: Mapped[Instant]
    decimals: Mapped[int]
    priority: Mapped[int]
    starts_at: Mapped[Instant]
    ends_at: Mapped[Instant | None]
    renews: Mapped[bool]
    min_rollover: Mapped[Instant]
    max_rollover: Mapped[Instant]
    created_at: Mapped[Instant]
    author: Mapped[Name]
    reason: Mapped[Name]


class UsageEntry(Base):
    """Usage that did not come as telemetry: an event told over the API, or a correction by staff.

    `quantity` is in the meter's smallest quantity and may be negative for corrections. An `event_id`
    counts once for a product.
    """

    __tablename__ = "usage_entry"
    __table_args__ = (
        UniqueConstraint("product_id", "event_id"),
        CheckConstraint("kind IN ('event', 'correction')", name="kind"),
        Index(None, "product_id", "meter", "at", "quantity"),  # what sums are made of
    )

    id: Mapped[Number]
    product_id: Mapped[Id] = mapped_column(ForeignKey("product.id"))
    meter: Mapped[int] = mapped_column(ForeignKey("usage_meter.number"))
    event_id: Mapped[Name]
    kind: Mapped[Name]
    at: Mapped[Instant]
    quantity: Mapped[Instant]
    received_at: Mapped[Instant]
    author: Mapped[Name]
    reason: Mapped[Name]


class UsageLevel(Base):
    """Which share of what may be used a product has reached; `changes` counts what was ever told."""

    __tablename__ = "usage_level"

    product_id: Mapped[Id] = mapped_column(ForeignKey("product.id"), primary_key=True)
    meter: Mapped[int] = mapped_column(
        ForeignKey("usage_meter.number"), primary_key=True, autoincrement=False
    )
    start: Mapped[Instant]
    share: Mapped[int]
    changes: Mapped[int]


class UsageThreshold(Base):
    """A share of what may be used was reached (`up`) or is not reached any more."""

    __tablename__ = "usage_threshold"
    __table_args__ = (UniqueConstraint("product_id", "meter", "number"),)

    id: Mapped[Number]
    product_id: Mapped[Id] = mapped_column(ForeignKey("product.id"))
    meter: Mapped[int] = mapped_column(ForeignKey("usage_meter.number"))
    number: Mapped[int]
    owner_id: Mapped[Id | None] = mapped_column(ForeignKey("owner.id"))
    start: Mapped[Instant]
    share: Mapped[int]
    up: Mapped[bool]
    used: Mapped[Instant]
    allowance: Mapped[Instant]
    at: Mapped[Instant]


class UsageStatement(Base):
    """What a period that is over counted, as it was closed (`revision` 0) and as it was adjusted.

    Never rewritten: an adjustment is another revision, which says why. `billed` is what of the
    overage is on an invoice by then, with the cause of that invoice.
    """

    __tablename__ = "usage_statement"

    product_id: Mapped[Id] = mapped_column(ForeignKey("product.id"), primary_key=True)
    meter: Mapped[int] = mapped_column(
        ForeignKey("usage_meter.number"), primary_key=True, autoincrement=False
    )
    start: Mapped[Instant] = mapped_column(primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    end: Mapped[Instant]
    owner_id: Mapped[Id | None] = mapped_column(ForeignKey("owner.id"))
    used: Mapped[Instant]
    overage: Mapped[Instant]
    at: Mapped[Instant]
    reason: Mapped[Name]
    cause: Mapped[Name | None]


class Outage(Base):
    """A stretch of time in which the hub, or one of its workers, took nothing in."""

    __tablename__ = "outage"

    id: Mapped[Number]
    part: Mapped[Name]
    starts_at: Mapped[Instant]
    ends_at: Mapped[Instant]
    __table_args__ = (UniqueConstraint("part", "starts_at"),)
