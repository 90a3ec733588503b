"""What applying a catalogue document would change, thing by thing.

1. Two documents are compared, without a look at who uses what: that is `catalogue_uses`'.
2. Within a model or plan that the document names it is complete: what it leaves out goes. Models
   and plans that it does not name stay, unless it is the whole catalogue (`whole`).
3. A thing is named such as `metric heat-pump.temp_c` and found by its path in the document.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import BaseModel

from hub.services.catalogue_document import (
    CatalogueDocument,
    ModelEntry,
    PlanEntry,
    PlanVersionEntry,
    TermsEntry,
)
from hub.services.coverage_document import (
    CalendarEntry,
    ContractEntry,
    ContractVersionEntry,
    WarrantyEntry,
)
from hub.services.price_document import PriceTerms, TaxEntry

Version = PlanVersionEntry | ContractVersionEntry | WarrantyEntry


class Act(StrEnum):
    """What becomes of a thing."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


class Thing(NamedTuple):
    """One thing of a catalogue.

    Args:
        kind: `model`, `metric`, `meter`, `feature`, `setting`, `warranty version`, `plan`, `plan version`,
            `calendar`, `contract`, `contract version` or `tax`.
        of: the model, plan, calendar, contract or region.
        name: of the metric, meter, feature or setting, number of the version; else empty.
    """

    kind: str
    of: str
    name: str = ""

    def __str__(self) -> str:
        kind = self.kind.removesuffix(" version")
        if kind != self.kind:
            return f"{kind} {self.of} version {self.name}"
        return f"{self.kind} {self.of}.{self.name}" if self.name else f"{self.kind} {self.of}"


@dataclass(frozen=True, slots=True)
class Edit:
    """One change.

    Args:
        act: what becomes of the thing.
        thing: which.
        path: where the document says so; of what is removed, where it would stand.
        terms: what changes, from what to what, by the name of the term.
        products: products that are concerned.
        subscribers: subscriptions that have not ended and are concerned.
        refusal: why it cannot be done, and what to do instead; empty if it can.
    """

    act: Act
    thing: Thing
    path: tuple[str | int, ...]
    terms: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    products: int = 0
    subscribers: int = 0
    refusal: str = ""

    def judged(self, products: int, subscribers: int, refusal: str) -> "Edit":
        """Return the edit with whom it concerns and whether it is refused."""
        return replace(self, products=products, subscribers=subscribers, refusal=refusal)


def compare(
    stands: CatalogueDocument, wanted: CatalogueDocument, *, whole: bool = False
) -> Iterator[Edit]:
    """Yield what changes from one document to another.

    Args:
        stands: the present catalogue, complete.
        wanted: what is to be applied.
        whole: models and plans that `wanted` does not name go.
    """
    for name, model in wanted.models.items():
        yield from _model(name, stands.models.get(name), model)
    for name, plan in wanted.plans.items():
        yield from _versioned("plan", name, stands.plans.get(name), plan)
    for name, calendar in wanted.calendars.items():
        yield from _calendar(name, stands.calendars.get(name), calendar)
    for name, contract in wanted.contracts.items():
        yield from _versioned("contract", name, stands.contracts.get(name), contract)
    for region, tax in wanted.taxes.items():
        yield from _tax(region, stands.taxes.get(region), tax)
    if whole:
        yield from _left_out(stands, wanted)


def _left_out(stands: CatalogueDocument, wanted: CatalogueDocument) -> Iterator[Edit]:
    for name in stands.models.keys() - wanted.models.keys():
        yield Edit(Act.REMOVED, Thing("model", name), ("models",))
    for name, plan in stands.plans.items():
        if name not in wanted.plans:
            yield Edit(Act.REMOVED, Thing("plan", name), ("plans",))
            yield from _versions("plan version", name, plan.versions, (), ("plans",))
    for name, contract in stands.contracts.items():
        if name not in wanted.contracts:
            yield Edit(Act.REMOVED, Thing("contract", name), ("contracts",))
            yield from _versions("contract version", name, contract.versions, (), ("contracts",))
    for name in stands.calendars.keys() - wanted.calendars.keys():
        yield Edit(Act.REMOVED, Thing("calendar", name), ("calendars",))


def _model(name: str, stands: ModelEntry | None, wanted: ModelEntry) -> Iterator[Edit]:
    path = ("models", name)
    thing = Thing("model", name)
    if stands is None:
        yield Edit(Act.ADDED, thing, path)
        stands = ModelEntry()
    else:
        own = {"metrics", "meters", "features", "settings", "warranty"}
        if terms := _changes(_terms(stands, own, name), _terms(wanted, own, name)):
            yield Edit(Act.CHANGED, thing, path, terms)
    old = {metric.name: (at, metric) for at, metric in enumerate(stands.metrics)}
    new = {metric.name: (at, metric) for at, metric in enumerate(wanted.metrics)}
    for metric, (at, entry) in new.items():
        place = (*path, "metrics", at)
        thing = Thing("metric", name, metric)
        if metric not in old:
            yield Edit(Act.ADDED, thing, place, {"position": (None, at + 1)})
            continue
        before = _terms(old[metric][1], set(), metric) | {"position": old[metric][0] + 1}
        if terms := _changes(before, _terms(entry, set(), metric) | {"position": at + 1}):
            yield Edit(Act.CHANGED, thing, place, terms)
    for metric in old.keys() - new.keys():
        yield Edit(Act.REMOVED, Thing("metric", name, metric), (*path, "metrics"))
    for kind, part in (("meter", "meters"), ("feature", "features"), ("setting", "settings")):
        yield from _named(kind, name, getattr(stands, part), getattr(wanted, part), (*path, part))
    below = (*path, "warranty")
    yield from _versions("warranty version", name, stands.warranty, wanted.warranty, path, below)


