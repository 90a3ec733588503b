"""The form in which a catalogue, or the hub's settings, say for how long telemetry is kept.

    retention = { raw_days = 30, minute_days = 90, hour_days = 730, day_days = 3650 }

1. What is left out is kept for ever. A coarser level is kept for as long as the finer one, at least.
2. Days are whole UTC days of the time of measurement.
"""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Days = Annotated[int | None, Field(ge=1, le=36_500)]


class RetentionEntry(BaseModel):
    """For how many days rows, and aggregates by minute, hour and day are kept; absent: for ever."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    raw_days: Days = None
    minute_days: Days = None
    hour_days: Days = None
    day_days: Days = None

    @model_validator(mode="after")
    def _rising(self) -> Self:
        check_rising(self.days)
        return self

    @property
    def days(self) -> tuple[int | None, ...]:
        """Days by level, the finest first."""
        return (self.raw_days, self.minute_days, self.hour_days, self.day_days)

    def stored(self) -> dict[str, Any] | None:
        """Return the terms that it sets, `None` if it sets none."""
        return self.model_dump(exclude_none=True) or None


def check_rising(days: tuple[int | None, ...]) -> None:
    """Raise `ValueError` unless each level is kept for as long as the finer one before it."""
    names = ("raw_days", "minute_days", "hour_days", "day_days")
    for i in range(1, len(days)):
        finer, coarser = days[i - 1], days[i]
        if coarser is not None and (finer is None or finer > coarser):
            raise ValueError(
                f"{names[i]} must not be less than {names[i - 1]}: aggregates outlive what they are"
                " made of"
            )
