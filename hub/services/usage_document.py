"""The part of a catalogue document that says what is counted of a model's telemetry.

    [models.heat-pump.meters]
    boost = { metric = "boost_h", aggregation = "increase", decimals = 1 }
    support_calls = { aggregation = "sum", unit = "1" }     # no metric: what programs tell over the API
    [models.heat-pump.features]
    boost_hours = { kind = "metered", unit = "h", meter = "boost" }    # counts against its quota

    [[plans.comfort.versions]]
    features = { boost_hours = { value = 20, limit = "soft", rollover = { max = 10 } } }

1. A meter never changes what it counts while there are products: a bill may stand on it.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from entitlements.quotas import SHARES, QuotaTerms
from hub.services import catalogue_units

Aggregate = Literal["count", "sum", "max", "last", "increase", "unique"]


class RolloverEntry(BaseModel):
    """What is carried on of a quota: `min(max, max(min, rest))`, for some further periods."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    max: Annotated[int, Field(ge=1, lt=2**53)]
    min: Annotated[int, Field(ge=0, lt=2**53)] = 0
    periods: Annotated[int, Field(ge=1, le=36)] = 1


class QuotaEntry(BaseModel):
    """What happens when a quota is used up, and with what is left of it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    limit: Literal["hard", "soft"] = Field(
        default="hard", description="Whether the feature closes, or usage goes on as overage."
    )
    overage: Literal["keep", "drop"] = Field(
        default="drop", description="Whether what is over is taken from the next period."
    )
    rollover: RolloverEntry | None = None
    thresholds: Annotated[tuple[int, ...], Field(max_length=16, strict=False)] = Field(
        default=(), description="Percent at which people are told; without any 50, 80 and 100."
    )

    @model_validator(mode="after")
    def _sound(self) -> Self:
        self.quota_terms()
        return self

    def quota_terms(self) -> QuotaTerms:
        """Return them as `entitlements` takes them."""
        carried = self.rollover
        return QuotaTerms(
            hard=self.limit == "hard",
            keep_overage=self.overage == "keep",
            rollover_min=0 if carried is None else carried.min,
            rollover_max=0 if carried is None else carried.max,
            rollover_periods=0 if carried is None else carried.periods,
            shares=tuple(self.thresholds) or SHARES,
        )

    def stored(self) -> dict[str, Any] | None:
        """Return what it says beside what is usual, `None` if nothing."""
        said = self.model_dump(
            mode="json", include=set(QuotaEntry.model_fields), exclude_defaults=True
        )
        return said or None


class MeterEntry(BaseModel):
    """Something that is counted in each billing period.

    `increase` reads a counter, with resets; the others read the rows of any metric: how many, their
    sum, the greatest, the latest, how many different ones. Without a metric it adds up what programs
    tell over the API, in a unit of its own. Quantities are exact in `decimals`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    title: Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    metric: Annotated[str, Field(max_length=48)] = ""
    aggregation: Aggregate
    decimals: Annotated[int, Field(ge=0, le=9)] = 0
    unit: Annotated[str, AfterValidator(catalogue_units.check)] = Field(
        default="", description="UCUM code of a meter without a metric."
    )

    @model_validator(mode="after")
    def _of_one_kind(self) -> Self:
        if self.metric and self.unit:
            raise ValueError(
                "a meter that reads a metric counts in the metric's unit; leave unit out"
            )
        if not self.metric and self.aggregation != "sum":
            raise ValueError(
                "a meter without a metric adds up what is told: its aggregation is sum"
            )
        return self

    def refusal(self, kind: str | None) -> str | None:
        """Say why it cannot read a metric of a kind (`None`: there is no such metric)."""
        if not self.metric:
            return None
        if kind is None:
            return f"reads {self.metric}, which is no metric of the model"
        if (self.aggregation == "increase") is not (kind == "counter"):
            return (
                f"counts the {self.aggregation} of {self.metric}, a {kind}; counters are counted by"
                " their increase, and nothing else is"
            )
        return None