def _named(
    kind: str,
    of: str,
    stands: Mapping[str, BaseModel],
    wanted: Mapping[str, BaseModel],
    path: tuple[str | int, ...],
) -> Iterator[Edit]:
    for name, entry in wanted.items():
        thing = Thing(kind, of, name)
        if name not in stands:
            yield Edit(Act.ADDED, thing, (*path, name))
        elif terms := _changes(_terms(stands[name], set(), name), _terms(entry, set(), name)):
            yield Edit(Act.CHANGED, thing, (*path, name), terms)
    for name in stands.keys() - wanted.keys():
        yield Edit(Act.REMOVED, Thing(kind, of, name), path)


def _versioned(
    kind: str,
    name: str,
    stands: PlanEntry | ContractEntry | None,
    wanted: PlanEntry | ContractEntry,
) -> Iterator[Edit]:
    path = (f"{kind}s", name)
    old: Sequence[Version] = ()
    if stands is None:
        yield Edit(Act.ADDED, Thing(kind, name), path)
    else:
        old = stands.versions
        before, after = (_terms(entry, {"versions"}, name) for entry in (stands, wanted))
        if terms := _changes(before, after):
            yield Edit(Act.CHANGED, Thing(kind, name), path, terms)
    yield from _versions(f"{kind} version", name, old, wanted.versions, path, (*path, "versions"))


def _versions(
    kind: str,
    name: str,
    stands: Sequence[Version],
    wanted: Sequence[Version],
    path: tuple[str | int, ...],
    place: tuple[str | int, ...] = (),
) -> Iterator[Edit]:
    old = {entry.version: entry for entry in stands}
    for at, entry in enumerate(wanted):
        thing = Thing(kind, name, str(entry.version))
        if entry.version not in old:
            yield Edit(Act.ADDED, thing, (*place, at), _prices(stands, entry))
        elif terms := _changes(_version(old[entry.version]), _version(entry)):
            yield Edit(Act.CHANGED, thing, (*place, at), terms)
    for number in sorted(old.keys() - {entry.version for entry in wanted}):
        yield Edit(Act.REMOVED, Thing(kind, name, str(number)), path)


def _version(entry: Version) -> dict[str, Any]:
    if not isinstance(entry, PlanVersionEntry):
        return entry.model_dump()
    terms = _terms(entry, {"features", "settings", *PriceTerms.model_fields}, "")
    terms |= _price(entry)
    terms |= {f"feature {name}": _included(one) for name, one in entry.features.items()}
    terms |= {f"setting {name}": value for name, value in entry.settings.items()}
    return terms


def _prices(stands: Sequence[Version], entry: Version) -> dict[str, tuple[Any, Any]]:
    """Return how a new version's price differs from that of the newest there is."""
    if not isinstance(entry, PlanVersionEntry):
        return {}
    plans = [one for one in stands if isinstance(one, PlanVersionEntry)]
    before = max(plans, key=lambda one: one.version, default=PlanVersionEntry(version=1))
    return _changes(_price(before), _price(entry))


def _price(entry: PlanVersionEntry) -> dict[str, Any]:
    """Return the terms of a price, each amount by itself."""
    terms = {name: getattr(entry, name) for name in ("interval_months", "tax", "tax_included")}
    terms |= {f"price {currency}": amount for currency, amount in entry.price.items()}
    for meter, amounts in entry.overage.items():
        for currency, amount in amounts.items():
            if currency != "per":
                terms[f"overage {meter} {currency}"] = f"{amount} per {amounts.get('per', 1)}"
    for name, one in entry.top_ups.items():
        terms[f"top-up {name}"] = one.model_dump(exclude_defaults=True, exclude={"price"})
        for currency, minor in one.price.items():
            terms[f"top-up {name} {currency}"] = minor
    return terms


def _tax(region: str, stands: TaxEntry | None, wanted: TaxEntry) -> Iterator[Edit]:
    path = ("taxes", region)
    if stands is None:
        yield Edit(Act.ADDED, Thing("tax", region), path)
    elif terms := _changes(stands.model_dump(), wanted.model_dump()):
        yield Edit(Act.CHANGED, Thing("tax", region), path, terms)


def _calendar(name: str, stands: CalendarEntry | None, wanted: CalendarEntry) -> Iterator[Edit]:
    path = ("calendars", name)
    if stands is None:
        yield Edit(Act.ADDED, Thing("calendar", name), path)
    elif terms := _changes(_open(stands), _open(wanted)):
        yield Edit(Act.CHANGED, Thing("calendar", name), path, terms)


def _open(entry: CalendarEntry) -> dict[str, Any]:
    holidays = sorted(set(entry.holidays))
    return {"zone": entry.zone, "hours": entry.week(), "holidays": holidays}


def _included(terms: TermsEntry) -> Any:
    value = "included" if terms.value is None else terms.value
    more = terms.stored()
    return value if more is None else {"value": value, **more}


def _terms(entry: BaseModel, without: set[str], name: str) -> dict[str, Any]:
    """Return the terms of an entry; a title that is left out is the name."""
    terms = entry.model_dump(exclude=without)
    if not terms.get("title", "."):
        terms["title"] = name
    return terms


def _changes(stands: dict[str, Any], wanted: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {
        term: (stands.get(term), wanted.get(term))
        for term in [*stands, *(wanted.keys() - stands.keys())]
        if not equal(stands.get(term), wanted.get(term))
    }


def equal(one: Any, other: Any) -> bool:
    """Compare values of documents; `True` is not `1`."""
    if isinstance(one, dict) and isinstance(other, dict):
        one = {key: value for key, value in one.items() if value is not None}
        other = {key: value for key, value in other.items() if value is not None}
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
