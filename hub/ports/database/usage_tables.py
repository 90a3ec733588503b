"""What is counted of products' telemetry, and what followed from it.

1. A meter's number goes into snapshots and logs, so it never changes or is reused; nor does what it
   counts.
2. Totals are not kept here: the archive has them, for any period (`hub/services/usage_archive.py`).
"""

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from hub.ports.database.tables import Base, Id, Instant, Name, Number


class UsageMeter(Base):
    """Something of a model's telemetry that is counted; see `entitlements.billing.meters.Meter`."""

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


class UsageCorrection(Base):
    """Rows of a period that was over came in: what it counted is to be asked for again.

    `since` is the time of the earliest of them.
    """

    __tablename__ = "usage_correction"
    __table_args__ = (Index(None, "product_id", "at"),)

    id: Mapped[Number]
    product_id: Mapped[Id] = mapped_column(ForeignKey("product.id"))
    meter: Mapped[int] = mapped_column(ForeignKey("usage_meter.number"))
    since: Mapped[Instant]
    at: Mapped[Instant]
