"""The levels at which telemetry is kept: as measured, and aggregated by minute, hour and day; and from when on.

1. A floor is the beginning of a UTC day: before it a level keeps nothing of a device. So no bucket of any level lies
   on both sides of one.
2. Floors only rise: what is gone does not come back when more may be kept.
3. A level before the floor of the finer one stands in for it.
What must never live here: who says how long; a clock.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from hub.errors import StorageError
from hub.ports.journal.durability import write_whole
from hub.ports.journal.telemetry import I64, U32

_S: Final = 1_000_000_000
DAY_NS: Final = 86_400 * _S
KEEP: Final = -(1 << 63)
"""A floor below everything."""
RAW: Final = "raw"


@dataclass(frozen=True, slots=True)
class Level:
    """Aggregates over buckets of one width.

    Args:
        name: as queries say it.
        width: of a bucket, ns.
        bit: in `DataFile.rolled`.
        place: column of it in floors; 0 is that of the rows themselves.
        period: files hold the buckets of one such stretch, ns.
    """

    name: str
    width: int
    bit: int
    place: int
    period: int


LEVELS: Final = (
    Level("minute", 60 * _S, 1, 1, DAY_NS),
    Level("hour", 3_600 * _S, 2, 2, 32 * DAY_NS),
    Level("day", DAY_NS, 4, 3, 512 * DAY_NS),
)
_NO_SLOTS: Final = np.empty(0, np.uint32)
_NO_FLOORS: Final = np.empty((0, 4), np.int64)


@dataclass(frozen=True, slots=True)
class Floors:
    """From when on each level keeps something, ns since 1970 UTC.

    Args:
        default: i64[4], of devices that are not listed: rows, minutes, hours, days.
        slots: u32[K], devices with floors of their own, rising.
        own: i64[K, 4], theirs.
    """

    default: I64 = field(default_factory=lambda: np.full(4, KEEP))
    slots: U32 = field(default_factory=lambda: _NO_SLOTS)
    own: I64 = field(default_factory=lambda: _NO_FLOORS)

    def of(self, slots: npt.NDArray[np.integer]) -> I64:
        """Return the floors of devices: i64[N, 4]."""
        found: I64 = np.broadcast_to(self.default, (slots.size, 4))
        if not self.slots.size or not slots.size:
            return found
        place = np.searchsorted(self.slots, slots)
        place[place == self.slots.size] = 0
        listed = self.slots[place] == slots
        floors: I64 = np.where(listed[:, None], self.own[place], found)
        return floors

    def lowest(self) -> I64:
        """Return for each level the lowest floor of any device: i64[4]."""
        low: I64 = np.minimum(self.default, self.own.min(axis=0, initial=np.iinfo(np.int64).max))
        return low

    def highest(self) -> I64:
        """Return for each level the highest floor of any device: i64[4]."""
        high: I64 = np.maximum(self.default, self.own.max(axis=0, initial=KEEP))
        return high

    def raised(self, other: Self) -> Self:
        """Return the higher of two floors for each device and level."""
        slots = np.union1d(self.slots, other.slots).astype(np.uint32)
        own = np.maximum(self.of(slots), other.of(slots))
        default = np.maximum(self.default, other.default)
        differs = (own != default).any(axis=1)
        return type(self)(default, slots[differs], own[differs])

    def same_as(self, other: Self) -> bool:
        """Say whether two say the same."""
        return (
            np.array_equal(self.default, other.default)
            and np.array_equal(self.slots, other.slots)
            and np.array_equal(self.own, other.own)
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file of floors.

        Raises:
            FileNotFoundError: it was deleted.
            StorageError: it is damaged.
        """
        try:
            table = np.load(path, allow_pickle=False)
            return cls(table[0, 1:].copy(), table[1:, 0].astype(np.uint32), table[1:, 1:].copy())
        except (ValueError, IndexError) as error:
            raise StorageError(
                f"The store file {path.name} is damaged ({error}); restore it from a backup.",
                file=path.name,
            ) from error

    def write(self, path: Path) -> None:
        """Write a file of floors, durably.

        Raises:
            OSError: it could not be written.
        """
        table = np.vstack([np.append(0, self.default), np.column_stack([self.slots, self.own])])
        buffer = io.BytesIO()
        np.save(buffer, table.astype(np.int64), allow_pickle=False)
        write_whole(path, buffer.getvalue())


@dataclass(frozen=True, slots=True)
class Retention:
    """For how many days what is kept: rows, minutes, hours, days; None: for ever.

    Args:
        default: of devices that are not listed.
        slots: devices with days of their own, rising.
        own: theirs, in the same order.
    """

    default: tuple[int | None, ...] = (None, None, None, None)
    slots: Sequence[int] = ()
    own: Sequence[tuple[int | None, ...]] = ()

    def floors(self, now_ns: int) -> Floors:
        """Return the floors that follow at an instant."""
        today = now_ns // DAY_NS

        def floor(days: int | None) -> int:
            return KEEP if days is None else max((today - days) * DAY_NS, KEEP)

        own = np.array([[floor(d) for d in days] for days in self.own], np.int64).reshape(-1, 4)
        default = np.array([floor(days) for days in self.default], np.int64)
        return Floors(default, np.array(self.slots, np.uint32), own)

    def wanted(self) -> int:
        """Return the bits of the levels that are of use: kept for longer than the next finer one.

        Hours and days always are: they cost next to nothing, and long ranges are read from them later.
        """
        bits = LEVELS[1].bit | LEVELS[2].bit
        for days in {self.default, *self.own}:
            raw, minute = days[0], days[1]
            if raw is not None and (minute is None or minute > raw):
                bits |= LEVELS[0].bit
        return bits


def stretches(floors: I64, start: int, end: int) -> Iterator[tuple[Level | None, int, int]]:
    """Divide a range into what is kept at each level, the finest that is kept there.

    Args:
        floors: i64[4], of one device.
        start: first instant, ns since 1970 UTC.
        end: end, exclusive.

    Yields:
        The level (None: rows), and begin and end of the stretch.
    """
    upper = end
    for level, floor in zip((None, *LEVELS), floors.tolist(), strict=True):
        begin = max(start, floor)
        if begin < upper:
            yield level, begin, upper
            upper = begin
