"""What applying a catalogue document would change, thing by thing.

1. Two documents are compared, without a look at who uses what: that is `catalogue_uses`'.
2. Within a model or plan that the document names it is complete: what it leaves out goes. Models
   and plans that it does not name stay, unless it is the whole catalogue (`whole`).
3. A thing is named such as `metric heat-pump.temp_c` and found by its path in the document.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple

from hub.services.catalogue_document import (
    CatalogueDocument,
    Entry,
    ModelEntry,
    PlanEntry,
    PlanVersionEntry,
)


class Act(StrEnum):
    """What becomes of a thing."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


class Thing(NamedTuple):
    """One thing of a catalogue.

    Args:
        kind: `model`, `metric`, `feature`, `setting`, `plan` or `plan version`.
        of: the model or plan.
        name: of the metric, feature or setting, number of the version; empty for the model or plan.
    """

    kind: str
    of: str
    name: str = ""

    def __str__(self) -> str:
        if self.kind == "plan version":
            return f"plan {self.of} version {self.name}"
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
        yield from _plan(name, stands.plans.get(name), plan)
    if whole:
        for name in stands.models.keys() - wanted.models.keys():
            yield Edit(Act.REMOVED, Thing("model", name), ("models",))
        for name, old in stands.plans.items():
            if name not in wanted.plans:
                yield Edit(Act.REMOVED, Thing("plan", name), ("plans",))
                yield from _versions(name, old, PlanEntry(), ("plans",))


def _model(name: str, stands: ModelEntry | None, wanted: ModelEntry) -> Iterator[Edit]:
    path = ("models", name)
    thing = Thing("model", name)
    if stands is None:
        yield Edit(Act.ADDED, thing, path)
        stands = ModelEntry()
    else:
        own = {"metrics", "features", "settings"}
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
    for kind, part in (("feature", "features"), ("setting", "settings")):
        yield from _named(kind, name, getattr(stands, part), getattr(wanted, part), (*path, part))


def _named(
    kind: str,
    of: str,
    stands: Mapping[str, Entry],
    wanted: Mapping[str, Entry],
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


def _plan(name: str, stands: PlanEntry | None, wanted: PlanEntry) -> Iterator[Edit]:
    path = ("plans", name)
    if stands is None:
        yield Edit(Act.ADDED, Thing("plan", name), path)
        stands = PlanEntry()
    elif terms := _changes(_terms(stands, {"versions"}, name), _terms(wanted, {"versions"}, name)):
        yield Edit(Act.CHANGED, Thing("plan", name), path, terms)
    yield from _versions(name, stands, wanted, path)


def _versions(
    name: str, stands: PlanEntry, wanted: PlanEntry, path: tuple[str | int, ...]
) -> Iterator[Edit]:
    old = {entry.version: entry for entry in stands.versions}
    for at, entry in enumerate(wanted.versions):
        thing = Thing("plan version", name, str(entry.version))
        place = (*path, "versions", at)
        if entry.version not in old:
            yield Edit(Act.ADDED, thing, place)
        elif terms := _changes(_version(old[entry.version]), _version(entry)):
            yield Edit(Act.CHANGED, thing, place, terms)
    for number in old.keys() - {entry.version for entry in wanted.versions}:
        yield Edit(Act.REMOVED, Thing("plan version", name, str(number)), path)


def _version(entry: PlanVersionEntry) -> dict[str, Any]:
    terms = _terms(entry, {"features", "settings"}, "")
    terms |= {f"feature {name}": _included(one.value) for name, one in entry.features.items()}
    terms |= {f"setting {name}": value for name, value in entry.settings.items()}
    return terms


def _included(value: Any) -> Any:
    return "included" if value is None else value


def _terms(entry: Entry, without: set[str], name: str) -> dict[str, Any]:
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
