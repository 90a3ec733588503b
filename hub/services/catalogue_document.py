"""The form of a catalogue document.

    [models.heat-pump]
    title = "Heat pump"
    support_until = 2036-12-31          # what customers are promised; only ever later
    possession = "window"               # what a claim needs beside the code; or "label": nothing
    data_sheet = { link = "https://example.org/hp.pdf", facts = { "Rated power" = "8 kW" } }
    [[models.heat-pump.metrics]]        # in this order for ever; append only
    name = "temp_c"
    unit = "Cel"                        # UCUM
    kind = "gauge"                      # or "counter" (only rises), "state" (one of a few, numbered)
    low = -40.0
    high = 95.0
    [models.heat-pump.budget]           # how much a product may send; what is left out has a default
    messages_per_s = 20
    [models.heat-pump.features]
    telemetry = {}
    frost_protection = { safe = true, default = true }
    schedules = { kind = "value", low = 1, high = 10, default = 2 }     # or choices, a unit
    boost_hours = { kind = "metered", unit = "h", meter = "boost" }     # its value is the quota
    [models.heat-pump.settings]         # what products are configured to, unless somebody says else
    target_c = { default = 20.5, low = 5.0, high = 30.0, unit = "Cel" }
    [plans.comfort]
    title = "Comfort"
    [[plans.comfort.versions]]
    version = 1
    withdrawn = false                   # true: nobody new gets it, subscribers keep it
    grace_days = 14
    features = { telemetry = {}, boost_hours = { value = 20 } }
    settings = { target_c = 21.0 }      # before the model's
    retention = { raw_days = 30, minute_days = 90, hour_days = 730, day_days = 3650 }
    budget = { messages_per_s = 50 }    # while the plan covers telemetry, before the model's

Warranties, calendars of support and support contracts are in `coverage_document`, meters in
`usage_document`, prices and taxes in `price_document`, trials and what follows in `lifecycle_document`.

1. Unknown keys are refused: a typo never means "the default".
2. A document is checked by itself here; what it means for what stands is `catalogue_difference`'s.
"""

import math
from datetime import date
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from hub.services import catalogue_units
from hub.services import catalogue_values as values
from hub.services.coverage_document import (
    HOURS_PER,
    CalendarEntry,
    ContractEntry,
    WarrantyEntry,
    check_versions,
)
from hub.services.lifecycle_document import LifecycleTerms
from hub.services.price_document import REGION, PriceTerms, TaxEntry
from hub.services.retention_document import RetentionEntry
from hub.services.usage_document import MeterEntry, QuotaEntry


def _day(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError("must be a date such as 2036-12-31") from None


ModelName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,47}$")]
FeatureName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")]
MetricName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,47}$")]
SettingName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Title = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Unit = Annotated[str, AfterValidator(catalogue_units.check), Field(description="UCUM code.")]
Line = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Day = Annotated[date, BeforeValidator(_day)]
"""A date of TOML, or a text such as `2036-12-31`."""
Integer = Annotated[int, Field(ge=-(2**53) + 1, le=2**53 - 1)]
"""What every reader of JSON takes exactly."""
Value = bool | Integer | Annotated[str, Field(max_length=200)] | None
Choices = Annotated[tuple[Integer | Line, ...], Field(max_length=64, strict=False)]
SettingValue = bool | Integer | float | Annotated[str, Field(max_length=200)]
_DAY_S = 86_400


