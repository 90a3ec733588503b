"""A support contract of a product at one instant.

1. A contract is terms of so many months, one behind the other; the local day it starts on is the
   first day of the first term.
2. Each term covers so many cases. One that was given back counts as never charged from then on.
3. What is not transferable ends when somebody else becomes the owner.

No clock, no database: everything is in `CoverageFacts`.
"""

from collections.abc import Iterator, Mapping

from entitlements.codes import Arg
from entitlements.coverage_facts import Contract, CoverageFacts
from entitlements.covers import Cover, CoverCode, CoverKind, lost_at
from entitlements.dates import end_of_day, last_of_period, local_date
from entitlements.facts import in_force


def contract(facts: CoverageFacts, one: Contract, at: int) -> Cover:
    """Say whether a contract covers a fault that begins at an instant (ns UTC), and why."""
    end = end_of(facts, one)
    if end <= at:
        lost = None if one.transferable else lost_at(facts, one.epoch)
        code = CoverCode.CONTRACT_ENDED_OWNER if lost == end else CoverCode.CONTRACT_ENDED
        return _says(one, code, {"since_at": end})
    if at < one.start:
        return _says(one, CoverCode.CONTRACT_SCHEDULED, {"from_at": one.start})
    if one.incidents is None:
        return _says(one, CoverCode.CONTRACT, {"until_at": end}, covered=True)
    term = term_of(one, facts.zone, at)
    used = sum(
        use.contract_id == one.id
        and in_force(use.at, use.given_back_at, at)
        and term_of(one, facts.zone, use.at) == term
        for use in facts.uses
    )
    if used >= one.incidents:
        again = min(end, term_end(one, facts.zone, term or 0))
        args: dict[str, Arg] = {"incidents": one.incidents, "until_at": again}
        return _says(one, CoverCode.CONTRACT_USED_UP, args)
    args = {"until_at": end, "incidents_left": one.incidents - used}
    return _says(one, CoverCode.CONTRACT_INCIDENTS, args, covered=True)


def end_of(facts: CoverageFacts, one: Contract) -> int:
    """Return the end of a contract on present facts."""
    ends = [term_end(one, facts.zone, one.terms - 1)]
    if one.ended_at is not None:
        ends.append(one.ended_at)
    if not one.transferable and (lost := lost_at(facts, one.epoch)) is not None:
        ends.append(lost)
    return min(ends)


def term_of(one: Contract, zone: str, at: int) -> int | None:
    """Return the number of the term, from 0, that an instant is in; `None` outside of them."""
    if at < one.start:
        return None
    return next((term for term in range(one.terms) if at < term_end(one, zone, term)), None)


def term_end(one: Contract, zone: str, term: int) -> int:
    """Return the end of a term, the first of which is 0."""
    first = local_date(zone, one.start)
    return end_of_day(zone, last_of_period(first, (term + 1) * one.months))


def boundaries(facts: CoverageFacts) -> Iterator[int]:
    """Yield instants, some twice, between which the code of no contract changes."""
    for one in facts.contracts:
        yield one.start
        yield end_of(facts, one)
        if one.incidents is not None:
            yield from (term_end(one, facts.zone, term) for term in range(one.terms))
    for use in facts.uses:
        yield use.at
        if use.given_back_at is not None:
            yield use.given_back_at


def _says(
    one: Contract, code: CoverCode, args: Mapping[str, Arg], *, covered: bool = False
) -> Cover:
    named = {"plan": one.plan, **args}
    return Cover(CoverKind.CONTRACT, one.id, covered, code, named, one.transferable)
