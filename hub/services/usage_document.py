"""The part of a catalogue document that says what is counted of a model's telemetry.

    [models.heat-pump.meters]
    boost = { metric = "boost_h", aggregation = "increase", decimals = 1 }
    [models.heat-pump.features]
    boost_hours = { kind = "metered", unit = "h", meter = "boost" }    # counts against its quota

1. A meter never changes what it counts while there are products: a bill may stand on it.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Aggregate = Literal["count", "sum", "max", "last", "increase", "unique"]


class MeterEntry(BaseModel):
    """Something that is counted in each billing period.

    `increase` reads a counter, with resets; the others read the rows of any metric: how many, their
    sum, the greatest, the latest, how many different ones. Quantities are exact in `decimals`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    title: Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    metric: Annotated[str, Field(max_length=48)]
    aggregation: Aggregate
    decimals: Annotated[int, Field(ge=0, le=9)] = 0

    def refusal(self, kind: str | None) -> str | None:
        """Say why it cannot read a metric of a kind (`None`: there is no such metric)."""
        if kind is None:
            return f"reads {self.metric}, which is no metric of the model"
        if (self.aggregation == "increase") is not (kind == "counter"):
            return (
                f"counts the {self.aggregation} of {self.metric}, a {kind}; counters are counted by"
                " their increase, and nothing else is"
            )
        return None
