"""The form of a catalogue document.

    [models.heat-pump]
    title = "Heat pump"
    [[models.heat-pump.metrics]]        # in this order for ever; append only
    name = "temp_c"
    unit = "Cel"                        # UCUM
    kind = "gauge"                      # or "counter" (only rises), "state" (one of a few, numbered)
    low = -40.0
    high = 95.0
    [models.heat-pump.budget]           # how much a product may send; what is left out has a default
    messages_per_s = 20
    [models.heat-pump.features.telemetry]
    [plans.comfort]
    title = "Comfort"
    [[plans.comfort.versions]]
    version = 1
    grace_days = 14
    features = { telemetry = {}, boost_hours = { value = 20 } }
    budget = { messages_per_s = 50 }    # while the plan covers telemetry, before the model's

Warranties, calendars of support and support contracts are in `coverage_document`.

1. Unknown keys are refused: a typo never means "the default".
"""

import math
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hub.services.coverage_document import (
    HOURS_PER,
    CalendarEntry,
    ContractEntry,
    WarrantyEntry,
    check_versions,
)

ModelName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,47}$")]
FeatureName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")]
MetricName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,47}$")]
Title = Annotated[str, Field(max_length=200)]
Setting = bool | int | Annotated[str, Field(max_length=200)] | None
_DAY_S = 86_400


class Entry(BaseModel):
    """A part of the document."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class MetricEntry(Entry):
    """A metric of a model; its position in the list is its index for ever."""

    name: MetricName
    unit: Annotated[str, Field(pattern=r"^[!-~]{0,48}$")] = ""
    title: Title = ""
    kind: Literal["gauge", "counter", "state"] = "gauge"
    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        limits = [limit for limit in (self.low, self.high) if limit is not None]
        if not all(map(math.isfinite, limits)) or limits != sorted(limits):
            raise ValueError("low and high must be finite and low not above high")
        return self


class FeatureEntry(Entry):
    """A feature of a model; `default` is what comes with the product without any plan."""

    title: Title = ""
    kind: Literal["on_off", "value", "metered"] = "on_off"
    safe: bool = False
    default: Setting = None


class BudgetEntry(Entry):
    """How much a product, and all products of its owner together, may send.

    A product beyond it is told to wait and keeps its data. What is left out is taken from the model
    or is the hub's own: 500 messages and 2 MiB a second, ten times that for an owner, and 10 s of
    it at once.
    """

    messages_per_s: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    bytes_per_s: Annotated[int, Field(ge=1_024, le=1_000_000_000)] | None = None
    owner_messages_per_s: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    owner_bytes_per_s: Annotated[int, Field(ge=1_024, le=10_000_000_000)] | None = None
    burst_s: Annotated[int, Field(ge=1, le=3_600)] | None = None

    def stored(self) -> dict[str, int] | None:
        """Return the terms that it sets, `None` if it sets none."""
        return self.model_dump(exclude_none=True) or None


class ModelEntry(Entry):
    """A product model."""

    title: Title = ""
    budget: BudgetEntry = BudgetEntry()
    metrics: Annotated[tuple[MetricEntry, ...], Field(max_length=65_536, strict=False)] = ()
    features: dict[FeatureName, FeatureEntry] = {}
    warranty: Annotated[tuple[WarrantyEntry, ...], Field(max_length=1_000, strict=False)] = ()

    @model_validator(mode="after")
    def _read(self) -> Self:
        check_versions([entry.version for entry in self.warranty])
        metrics = {metric.name: metric for metric in self.metrics}
        for entry in self.warranty:
            for use, meter in entry.meters().items():
                metric = metrics.get(meter)
                if metric is None or metric.kind != "counter":
                    raise ValueError(
                        f"warranty version {entry.version} reads {use} from {meter}, which is no"
                        " counter of the model"
                    )
                if use == "hours" and metric.unit not in HOURS_PER:
                    raise ValueError(
                        f"warranty version {entry.version} reads hours from {meter}, whose unit"
                        f" {metric.unit!r} is no time; it must be one of {', '.join(HOURS_PER)}"
                    )
        return self

    @model_validator(mode="after")
    def _unique(self) -> Self:
        names = [metric.name for metric in self.metrics]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"metric {name} occurs more than once")
        return self


class TermsEntry(Entry):
    """On which terms a plan includes a feature: a setting or a quota."""

    value: Setting = None


class PlanVersionEntry(Entry):
    """A version of a plan."""

    version: Annotated[int, Field(ge=1, le=1_000_000)]
    grace_days: Annotated[int, Field(ge=0, le=366)] = 0
    features: dict[FeatureName, TermsEntry] = {}
    budget: BudgetEntry = BudgetEntry()

    @property
    def grace_s(self) -> int:
        """Seconds of grace after the paid time of a subscription."""
        return self.grace_days * _DAY_S


class PlanEntry(Entry):
    """A plan."""

    title: Title = ""
    versions: Annotated[tuple[PlanVersionEntry, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _unique(self) -> Self:
        versions = [entry.version for entry in self.versions]
        if len(set(versions)) != len(versions):
            raise ValueError("a version occurs more than once")
        return self


class CatalogueDocument(Entry):
    """The whole document."""

    models: dict[ModelName, ModelEntry] = {}
    plans: dict[ModelName, PlanEntry] = {}
    calendars: dict[ModelName, CalendarEntry] = {}
    contracts: dict[ModelName, ContractEntry] = {}
