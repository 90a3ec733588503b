"""Warranty and support contracts: what is promised, what was bought, what counters read, and cases.

1. Published versions of warranties and contracts never change. Calendars do: holidays are added.
2. These are facts; what follows from them for an instant is derived by `entitlements.coverage`.
3. A case's deadlines are kept, so that staff's list is in their order; they are derived anew at
   each step of the case.
"""

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
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
)

NEVER_DUE = (1 << 63) - 1


class WarrantyVersion(Base):
    """Terms of the warranty of a model; limits are in hours and cycles, metrics are indices."""

    __tablename__ = "warranty_version"

    model_number: Mapped[int] = mapped_column(
        ForeignKey("product_model.number"), primary_key=True, autoincrement=False
    )
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    months: Mapped[int]
    latest_start_months: Mapped[int]
    transferable: Mapped[bool]
    use_metric: Mapped[int | None]
    use_above: Mapped[float | None]
    hours_metric: Mapped[int | None]
    hours: Mapped[float | None]
    cycles_metric: Mapped[int | None]
    cycles: Mapped[float | None]
    published_at: Mapped[Instant]


class BusinessCalendar(Base):
    """When support works: hours of each weekday as minutes, and holidays as ISO dates or `MM-DD`."""

    __tablename__ = "business_calendar"

    name: Mapped[Name] = mapped_column(primary_key=True)
    zone: Mapped[Name]
    week: Mapped[Items]
    holidays: Mapped[Items]


class ContractPlan(Base):
    """A support contract that can be bought."""

    __tablename__ = "contract_plan"

    name: Mapped[Name] = mapped_column(primary_key=True)
    title: Mapped[Name]


class ContractVersion(Base):
    """What a support contract promises; `targets` are seconds by severity and kind."""

    __tablename__ = "contract_version"
    __table_args__ = (UniqueConstraint("plan", "version"),)

    id: Mapped[Number]
    plan: Mapped[Name] = mapped_column(ForeignKey("contract_plan.name"))
    version: Mapped[int]
    months: Mapped[int]
    incidents: Mapped[int | None]
    transferable: Mapped[bool]
    calendar: Mapped[Name | None] = mapped_column(ForeignKey("business_calendar.name"))
    targets: Mapped[Document]
    published_at: Mapped[Instant]


class ProductUse(Base):
    """When a product was first seen at work."""

    __tablename__ = "product_use"

    product_id: Mapped[Id] = mapped_column(ForeignKey("product.id"), primary_key=True)
    first_use_at: Mapped[Instant]


class LifetimeState(Base):
    """A counter that a warranty reads, as `entitlements.lifetime.Lifetime`, in hours or cycles."""

    __tablename__ = "meter"

    product_id: Mapped[Id] = mapped_column(ForeignKey("product.id"), primary_key=True)
    metric: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    total: Mapped[float]
    last: Mapped[float]
    before: Mapped[float | None]
    read_at: Mapped[Instant]


class LifetimeReading(Base):
    """A total worth keeping: the first one, and one for each hundredth of the limit."""

    __tablename__ = "meter_reading"

    product_id: Mapped[Id] = mapped_column(ForeignKey("product.id"), primary_key=True)
    metric: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[Instant] = mapped_column(primary_key=True, autoincrement=False)
    total: Mapped[float]


