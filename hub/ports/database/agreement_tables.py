"""What households agreed to pay for regularly, and the promotions that make it cheaper.

1. An agreement is about one product and one ownership of it. Its subscriptions (one of a plan, others of
   add-ons) say what is granted; it says what is billed and when next.
2. Amounts are whole minor units of the agreement's currency, for the whole of the present period.
3. What happens once is unique here: one open agreement of a product, one bill at a time that waits for
   its payment, one redemption of a promotion by a household.
"""

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from hub.ports.database.tables import (
    Base,
    Big,
    Id,
    Instant,
    Items,
    Name,
    OptionalDocument,
)

_OPEN = text("closed_at IS NULL")
_WAITING = text("settled_at IS NULL")


class Promotion(Base):
    """A code that makes a number of periods cheaper, by a share or by an amount in each currency.

    `percent_ppm` is in parts per million; `amounts` are minor units by currency; `periods` null means
    all. `redeemed` counts the households that have it.
    """

    __tablename__ = "promotion"
    __table_args__ = (
        CheckConstraint("(percent_ppm IS NULL) <> (amounts IS NULL)", name="discount"),
        CheckConstraint("percent_ppm BETWEEN 1 AND 1000000", name="percent"),
        CheckConstraint("most IS NULL OR redeemed <= most", name="most"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    code: Mapped[Name] = mapped_column(unique=True)
    title: Mapped[Name]
    percent_ppm: Mapped[int | None]
    amounts: Mapped[OptionalDocument]
    periods: Mapped[int | None]
    plans: Mapped[Items | None]
    most: Mapped[int | None]
    redeemed: Mapped[int]
    starts_at: Mapped[Instant]
    ends_at: Mapped[Instant | None]
    created_by: Mapped[Name]


class Redemption(Base):
    """A household made use of a promotion."""

    __tablename__ = "promotion_redemption"

    promotion_id: Mapped[Id] = mapped_column(ForeignKey("promotion.id"), primary_key=True)
    owner_id: Mapped[Id] = mapped_column(ForeignKey("owner.id"), primary_key=True)
    agreement_id: Mapped[Id] = mapped_column(ForeignKey("agreement.id"), index=True)
    at: Mapped[Instant]


class Agreement(Base):
    """A household pays regularly for a plan, and perhaps add-ons, of one product.

    `subscription_id` is the present one of the plan. Periods end `anchor_months` months after
    `anchor_at`, on the calendar of `zone`; the present one is `[period_start, period_end)`, null where
    none was billed yet (a trial, or a plan that is free). `billed` counts the periods that were.
    `next_at` is when the billing clock acts next. `next_version_id` is what the plan changes to when the
    period ends. `promotion_left` null means for all periods to come.
    """

    __tablename__ = "agreement"
    __table_args__ = (
        Index(
            "uq_agreement_open",
            "product_id",
            unique=True,
            sqlite_where=_OPEN,
            postgresql_where=_OPEN,
        ),
        Index(None, "next_at"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    product_id: Mapped[Id] = mapped_column(ForeignKey("product.id"), index=True)
    owner_id: Mapped[Id] = mapped_column(ForeignKey("owner.id"), index=True)
    epoch: Mapped[int]
    subscription_id: Mapped[Id] = mapped_column(ForeignKey("subscription.id"), unique=True)
    currency: Mapped[Name]
    zone: Mapped[Name]
    concluded_at: Mapped[Instant]
    anchor_at: Mapped[Instant]
    anchor_months: Mapped[int]
    period_start: Mapped[Instant | None]
    period_end: Mapped[Instant | None]
    billed: Mapped[int]
    next_at: Mapped[Instant | None]
    next_version_id: Mapped[int | None] = mapped_column(ForeignKey("plan_version.id"))
    promotion_id: Mapped[Id | None] = mapped_column(ForeignKey("promotion.id"))
    promotion_left: Mapped[int | None]
    closed_at: Mapped[Instant | None]


class AgreementItem(Base):
    """A subscription of an agreement; `amount` is what the whole present period of it costs.

    `tax_ppm` and `inclusive` are those by which it was charged, so that the same is given back.
    """

    __tablename__ = "agreement_item"

    subscription_id: Mapped[Id] = mapped_column(ForeignKey("subscription.id"), primary_key=True)
    agreement_id: Mapped[Id] = mapped_column(ForeignKey("agreement.id"), index=True)
    amount: Mapped[Big]
    tax_ppm: Mapped[int]
    inclusive: Mapped[bool]
    ended_at: Mapped[Instant | None]


class AgreementBill(Base):
    """An invoice of an agreement: for a period, a change that happens once it is paid, or money back.

    `asked_at` is the instant that it is about. `wanted` is what a change leads to: the plan version, and
    quantities by plan version of add-ons. A bill is settled when it is known what came of it.
    """

    __tablename__ = "agreement_bill"
    __table_args__ = (
        CheckConstraint("kind IN ('first', 'period', 'change', 'back')", name="kind"),
        Index(
            "uq_agreement_bill_waiting",
            "agreement_id",
            unique=True,
            sqlite_where=_WAITING,
            postgresql_where=_WAITING,
        ),
        Index(None, "agreement_id", "asked_at"),
    )

    invoice_id: Mapped[Id] = mapped_column(ForeignKey("invoice.id"), primary_key=True)
    agreement_id: Mapped[Id] = mapped_column(ForeignKey("agreement.id"))
    kind: Mapped[Name]
    asked_at: Mapped[Instant]
    wanted: Mapped[OptionalDocument]
    settled_at: Mapped[Instant | None]
