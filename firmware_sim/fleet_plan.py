"""A fleet described in one TOML file: which products, which firmware, from which lot, and where.

    seed = 1                 # makes the fleet what it is
    report_s = 10.0          # seconds between two reports of a product
    [models]                 # how many of each model of the catalogue
    heat-pump = 28
    [firmware]               # shares of the versions; they need not add up to 1
    "2.4.0" = 7
    [lots]                   # shares of the hardware lots
    A = 1
    [regions.north]          # where they stand; at least one region
    climate = "nordic"
    zone = "Europe/Oslo"
    share = 3

1. The same file gives the same products, whatever else runs; the products of one model do not
   depend on how many there are of another.
2. Whatever is wrong is told with the path of its key, all of it before anything is made.
3. Never here: customers, hubs, and what a product does.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from math import floor, isfinite
from pathlib import Path
from random import Random
from typing import Any, Final, TypeVar
from zoneinfo import available_timezones

from firmware_sim.products.climate import CLIMATES
from firmware_sim.products.models import MODELS
from firmware_sim.products.product import Product

MOST_PRODUCTS: Final = 5_000
REPORT_S: Final = (0.1, 3600.0)
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
"""A name that a scenario can say as one word."""
T = TypeVar("T")
_TOP: Final = ("seed", "report_s", "models", "firmware", "lots", "regions")


class FleetFileError(Exception):
    """A fleet file cannot be used; the message says where and what to write instead."""


@dataclass(frozen=True, slots=True)
class Region:
    """Where products stand.

    Args:
        name: what scenarios and the hub call it.
        climate: name of a climate.
        zone: IANA time zone.
    """

    name: str
    climate: str
    zone: str


@dataclass(frozen=True, slots=True)
class Member:
    """One product of a fleet, before it is made.

    Args:
        serial: serial number.
        model: name of its model.
        firmware: version it runs.
        lot: hardware lot.
        region: where it stands.
    """

    serial: str
    model: str
    firmware: str
    lot: str
    region: Region

    def product(self) -> Product:
        """Make its physics; the same every time."""
        climate = CLIMATES[self.region.climate]
        return MODELS[self.model].make(self.serial, climate=climate, zone=self.region.zone)


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """A fleet as its file describes it.

    Args:
        seed: the file's seed.
        report_s: seconds between two reports of a product.
        members: the products, in order of serial number.
    """

    seed: int
    report_s: float
    members: tuple[Member, ...]


def load(path: Path) -> FleetPlan:
    """Read a fleet file.

    Args:
        path: the TOML file.

    Returns:
        The fleet.

    Raises:
        FleetFileError: it cannot be read, or is not a fleet.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FleetFileError(f"The fleet file {path} cannot be read: {error}.") from error
    return parse(text, str(path))


def demo() -> FleetPlan:
    """The fleet that ships with Homeport: sixty products of all models."""
    name = "demo_fleet.toml"
    return parse(files("firmware_sim").joinpath(name).read_text(encoding="utf-8"), name)


