"""What the vendor makes and sells: product models with metrics and features, and plans.

1. A model's number and a metric's index go into journals, so neither changes or is reused.
2. A published plan version never changes; a plan changes by a new version.
"""

from datetime import date

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from hub.ports.database.tables import (
    Base,
    Big,
    Instant,
    Items,
    Name,
    Number,
    OptionalDocument,
    Scalar,
)


class ProductModel(Base):
    """A model of product, such as `heat-pump`; `number` (uint16, from 1) is what arrays carry.

    `budget` holds the terms of `entitlements.budget.Budget` that the model sets, null for none;
    `data_sheet` and `settings` are as in the catalogue document, settings by name.
    `possession` is what shows, beside the claim code, that somebody has a product of it in hand: a
    window that is opened on the device itself, or nothing but its label.
    """

    __tablename__ = "product_model"
    __table_args__ = (
        CheckConstraint("number BETWEEN 1 AND 65535", name="number_range"),
        CheckConstraint("possession IN ('window', 'label')", name="possession"),
    )

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[Name] = mapped_column(unique=True)
    title: Mapped[Name]
    support_until: Mapped[date | None]
    data_sheet: Mapped[OptionalDocument]
    settings: Mapped[OptionalDocument]
    budget: Mapped[OptionalDocument]
    # Models of before windows were known keep what they had; the catalogue's default is the window.
    possession: Mapped[Name] = mapped_column(server_default="label")
    created_at: Mapped[Instant]


class Metric(Base):
    """A measured quantity of a model; `index` (uint16) is its position, appended only."""

    __tablename__ = "metric"
    __table_args__ = (
        UniqueConstraint("model_number", "name"),
        CheckConstraint('"index" BETWEEN 0 AND 65535', name="index_range"),
        CheckConstraint("kind IN ('gauge', 'counter', 'state')", name="kind"),
    )

    model_number: Mapped[int] = mapped_column(
        ForeignKey("product_model.number"), primary_key=True, autoincrement=False
    )
    index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[Name]
    unit: Mapped[Name]
    title: Mapped[Name]
    kind: Mapped[Name]
    low: Mapped[float | None]
    high: Mapped[float | None]


class Feature(Base):
    """Something a model can do that a plan may include; a safe one never lapses.

    `low`, `high` and `choices` limit a value; `unit` is of a value or quota (UCUM);
    `meter` names the `UsageMeter` that counts against a quota.
    """

    __tablename__ = "feature"
    __table_args__ = (CheckConstraint("kind IN ('on_off', 'value', 'metered')", name="kind"),)

    model_number: Mapped[int] = mapped_column(
        ForeignKey("product_model.number"), primary_key=True, autoincrement=False
    )
    name: Mapped[Name] = mapped_column(primary_key=True)
    title: Mapped[Name]
    kind: Mapped[Name]
    safe: Mapped[bool]
    default: Mapped[Scalar]
    unit: Mapped[Name]
    low: Mapped[Big | None]
    high: Mapped[Big | None]
    choices: Mapped[Items | None]
    meter: Mapped[Name | None]


class Plan(Base):
    """Something a customer subscribes to; an add-on is bought beside another, so many of it."""

    __tablename__ = "plan"

    id: Mapped[Number]
    name: Mapped[Name] = mapped_column(unique=True)
    title: Mapped[Name]
    addon: Mapped[bool] = mapped_column(server_default=false())
    created_at: Mapped[Instant]


class PlanVersion(Base):
    """What a plan includes; subscriptions name a version and take its grace when they start.

    `budget` is as in `ProductModel`; `settings` are values by name; `price` is as
    `PriceTerms.stored` in `hub.services.price_document` writes it, null for what costs nothing;
    `retention` says for how many days telemetry is kept, by level; `lifecycle` is as
    `LifecycleTerms.lifecycle` in `hub.services.lifecycle_document` writes it. A withdrawn version
    goes on for those who have it, and nobody new gets it.
    """

    __tablename__ = "plan_version"
    __table_args__ = (UniqueConstraint("plan_id", "version"),)

    id: Mapped[Number]
    plan_id: Mapped[int] = mapped_column(ForeignKey("plan.id"))
    version: Mapped[int]
    withdrawn: Mapped[bool]
    grace_s: Mapped[int]
    settings: Mapped[OptionalDocument]
    budget: Mapped[OptionalDocument]
    price: Mapped[OptionalDocument]
    retention: Mapped[OptionalDocument]
    lifecycle: Mapped[OptionalDocument]
    published_at: Mapped[Instant]


class PlanFeature(Base):
    """One feature a plan version includes; `value` is its setting or quota (null: the model's).

    `quota` is what else is agreed of a quota, as the catalogue says it; null: what is usual.
    """

    __tablename__ = "plan_feature"

    plan_version_id: Mapped[int] = mapped_column(ForeignKey("plan_version.id"), primary_key=True)
    feature: Mapped[Name] = mapped_column(primary_key=True)
    value: Mapped[Scalar]
    quota: Mapped[OptionalDocument]
