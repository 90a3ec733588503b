"""What the computation of capacity speaks of: figures, fleets, machines, needs.

What must never live here: a number that was measured, or a formula.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from device_sdk.wire.pack import MAX_ROWS
from hub.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Figure:
    """The cost of one thing.

    Args:
        name: such as `worker_us_per_message`.
        value: in the unit that the name says.
        source: the benchmark and which of its results, or what the hub counted.
        here: whether it was measured on this hub.
    """

    name: str
    value: float
    source: str
    here: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """How long the telemetry of a part of the fleet is kept, as its plan says.

    Args:
        share: of the fleet, 0 to 1.
        days: by level, the finest first (raw, minute, hour, day); None: for ever.
    """

    share: float
    days: tuple[int | None, int | None, int | None, int | None]


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is to be served.

    Args:
        products: how many, all of them connected.
        rate: messages a second of one product.
        rows: of a message.
        metrics: of a row.
        kept: how long, by plan; shares add up to 1.
    """

    products: int
    rate: float
    rows: int
    metrics: int
    kept: tuple[Kept, ...]

    def __post_init__(self) -> None:
        for name, value, most in (
            ("products", self.products, 10**9),
            ("rate", self.rate, 10**5),
            ("rows", self.rows, MAX_ROWS),
            ("metrics", self.metrics, 65_535),
        ):
            if not 0 < value <= most:
                raise InvalidInputError(
                    f"{name} must be above 0, and {most:,} at most.", field=name
                )
        if not math.isclose(sum(one.share for one in self.kept), 1.0, abs_tol=1e-6):
            raise InvalidInputError(
                "The shares of the fleet in `keep` must add up to 1.", field="keep"
            )

    @property
    def messages(self) -> float:
        """Messages a second."""
        return self.products * self.rate

    @property
    def samples(self) -> float:
        """Samples a second."""
        return self.messages * self.rows * self.metrics


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is; None: not known, or no limit.

    Args:
        cores: of the machine.
        memory: bytes.
        disk: bytes that telemetry may take.
        connections: that the broker accepts (`broker.max_connections`).
        files: that a process may open.
        segment: bytes of a journal segment (`ingest.segment_bytes`).
        cadence_s: between two receipts (`ingest.cadence_ms`).
    """

    cores: float | None = None
    memory: float | None = None
    disk: float | None = None
    connections: int | None = None
    files: int | None = None
    segment: int = 134_217_728
    cadence_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Need:
    """Something that the fleet needs.

    Args:
        code: what.
        value: how much.
        unit: `cores`, `B`, `B/d`, `bit/s`, `1` or `1/s`.
        formula: in the names of figures and of the fleet.
        room: how much of it there is; None: not known, or nothing limits it.
        figures: names of those it is computed with.
    """

    code: str
    value: float
    unit: str
    formula: str
    room: float | None = None
    figures: tuple[str, ...] = ()

    @property
    def use(self) -> float | None:
        """Which part of what there is it takes."""
        return None if not self.room else self.value / self.room


@dataclass(frozen=True, slots=True)
class Needs:
    """All that a fleet needs.

    Args:
        needs: in the order of a page.
        bound: the one of which the largest part is taken; None where no limit is known.
        most: about how many such products there is room for; None likewise.
        figures: with which it was computed, by name.
    """

    needs: tuple[Need, ...]
    bound: Need | None
    most: int | None
    figures: Mapping[str, Figure]

    def need(self, code: str) -> Need:
        """Return one of them."""
        return next(one for one in self.needs if one.code == code)


def shipped() -> tuple[dict[str, Figure], Mapping[str, object]]:
    """Return the figures that come with the program by name, and when and where they were measured."""
    text = (files("hub.services") / "capacity_figures.json").read_text("utf-8")
    kept = json.loads(text)
    figures = {
        name: Figure(name, one["value"], f"{one['benchmark']}: {one['results']}")
        for name, one in kept["figures"].items()
    }
    return figures, kept["made"]


def parse_kept(text: str) -> tuple[Kept, ...]:
    """Read how long telemetry is kept: `0.8:30/365/1825/-,0.2:7/90/730/-`, or `30/365/1825/-` for all.

    Four numbers of days (raw, by minute, by hour, by day), `-` for ever; before the colon the share of the fleet.

    Raises:
        InvalidInputError: it is not of that form.
    """
    found = []
    for part in text.split(","):
        share, colon, days = part.strip().rpartition(":")
        try:
            numbers = [None if one.strip() == "-" else int(one) for one in days.split("/")]
            raw, minute, hour, day = numbers
            part_of = float(share) if colon else 1.0
        except ValueError:
            raise InvalidInputError(
                f"{part.strip()[:64]!r} does not say how long telemetry is kept: days of raw rows, minutes, hours and "
                "days, such as 30/365/1825/-, with the share of the fleet before it where there are several: "
                "0.8:30/365/1825/-.",
                field="keep",
            ) from None
        if not 0 < part_of <= 1 or any(one is not None and one < 0 for one in numbers):
            raise InvalidInputError(
                "Shares are above 0 and 1 at most; days are 0 or more.", field="keep"
            )
        found.append(Kept(part_of, (raw, minute, hour, day)))
    return tuple(found)
