"""What covers a product at one instant, until when that holds, and what passes on to the next owner.

1. The warranty is asked first, then the contracts by their start; each says for itself whether it
   covers (`warranty.py`, `contracts.py`).
2. Everything is derived for an instant, past ones included; what is bought later changes no
   instant before.
3. A change of owner never lengthens anything.

No clock, no database. An answer is a code with arguments; sentences are in `coverage_sentences.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from entitlements import contracts, warranty
from entitlements.coverage_facts import Contract, CoverageFacts
from entitlements.covers import Cover, CoverCode, CoverKind
from entitlements.facts import Ownership


@dataclass(frozen=True, slots=True)
class Coverage:
    """All covers of a product at one instant.

    Args:
        covers: the warranty first, then the contracts by their start.
        until: next instant at which another code holds for one of them on present facts; `None`:
            never.
    """

    covers: tuple[Cover, ...]
    until: int | None

    @property
    def by(self) -> Cover | None:
        """The first that covers, `None` if none does."""
        return next((cover for cover in self.covers if cover.covered), None)


@dataclass(frozen=True, slots=True)
class Passing:
    """What becomes of something at a change of owner.

    Args:
        kind: warranty, extension or contract.
        id: of the extension or contract; empty for the warranty.
        passes: whether the next owner has it.
        ends_at: its end by time as the next owner has it; where it does not pass, the change
            itself. `None` for a warranty that has not begun, and for an extension that passes: its
            time is in the end of the warranty.
    """

    kind: CoverKind
    id: str
    passes: bool
    ends_at: int | None


def coverage(facts: CoverageFacts, at: int) -> Coverage:
    """Derive what covers a product at an instant (ns UTC), and until when that holds."""
    covers = covers_at(facts, at)
    said = [(cover.id, cover.code) for cover in covers]
    for boundary in sorted({*warranty.boundaries(facts), *contracts.boundaries(facts)}):
        if boundary > at:
            then = covers_at(facts, boundary)
            if [(cover.id, cover.code) for cover in then] != said:
                return Coverage(covers, boundary)
    return Coverage(covers, None)


def covers_at(facts: CoverageFacts, at: int) -> tuple[Cover, ...]:
    """Return what the warranty and each contract says of an instant, without until when."""
    asked = (contracts.contract(facts, one, at) for one in _by_start(facts))
    return (warranty.warranty(facts, at), *asked)


def deciding(covers: Sequence[Cover]) -> Cover:
    """Return the cover that says who pays.

    It is the first that covers; else a contract whose cases are used up; else what the warranty
    says.
    """
    used_up = [cover for cover in covers if cover.code is CoverCode.CONTRACT_USED_UP]
    paying = [cover for cover in covers if cover.covered]
    return next(iter([*paying, *used_up, *covers]))


def split(facts: CoverageFacts, at: int) -> tuple[Passing, ...]:
    """Tell what passes on and what ends, should somebody else become the owner at an instant.

    Returns:
        One for each that is in force or still to begin: the warranty, its extensions, contracts.
    """
    after = transferred(facts, at)
    found: list[Passing] = []
    if warranty.warranty(facts, at).covered:
        then = warranty.warranty(after, at)
        end = then.args.get("until_at") if then.covered else at
        found.append(
            Passing(CoverKind.WARRANTY, "", then.covered, end if end is None else int(end))
        )
        kept = warranty.extensions_at(after, at) if then.covered else ()
        found += [
            Passing(CoverKind.EXTENSION, one.id, one in kept, None if one in kept else at)
            for one in warranty.extensions_at(facts, at)
        ]
    for one in _by_start(facts):
        if at < contracts.end_of(facts, one):
            ends_at = contracts.end_of(after, one)
            found.append(Passing(CoverKind.CONTRACT, one.id, at < ends_at, ends_at))
    return tuple(found)


def transferred(facts: CoverageFacts, at: int) -> CoverageFacts:
    """Return the facts as they are if somebody else becomes the owner at an instant."""
    past = [
        replace(one, end=at) if one.end is None or one.end > at else one
        for one in facts.ownership
        if one.start <= at
    ]
    newest = max((one.epoch for one in past), default=0)
    # Nobody bears this name: ids have no blanks.
    past.append(Ownership(newest + 1, "the next owner", at))
    return replace(facts, ownership=tuple(past))


def _by_start(facts: CoverageFacts) -> list[Contract]:
    return sorted(facts.contracts, key=lambda one: (one.start, one.id))
