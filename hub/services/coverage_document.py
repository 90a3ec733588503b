"""The parts of a catalogue document that promise repairs and help.

    [[models.heat-pump.warranty]]
    version = 1
    months = 24
    latest_start_months = 6                          # after it was made, used or not
    transferable = true
    first_use = { metric = "operating_h", above = 5 }  # absent: first contact or first sample
    hours = { metric = "operating_h", at_most = 10000 }
    cycles = { metric = "starts", at_most = 50000 }

    [calendars.office]
    zone = "Europe/Berlin"
    holidays = ["2026-04-06", "12-25"]               # a date, or the same day of each year
    [calendars.office.hours]
    mon = ["08:00-12:00", "13:00-17:00"]
    [contracts.care]
    title = "Care"
    [[contracts.care.versions]]
    version = 1
    months = 12
    incidents = 4                                    # in each term; absent: any number
    calendar = "office"
    targets = { critical = { response_min = 60, resolution_min = 480 } }

1. What can never be kept is refused: hours that are none, a zone that is none, a term that is none.
2. Whether the days come on which a target is met depends on the calendar as it stands; that is
   checked where a document is applied (`coverage_catalogue`).
"""

import datetime as dt
import re
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from entitlements.business_hours import Calendar
from entitlements.dates import known_zone

Version = Annotated[int, Field(ge=1, le=1_000_000)]
Months = Annotated[int, Field(ge=1, le=600)]
Minutes = Annotated[int, Field(ge=1, le=527_040)]
Severity = Literal["notice", "warning", "critical"]
Limit = Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)]
HOURS_PER = {"h": 1.0, "min": 1 / 60, "s": 1 / 3_600, "d": 24.0}
"""Hours in the units (UCUM) that a counter of operating time may have."""
_Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[_Day, ...] = get_args(_Day)
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|24:00)", re.ASCII)
_HOLIDAY = re.compile(r"(?:\d{4}-)?\d{2}-\d{2}", re.ASCII)
_LEAP = 2024


class Entry(BaseModel):
    """A part of the document."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class CounterEntry(Entry):
    """A limit on what a counter of the product has counted in all."""

    metric: Annotated[str, Field(max_length=48)]
    at_most: Limit


class FirstUseEntry(Entry):
    """The counter and the reading, in its unit, above which a product counts as used."""

    metric: Annotated[str, Field(max_length=48)]
    above: Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]


class WarrantyEntry(Entry):
    """A version of the warranty of a model; products keep the one they were made under."""

    version: Version
    months: Months
    latest_start_months: Annotated[int, Field(ge=0, le=120)] = 6
    transferable: bool = True
    first_use: FirstUseEntry | None = None
    hours: CounterEntry | None = None
    cycles: CounterEntry | None = None

    def counters(self) -> dict[str, str]:
        """Return the names of the metrics that it reads, by what it reads them for."""
        read = {"first use": self.first_use, "hours": self.hours, "cycles": self.cycles}
        return {use: entry.metric for use, entry in read.items() if entry is not None}


class CalendarEntry(Entry):
    """When support works."""

    zone: Annotated[str, Field(max_length=64)]
    hours: dict[_Day, Annotated[tuple[str, ...], Field(max_length=8, strict=False)]]
    holidays: Annotated[tuple[str, ...], Field(max_length=2_000, strict=False)] = ()

    @field_validator("zone")
    @classmethod
    def _exists(cls, zone: str) -> str:
        if not known_zone(zone):
            raise ValueError(f"there is no time zone {zone!r}; name one such as Europe/Berlin")
        return zone

    @model_validator(mode="after")
    def _opens(self) -> Self:
        if not any(self.calendar().week):
            raise ValueError("it has no hours at all, so that no deadline would ever come")
        return self

    def calendar(self) -> Calendar:
        """Return what it means.

        Raises:
            ValueError: hours that are none or overlap, or a holiday that is no date.
        """
        return calendar_of(self.zone, self.week(), self.holidays)

    def week(self) -> list[list[list[int]]]:
        """Return the hours from Monday to Sunday as minutes since midnight."""
        return [_minutes(day, self.hours.get(day, ())) for day in DAYS]


class TargetEntry(Entry):
    """Business minutes within which a case is answered and solved."""

    response_min: Minutes | None = None
    resolution_min: Minutes | None = None

    def stored(self) -> dict[str, int]:
        """Return the targets that it sets, in seconds."""
        return {
            name.replace("_min", "_s"): minutes * 60
            for name, minutes in self.model_dump(exclude_none=True).items()
        }


class ContractVersionEntry(Entry):
    """A version of a support contract."""

    version: Version
    months: Months = 12
    incidents: Annotated[int, Field(ge=1, le=100_000)] | None = None
    transferable: bool = False
    calendar: Annotated[str, Field(max_length=48)] | None = None
    targets: dict[Severity, TargetEntry] = {}

    @model_validator(mode="after")
    def _counted(self) -> Self:
        if self.targets and self.calendar is None:
            raise ValueError("it has targets but no calendar to count them by; name a calendar")
        return self

    def stored(self) -> dict[str, dict[str, int]]:
        """Return the targets by severity, in seconds."""
        return {severity: entry.stored() for severity, entry in self.targets.items()}


class ContractEntry(Entry):
    """A support contract."""

    title: Annotated[str, Field(max_length=200)] = ""
    versions: Annotated[tuple[ContractVersionEntry, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _unique(self) -> Self:
        check_versions([entry.version for entry in self.versions])
        return self


def check_versions(versions: list[int]) -> None:
    """Refuse a version that occurs twice.

    Raises:
        ValueError: one does.
    """
    if len(set(versions)) != len(versions):
        raise ValueError("a version occurs more than once")


def calendar_of(zone: str, week: list[list[list[int]]], holidays: Any) -> Calendar:
    """Return the calendar that was stored as minutes and texts.

    Raises:
        ValueError: a holiday is no date.
    """
    single = [_date(text) for text in holidays if len(text) > 5]
    yearly = [_date(f"{_LEAP}-{text}") for text in holidays if len(text) <= 5]
    return Calendar(
        zone,
        tuple(tuple((opens, closes) for opens, closes in day) for day in week),
        frozenset(single),
        frozenset((date.month, date.day) for date in yearly),
    )


def _date(text: str) -> dt.date:
    try:
        if _HOLIDAY.fullmatch(text):
            return dt.date.fromisoformat(text)
    except ValueError:
        pass
    shown = text.removeprefix(f"{_LEAP}-")
    raise ValueError(f"{shown!r} is no day; write 2026-04-06, or 12-25 for each year")


def _minutes(day: str, texts: tuple[str, ...]) -> list[list[int]]:
    found: list[list[int]] = []
    for text in texts:
        match = _HOURS.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} on {day} are no hours; write them as 08:00-17:30")
        opens = int(match[1]) * 60 + int(match[2])
        closes = 1_440 if match[3] is None else int(match[3]) * 60 + int(match[4])
        if closes <= opens:
            raise ValueError(f"{text} on {day} ends before it begins; split hours at midnight")
        if found and opens < found[-1][1]:
            raise ValueError(f"{text} on {day} overlaps the hours before it; list them in order")
        found.append([opens, closes])
    return found