def parse(text: str, name: str) -> FleetPlan:
    """Read the text of a fleet file.

    Args:
        text: TOML.
        name: what errors call it.

    Returns:
        The fleet.

    Raises:
        FleetFileError: it is not a fleet.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FleetFileError(f"{name} is not TOML: {error}.") from error
    return _Reader(name).plan(document)


class _Reader:
    """Checks a document, key by key.

    Args:
        name: what errors call the file.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def plan(self, document: Mapping[str, Any]) -> FleetPlan:
        """Return the fleet of a whole document."""
        self._only(document, "", _TOP)
        seed = self._number(document, "seed", 1, whole=True, least=0, most=999)
        report_s = self._number(document, "report_s", 10.0, least=REPORT_S[0], most=REPORT_S[1])
        counts = self._counts(self._table(document, "models"))
        firmware = self._shares(self._table(document, "firmware"), "firmware")
        lots = self._shares(self._table(document, "lots"), "lots")
        regions = self._regions(self._table(document, "regions"))
        members: list[Member] = []
        for model, count in sorted(counts.items()):
            spread = [
                _dealt(shares, count, f"{seed}/{model}/{what}")
                for what, shares in (("firmware", firmware), ("lot", lots), ("region", regions))
            ]
            for number, (version, lot, region) in enumerate(zip(*spread, strict=True), 1):
                serial = f"{MODELS[model].prefix}-{int(seed):03}-{number:04}"
                members.append(Member(serial, model, version, lot, region))
        return FleetPlan(int(seed), report_s, tuple(sorted(members, key=lambda one: one.serial)))

    def _counts(self, table: Mapping[str, Any]) -> dict[str, int]:
        self._only(table, "models", tuple(MODELS))
        counts = {
            model: int(self._number(table, model, 0, "models", whole=True, least=0))
            for model in table
        }
        total = sum(counts.values())
        if not 1 <= total <= MOST_PRODUCTS:
            raise self._wrong("models", f"{total} products in all", f"1 to {MOST_PRODUCTS}")
        return counts

    def _shares(self, table: Mapping[str, Any], path: str) -> list[tuple[str, float]]:
        for key in table:
            self._word(key, path)
        return [(key, self._share(table, key, path)) for key in table]

    def _regions(self, table: Mapping[str, Any]) -> list[tuple[Region, float]]:
        regions = []
        for name, entry in table.items():
            path = f"regions.{name}"
            self._word(name, "regions")
            if not isinstance(entry, dict):
                raise self._wrong(path, repr(entry), "a table with climate, zone and share")
            self._only(entry, path, ("climate", "zone", "share"))
            climate, zone = (entry.get(key) for key in ("climate", "zone"))
            if climate not in CLIMATES:
                raise self._wrong(f"{path}.climate", repr(climate), "one of " + ", ".join(CLIMATES))
            if zone not in available_timezones():
                known = "an IANA time zone, such as Europe/Oslo"
                raise self._wrong(f"{path}.zone", repr(zone), known)
            share = self._share(entry, "share", path) if "share" in entry else 1.0
            regions.append((Region(name, str(climate), str(zone)), share))
        return regions

    def _share(self, table: Mapping[str, Any], key: str, path: str) -> float:
        return self._number(table, key, 1.0, path, least=1e-9, most=1e9)

    def _number(
        self,
        table: Mapping[str, Any],
        key: str,
        otherwise: float,
        path: str = "",
        *,
        whole: bool = False,
        least: float,
        most: float = MOST_PRODUCTS,
    ) -> float:
        value = table.get(key, otherwise)
        fits = isinstance(value, int) or (isinstance(value, float) and not whole)
        if isinstance(value, bool) or not fits or not isfinite(value) or not least <= value <= most:
            kind = "a whole number" if whole else "a number"
            where = f"{path}.{key}" if path else key
            bounds = "above 0" if 0.0 < least < 1e-6 else f"from {least:g} to {most:g}"
            raise self._wrong(where, repr(value), f"{kind} {bounds}")
        return float(value)

    def _table(self, document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        value = document.get(key)
        if not isinstance(value, dict) or not value:
            is_ = "missing" if key not in document else "empty" if value == {} else repr(value)
            raise self._wrong(key, is_, "a table with at least one entry")
        return value

    def _word(self, key: str, path: str) -> None:
        if not _WORD.fullmatch(key):
            known = "a name of letters, digits, '.', '_' and '-', at most 32 of them"
            raise self._wrong(path, f"named {key!r}", known)

    def _only(self, table: Mapping[str, Any], path: str, known: tuple[str, ...]) -> None:
        for key in table:
            if key not in known:
                where = f"{path}.{key}" if path else key
                raise self._wrong(where, "unknown", "one of " + ", ".join(known))

    def _wrong(self, path: str, found: str, expected: str) -> FleetFileError:
        return FleetFileError(f"{self._name}: {path} is {found}; it must be {expected}.")


def _dealt(shares: list[tuple[T, float]], count: int, seed: str) -> list[T]:
    """Deal `count` things out by shares, exactly, in a seeded order.

    Whole numbers come from the largest remainders (Hamilton's method).
    """
    total = sum(share for _, share in shares)
    exact = [share / total * count for _, share in shares]
    given = [floor(part) for part in exact]
    by_rest = sorted(range(len(shares)), key=lambda i: (given[i] - exact[i], i))
    for index in by_rest[: count - sum(given)]:
        given[index] += 1
    dealt = [thing for (thing, _), times in zip(shares, given, strict=True) for _ in range(times)]
    Random(seed).shuffle(dealt)
    return dealt
