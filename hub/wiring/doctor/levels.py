"""The doctor on how long telemetry is kept: what each level takes now, what it will take, when the disk is full.

1. The present rate is that of the rows measured in the last week: of each level, its bytes for a day of data.
2. What a level will take is its rate times the days that it is kept. Only a level that is kept for ever grows without
   end; then it is said when the disk is full.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from hub.ports.journal.durability import free_bytes
from hub.ports.store.levels import LEVELS, RAW
from hub.ports.store.manifest import DataFile, Manifest, RollupFile
from hub.wiring.doctor.case import Case
from hub.wiring.doctor.report import Line, ok, problem, warning

_DAY_NS = 86_400 * 1_000_000_000
_WEEK = 7
_SOON_DAYS = 30


@dataclass(frozen=True, slots=True)
class Forecast:
    """What one level takes.

    Args:
        level: its name.
        now: bytes on disk.
        per_day: bytes that a day of telemetry takes at the present rate.
        days: for how many days it is kept by default; None: for ever.
    """

    level: str
    now: int
    per_day: float
    days: int | None

    @property
    def most(self) -> float | None:
        """Bytes that it will take; None: it grows without end."""
        return None if self.days is None else self.per_day * self.days


def forecasts(manifest: Manifest, days: tuple[int | None, ...], now_ns: int) -> list[Forecast]:
    """Say what each level takes now and for each day.

    Args:
        manifest: of the store.
        days: that each level is kept, the finest first.
        now_ns: time, ns since 1970 UTC.
    """
    since = now_ns - _WEEK * _DAY_NS
    files: list[DataFile | RollupFile] = [*manifest.files, *manifest.rollups]
    first = min((max(file.min_time, since) for file in files if file.max_time >= since), default=0)
    span = max(1.0, (now_ns - first) / _DAY_NS) if first else 1.0
    found = []
    for place, name in enumerate((RAW, *(level.name for level in LEVELS))):
        own = [file for file in files if getattr(file, "level", RAW) == name]
        # A file counts as far as it lies in the last week; its rows are taken to be evenly spread.
        recent = sum(_share(file, since, now_ns) * file.size for file in own)
        found.append(Forecast(name, sum(file.size for file in own), recent / span, days[place]))
    return found


def check(case: Case) -> Iterator[Line]:
    """Look at what the levels take, and when the disk is full at the present rate."""
    settings = case.settings
    if not settings.store_dir.is_dir():
        return
    found = forecasts(Manifest.read(settings.store_dir), settings.retention.days, case.now_ns)
    for one in found:
        kept = "for ever" if one.days is None else f"for {one.days} days"
        most = "" if one.most is None else f", {_size(one.most)} when it is full"
        rate = f"{_size(one.per_day)} a day"
        yield ok("retention", f"{one.level}: {_size(one.now)}, kept {kept}, {rate}{most}")
    growth = sum(one.per_day for one in found if one.most is None)
    to_come = sum(max(0.0, one.most - one.now) for one in found if one.most is not None)
    room = free_bytes(settings.store_dir) - settings.ingest.reserve_bytes - to_come
    advice = "Say in [retention] of the settings, or in plans, how long telemetry is kept; or take a larger disk."
    if room <= 0:
        yield problem(
            "disk forecast", f"what is kept needs {_size(-room)} more than there is", advice
        )
    elif growth <= 0:
        yield ok(
            "disk forecast", f"bounded: {_size(to_come)} more to come, {_size(room)} left then"
        )
    else:
        days = room / growth
        seen = f"full in {days:,.0f} days at {_size(growth)} a day that is kept for ever"
        soon = days < _SOON_DAYS
        yield warning("disk forecast", seen, advice) if soon else ok("disk forecast", seen)


def _share(file: DataFile | RollupFile, since: int, now_ns: int) -> float:
    """Return how much of a file lies between two instants, 0 to 1."""
    begin, end = max(file.min_time, since), min(file.max_time, now_ns)
    if end < begin:
        return 0.0
    whole = file.max_time - file.min_time
    return 1.0 if whole == 0 else (end - begin) / whole


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1_000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1_000
    return f"{count:.1f} TB"
