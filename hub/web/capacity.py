"""The operator's page that says what a fleet needs of this machine, and by what it is bounded.

1. Formulas and figures are the service's and shown as they are; here needs get names and readable units.
2. The page only reads; what is asked stands in its address.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from hub.errors import InvalidInputError
from hub.services.capacity_model import Figure, Fleet, Need, Needs, parse_kept, shipped
from hub.web.context import hub_of
from hub.web.formats import Formats
from hub.web.guard import PageRoute, visitor_of
from hub.web.languages import N_
from hub.web.pages import pages_of

ROUTER = APIRouter(route_class=PageRoute, include_in_schema=False)

NAMES: Final[Mapping[str, str]] = {
    "messages": N_("Messages a second"),
    "samples": N_("Values a second"),
    "ingest_cores": N_("Taking data in"),
    "broker_cores": N_("Broker"),
    "compactor_cores": N_("Compaction"),
    "meter_cores": N_("Counting usage"),
    "cores": N_("Cores, all together"),
    "workers": N_("Workers"),
    "lanes": N_("Lanes"),
    "ingest_memory": N_("Taking data in"),
    "broker_memory": N_("Broker"),
    "control_memory": N_("Pages, API and decisions"),
    "other_memory": N_("Other processes"),
    "memory": N_("Memory, all together"),
    "raw_disk": N_("Values as measured, a day"),
    "minute_disk": N_("By minute, a day"),
    "hour_disk": N_("By hour, a day"),
    "day_disk": N_("By day, a day"),
    "journal_written": N_("Written to the journal, a day"),
    "journal_disk": N_("Journal"),
    "database_disk": N_("Database"),
    "disk_growth": N_("Growth without end, a day"),
    "disk": N_("Disk, when it is full of what is kept"),
    "message_bytes": N_("Size of a message"),
    "network_in": N_("Network in"),
    "network_out": N_("Network out"),
    "connections": N_("Connections of the broker"),
    "files": N_("Open files of the broker"),
}
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    N_("Load"): ("messages", "samples", "message_bytes"),
    N_("Processor"): (
        "ingest_cores",
        "broker_cores",
        "compactor_cores",
        "meter_cores",
        "cores",
        "workers",
        "lanes",
    ),
    N_("Memory"): ("ingest_memory", "broker_memory", "control_memory", "other_memory", "memory"),
    N_("Disk"): (
        "raw_disk",
        "minute_disk",
        "hour_disk",
        "day_disk",
        "journal_written",
        "journal_disk",
        "database_disk",
        "disk_growth",
        "disk",
    ),
    N_("Network and limits"): ("network_in", "network_out", "connections", "files"),
}
TOTALS: Final = frozenset({"cores", "memory", "disk"})
_STEPS: Final = ("", "k", "M", "G", "T", "P")


@dataclass(frozen=True, slots=True)
class Line:
    """A need, ready to show; `share` (0 to 1) is empty where nothing limits it."""

    need: Need
    name: str
    value: str
    room: str
    share: str
    full: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked, as it stands in the form."""

    products: str
    every: str
    rows: str
    metrics: str
    keep: str

    def fleet(self) -> Fleet:
        """Return the fleet.

        Raises:
            InvalidInputError: something is no number, or out of bounds.
        """
        try:
            every = float(self.every.replace(",", "."))
            products, rows, metrics = int(self.products), int(self.rows), int(self.metrics)
        except ValueError:
            raise InvalidInputError("Numbers are needed.") from None
        if not every > 0 or not math.isfinite(every):
            raise InvalidInputError("every must be above 0.", field="every")
        return Fleet(products, 1 / every, rows, metrics, parse_kept(self.keep))


@ROUTER.get("/operator/capacity", operation_id="page_capacity")
def page_capacity(
    request: Request,
    products: str = "10000",
    every: str = "60",
    rows: str = "1",
    metrics: str = "5",
    keep: str = "",
) -> Response:
    """Show what a fleet needs."""
    desk, formats = hub_of(request).capacity, visitor_of(request).formats
    asked = Asked(products, every, rows, metrics, keep or desk.kept)
    found, failed = None, ""
    try:
        found = desk.answer(asked.fleet())
    except InvalidInputError as error:
        failed = error.detail
    _, made = shipped()
    return pages_of(request).page(
        request,
        "capacity.html",
        400 if failed else 200,
        asked=asked,
        found=found,
        failed=failed,
        groups={} if found is None else _groups(found, formats),
        figures=() if found is None else _figures(found),
        names=NAMES,
        totals=TOTALS,
        made=made,
    )


def _groups(found: Needs, formats: Formats) -> dict[str, list[Line]]:
    return {
        title: [_line(found.need(code), formats) for code in codes]
        for title, codes in GROUPS.items()
    }


def _line(need: Need, formats: Formats) -> Line:
    use = need.use
    return Line(
        need,
        NAMES[need.code],
        scaled(need.value, need.unit, formats),
        "" if need.room is None else scaled(need.room, need.unit, formats),
        "" if use is None else f"{formats.number(100 * use)}\u00a0%",
        use is not None and use > 1,
    )


def _figures(found: Needs) -> list[Figure]:
    """Return the figures that were used, each once, in the order of their use."""
    names = dict.fromkeys(name for need in found.needs for name in need.figures)
    return [found.figures[name] for name in names]


def scaled(value: float, unit: str, formats: Formats) -> str:
    """Return a number with its unit; bytes and bits with a prefix."""
    step = 0
    if unit[0] in "Bb":
        while value >= 1_000 and step < len(_STEPS) - 1:
            value, step = value / 1_000, step + 1
    shown = {"1": "", "cores": "", "1/s": "", "B/d": "B"}.get(unit, unit)
    return f"{formats.number(value)}\u00a0{_STEPS[step]}{shown}".rstrip("\u00a0")