class Entry(BaseModel):
    """A part of the document."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class MetricEntry(Entry):
    """A metric of a model; its position in the list is its index for ever."""

    name: MetricName
    unit: Unit = ""
    title: Title = ""
    kind: Literal["gauge", "counter", "state"] = "gauge"
    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        values.check_range(self.low, self.high)
        return self


class FeatureEntry(Entry):
    """A feature of a model; `default` is what comes with the product without any plan.

    `on_off` is a switch; `value` a setting within a range or of choices; `metered` has a quota.
    """

    title: Title = ""
    kind: Literal["on_off", "value", "metered"] = "on_off"
    safe: bool = False
    default: Value = None
    unit: Unit = ""
    low: Integer | None = None
    high: Integer | None = None
    choices: Choices | None = None
    meter: FeatureName | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kind != "metered" and self.meter is not None:
            raise ValueError("only a metered feature has a meter")
        limited = self.low is not None or self.high is not None
        if self.kind == "on_off" and self.unit:
            raise ValueError("a switch (on_off) has no unit; leave it out or choose another kind")
        if self.kind != "value" and (limited or self.choices is not None):
            raise ValueError("low, high and choices are for features of the kind value")
        if limited and self.choices is not None:
            raise ValueError("a value has a range or choices, not both")
        if self.choices is not None:
            values.check_choices(self.choices)
        values.check_range(self.low, self.high)
        wrong = self.refusal(self.default)
        if wrong is not None:
            raise ValueError(f"the default {wrong}")
        return self

    def refusal(self, value: Value) -> str | None:
        """Say why the feature cannot have a value, such as `must be true or false`."""
        if value is None:
            return None
        match self.kind:
            case "on_off":
                return None if isinstance(value, bool) else "must be true or false"
            case "metered":
                counts = isinstance(value, int) and not isinstance(value, bool) and value >= 0
                return None if counts else "must be a whole number, 0 or more: it is a quota"
            case "value":
                return values.outside(value, self.low, self.high, self.choices)


class SettingEntry(Entry):
    """Something that products of a model are configured to, within limits.

    Its type is that of its default: on or off, a whole number, a number, or a text.
    """

    title: Title = ""
    default: SettingValue
    unit: Unit = ""
    low: Integer | float | None = None
    high: Integer | float | None = None
    choices: Choices | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.low is not None or self.high is not None) and not values.is_number(self.default):
            raise ValueError("low and high are for settings that are numbers")
        if self.choices is not None:
            values.check_choices(self.choices)
        values.check_range(self.low, self.high)
        wrong = self.refusal(self.default)
        if wrong is not None:
            raise ValueError(f"the default {wrong}")
        return self

    def refusal(self, value: SettingValue) -> str | None:
        """Say why the setting cannot have a value."""
        if isinstance(value, float) and not math.isfinite(value):
            return "must be finite"
        if isinstance(self.default, bool) or isinstance(value, bool):
            alike = isinstance(self.default, bool) and isinstance(value, bool)
            return None if alike else f"must be {values.type_of(self.default)}"
        if isinstance(self.default, int) and isinstance(value, float):
            return "must be a whole number"
        if isinstance(self.default, str) is not isinstance(value, str):
            return f"must be {values.type_of(self.default)}"
        return values.outside(value, self.low, self.high, self.choices)


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


class DataSheetEntry(Entry):
    """What a model is, for people: a document elsewhere, a few facts, or both."""

    link: Annotated[str, Field(max_length=2_000, pattern=r"^(https://[!-~]+)?$")] = ""
    facts: Annotated[dict[Line, Line], Field(max_length=32)] = {}


class ModelEntry(Entry):
    """A product model."""

    title: Title = ""
    support_until: Day | None = Field(
        default=None, description="Last day on which it gets security updates and help."
    )
    data_sheet: DataSheetEntry = DataSheetEntry()
    possession: Literal["window", "label"] = Field(
        default="window",
        description="What a claim needs beside the code: a window opened on the device, or nothing.",
    )
    budget: BudgetEntry = BudgetEntry()
    metrics: Annotated[tuple[MetricEntry, ...], Field(max_length=65_535, strict=False)] = ()
    meters: Annotated[dict[FeatureName, MeterEntry], Field(max_length=64)] = {}
    features: dict[FeatureName, FeatureEntry] = {}
    settings: Annotated[dict[SettingName, SettingEntry], Field(max_length=256)] = {}
    warranty: Annotated[tuple[WarrantyEntry, ...], Field(max_length=1_000, strict=False)] = ()

    @model_validator(mode="after")
    def _read(self) -> Self:
        check_versions([entry.version for entry in self.warranty])
        metrics = {metric.name: metric for metric in self.metrics}
        for entry in self.warranty:
            for use, meter in entry.counters().items():
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
    def _sound(self) -> Self:
        names: set[str] = set()
        for metric in self.metrics:
            if metric.name in names:
                raise ValueError(f"metric {metric.name} occurs more than once")
            names.add(metric.name)
        kinds = {metric.name: metric.kind for metric in self.metrics}
        for name, meter in self.meters.items():
            if wrong := meter.refusal(kinds.get(meter.metric)):
                raise ValueError(f"meter {name} {wrong}")
        for name, feature in self.features.items():
            if feature.meter is not None and feature.meter not in self.meters:
                raise ValueError(f"feature {name} is counted by {feature.meter}, which is no meter")
        telemetry = self.features.get("telemetry")
        if telemetry is not None and telemetry.kind != "on_off":
            raise ValueError("the feature telemetry is a switch (on_off)")
        return self


class TermsEntry(QuotaEntry):
    """On which terms a plan includes a feature: a setting, or a quota and what becomes of it."""

    value: Value = None


class PlanTermsEntry(Entry):
    """What a version of a plan includes."""

    version: Annotated[int, Field(ge=1, le=1_000_000)]
    withdrawn: bool = Field(
        default=False, description="Nobody new gets this version; its subscribers keep it."
    )
    grace_days: Annotated[int, Field(ge=0, le=366)] = 0
    features: dict[FeatureName, TermsEntry] = {}
    settings: Annotated[dict[SettingName, SettingValue], Field(max_length=256)] = {}
    budget: BudgetEntry = BudgetEntry()
    retention: RetentionEntry = Field(
        default=RetentionEntry(), description="How long telemetry is kept, by level."
    )

    @property
    def grace_s(self) -> int:
        """Seconds of grace after the paid time of a subscription."""
        return self.grace_days * _DAY_S


class PlanVersionEntry(LifecycleTerms, PriceTerms, PlanTermsEntry):
    """A version of a plan. Once published, only `withdrawn` changes."""


class PlanEntry(Entry):
    """A plan."""

    title: Title = ""
    addon: bool = Field(
        default=False, description="Bought beside a plan, so many of it; its price is that of one."
    )
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
    taxes: dict[Annotated[str, Field(pattern=REGION)], TaxEntry] = {}