class WarrantyExtension(Base):
    """More warranty that was bought for a product; see `entitlements.coverage_facts.Extension`."""

    __tablename__ = "warranty_extension"
    __table_args__ = (UniqueConstraint("product_id", "reference"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    product_id: Mapped[Id] = mapped_column(ForeignKey("product.id"))
    bought_at: Mapped[Instant]
    months: Mapped[int]
    hours: Mapped[float]
    cycles: Mapped[float]
    transferable: Mapped[bool]
    epoch: Mapped[int]
    reference: Mapped[Name]
    author: Mapped[Name]


class SupportContract(Base):
    """A support contract that was bought for a product."""

    __tablename__ = "support_contract"
    __table_args__ = (UniqueConstraint("product_id", "reference"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    product_id: Mapped[Id] = mapped_column(ForeignKey("product.id"))
    contract_version_id: Mapped[int] = mapped_column(ForeignKey("contract_version.id"))
    starts_at: Mapped[Instant]
    terms: Mapped[int]
    epoch: Mapped[int]
    ended_at: Mapped[Instant | None]
    reference: Mapped[Name]
    author: Mapped[Name]


class SupportCase(Base):
    """A request for help with a product.

    `place` numbers the cases that one term of a contract pays for, from 1: of two that take the
    last one at once the database lets one. A case that gave it back keeps contract and term.
    `due_at` is `NEVER_DUE` where nothing is promised or the clock stands still, so that the
    databases agree on the order.
    """

    __tablename__ = "support_case"
    __table_args__ = (
        CheckConstraint("severity IN ('notice', 'warning', 'critical')", name="severity"),
        Index(
            "uq_support_case_place",
            "contract_id",
            "term",
            "place",
            unique=True,
            sqlite_where=text("given_back_at IS NULL"),
            postgresql_where=text("given_back_at IS NULL"),
        ),
        Index(
            "uq_support_case_alert_open",
            "alert_id",
            unique=True,
            sqlite_where=text("closed_at IS NULL"),
            postgresql_where=text("closed_at IS NULL"),
        ),
        Index(None, "closed_at", "due_at", "id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    product_id: Mapped[Id] = mapped_column(ForeignKey("product.id"), index=True)
    epoch: Mapped[int]
    alert_id: Mapped[Name | None] = mapped_column(ForeignKey("alert.id"))
    severity: Mapped[Name]
    subject: Mapped[Name]
    opened_at: Mapped[Instant]
    opened_by: Mapped[Name]
    assigned_to: Mapped[Id | None] = mapped_column(ForeignKey("person.id"), index=True)
    responded_at: Mapped[Instant | None]
    waiting_since: Mapped[Instant | None]
    pauses: Mapped[Items]
    resolved_at: Mapped[Instant | None]
    closed_at: Mapped[Instant | None]
    # Who pays, as it was when the fault began or else the case was opened.
    counted_at: Mapped[Instant]
    covered: Mapped[bool]
    cover_code: Mapped[Name]
    cover_arguments: Mapped[Document]
    # What of a contract it uses, if of any.
    contract_id: Mapped[Id | None] = mapped_column(ForeignKey("support_contract.id"))
    term: Mapped[int | None]
    place: Mapped[int | None]
    given_back_at: Mapped[Instant | None]
    # What the contract promises, derived at each step; `due_at` is the next of them.
    response_due: Mapped[Instant | None]
    resolution_due: Mapped[Instant | None]
    due_at: Mapped[Instant]


class CaseStep(Base):
    """Something that was done with a case, with what was said."""

    __tablename__ = "case_step"
    __table_args__ = (Index(None, "case_id", "id"),)

    id: Mapped[Number]
    case_id: Mapped[Id] = mapped_column(ForeignKey("support_case.id"))
    at: Mapped[Instant]
    actor: Mapped[Name]
    by_staff: Mapped[bool]
    kind: Mapped[Name]
    message: Mapped[str]


class AlertCover(Base):
    """Who pays for the fault of an alert, as was known when it was opened; null kind: nobody does."""

    __tablename__ = "alert_cover"

    alert_id: Mapped[Name] = mapped_column(ForeignKey("alert.id"), primary_key=True)
    decided_at: Mapped[Instant]
    kind: Mapped[Name | None]
    contract_id: Mapped[Id | None] = mapped_column(ForeignKey("support_contract.id"))
    code: Mapped[Name]
    arguments: Mapped[Document]


class HealthCertificate(Base):
    """A signed statement on a product for a buyer; the secret of its link is kept as a hash."""

    __tablename__ = "health_certificate"

    id: Mapped[Id] = mapped_column(primary_key=True)
    product_id: Mapped[Id] = mapped_column(ForeignKey("product.id"), index=True)
    epoch: Mapped[int]
    purpose: Mapped[Name]
    issued_at: Mapped[Instant]
    expires_at: Mapped[Instant]
    issued_by: Mapped[Name]
    link_hash: Mapped[Digest] = mapped_column(unique=True)
    signed: Mapped[str]
