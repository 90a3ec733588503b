"""The warranty of a product at one instant.

1. It begins with the first use, or some months after the product was made, whichever comes first.
   Before its first use a product is covered.
2. It ends by time, hours or cycles, whichever comes first; an end by time is the end of that day
   where the product stands (`dates.py`).
3. What an extension adds counts from its purchase on, never for an instant before.
4. What is not transferable ends when somebody else becomes the owner.

No clock, no database: everything is in `CoverageFacts`.
"""

import math
from collections.abc import Iterator, Mapping

from entitlements.codes import Arg
from entitlements.coverage_facts import CoverageFacts, Extension, WarrantyTerms
from entitlements.covers import Cover, CoverCode, CoverKind, lost_at
from entitlements.dates import add_months, end_of_day, local_date
from entitlements.facts import in_force

_METERED = (
    ("hours", CoverCode.WARRANTY_ENDED_HOURS),
    ("cycles", CoverCode.WARRANTY_ENDED_CYCLES),
)


def warranty(facts: CoverageFacts, at: int) -> Cover:
    """Say whether the warranty covers a fault that begins at an instant (ns UTC), and why."""
    terms = facts.terms
    if terms is None:
        return _says(facts, CoverCode.NO_WARRANTY, {})
    if at < facts.made_at:
        return _says(facts, CoverCode.WARRANTY_NOT_YET, {"from_at": facts.made_at})
    lost = None if terms.transferable else lost_at(facts, 0)
    if lost is not None and at >= lost:
        return _says(facts, CoverCode.WARRANTY_ENDED_OWNER, {"since_at": lost})
    if at < start(facts, terms):
        args = {"latest_at": _latest_start(facts, terms), "months": terms.months}
        return _says(facts, CoverCode.WARRANTY_WAITING, args, covered=True)
    return _begun(facts, terms, at)


def start(facts: CoverageFacts, terms: WarrantyTerms) -> int:
    """Return the instant at which the warranty begins on present facts."""
    latest = _latest_start(facts, terms)
    if facts.first_use_at is None:
        return latest
    return min(max(facts.first_use_at, facts.made_at), latest)


def extensions_at(facts: CoverageFacts, at: int) -> tuple[Extension, ...]:
    """Return the extensions that count at an instant, in the order of their purchase."""
    counting = [one for one in facts.extensions if in_force(one.bought_at, _lost(facts, one), at)]
    return tuple(sorted(counting, key=lambda one: (one.bought_at, one.id)))


def boundaries(facts: CoverageFacts) -> Iterator[int]:
    """Yield instants, some twice, between which the code of the warranty does not change."""
    if facts.terms is None:
        return
    views = [facts.made_at, *(one.bought_at for one in facts.extensions)]
    views += [one.start for one in facts.ownership]
    yield from views
    yield start(facts, facts.terms)
    for view in views:
        yield _time_end(facts, facts.terms, extensions_at(facts, view))
    for readings in (facts.hours, facts.cycles):
        yield from (reading.at for reading in readings)


def _begun(facts: CoverageFacts, terms: WarrantyTerms, at: int) -> Cover:
    extensions = extensions_at(facts, at)
    time_end = _time_end(facts, terms, extensions)
    ends = [(time_end, CoverCode.WARRANTY_ENDED)]
    left: dict[str, int] = {}
    for name, code in _METERED:
        if (limit := getattr(terms, name)) is None:
            continue
        limit += sum(getattr(one, name) for one in extensions)
        known = [reading for reading in getattr(facts, name) if reading.at <= at]
        left[name] = math.ceil(limit - max((reading.total for reading in known), default=0.0))
        over = [reading.at for reading in known if reading.total >= limit]
        if over:
            ends.append((max(start(facts, terms), min(over)), code))
    end, code = min(ends)
    if end <= at:
        since, code = _taken_with_owner(facts, end, at) or (end, code)
        return _says(facts, code, {"since_at": since})
    args = {"until_at": time_end} | {f"{name}_left": amount for name, amount in left.items()}
    return _says(facts, CoverCode("_".join(["warranty", *left])), args, covered=True)


def _taken_with_owner(facts: CoverageFacts, end: int, at: int) -> tuple[int, CoverCode] | None:
    """Say when an owner took an extension along without which the warranty had ended already."""
    for lost in sorted(_lost(facts, one) or 0 for one in facts.extensions):
        if end < lost <= at and warranty(facts, lost - 1).covered:
            return lost, CoverCode.WARRANTY_ENDED_OWNER
    return None


def _time_end(facts: CoverageFacts, terms: WarrantyTerms, extensions: tuple[Extension, ...]) -> int:
    """Return the end by time of what the terms and some extensions give."""
    begins = start(facts, terms)
    if begins == _latest_start(facts, terms):  # that day was the last one on which it could begin
        begins -= 1
    anchor, months = local_date(facts.zone, begins), terms.months
    end = end_of_day(facts.zone, add_months(anchor, months))
    for extension in extensions:
        if extension.bought_at >= end:  # it had run out: what is bought begins anew
            anchor, months = local_date(facts.zone, extension.bought_at), 0
        months += extension.months
        end = end_of_day(facts.zone, add_months(anchor, months))
    return end


def _latest_start(facts: CoverageFacts, terms: WarrantyTerms) -> int:
    made = local_date(facts.zone, facts.made_at)
    return end_of_day(facts.zone, add_months(made, terms.latest_start_months))


def _lost(facts: CoverageFacts, extension: Extension) -> int | None:
    return None if extension.transferable else lost_at(facts, extension.epoch)


def _says(
    facts: CoverageFacts, code: CoverCode, args: Mapping[str, Arg], *, covered: bool = False
) -> Cover:
    transferable = facts.terms is not None and facts.terms.transferable
    return Cover(CoverKind.WARRANTY, "", covered, code, args, transferable)
