"""What households bought once: top-ups of a meter.

1. An order says what was agreed when it was placed; the catalogue may sell something else by now.
2. What came of it is not a word here: its invoice says whether it is paid, its grant that it was given.
"""

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from hub.ports.database.tables import Base, Id, Instant, Name


class TopUpOrder(Base):
    """A household ordered units of a meter for a product of theirs.

    `amount` is in `10**-decimals` of the meter's unit; they can be used for `days` from when it is paid,
    null: for as long as the product is theirs. `grant_id` is what was given for it, `refunded_at` when
    staff took that back and gave the money back.
    """

    __tablename__ = "topup_order"
    __table_args__ = (
        CheckConstraint("amount >= 1", name="amount_positive"),
        CheckConstraint("decimals BETWEEN 0 AND 9", name="decimals_range"),
        CheckConstraint("days IS NULL OR days >= 1", name="days_positive"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    invoice_id: Mapped[Id] = mapped_column(ForeignKey("invoice.id"), unique=True)
    owner_id: Mapped[Id] = mapped_column(ForeignKey("owner.id"), index=True)
    product_id: Mapped[Id] = mapped_column(ForeignKey("product.id"), index=True)
    epoch: Mapped[int]
    name: Mapped[Name]
    title: Mapped[Name]
    meter: Mapped[Name]
    amount: Mapped[Instant]
    decimals: Mapped[int]
    days: Mapped[int | None]
    ordered_at: Mapped[Instant]
    ordered_by: Mapped[Name]
    grant_id: Mapped[Id | None] = mapped_column(ForeignKey("credit_grant.id"), unique=True)
    refunded_at: Mapped[Instant | None]
