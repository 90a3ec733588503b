"""How usage is paid from credit grants: which grant pays for what, what is left, what is over.

1. Time is cut at every instant at which a grant begins, ends or renews and at every reset. Within a
   stretch between two cuts only the sum of the usage counts, so neither the order in which usage
   arrives nor how it is split into events changes anything.
2. Burn order: lower priority number, then earlier expiry (none comes last), earlier creation, id.
3. At a reset each running grant keeps `min(max_rollover, max(min_rollover, balance))`, and at a
   renewal it has its amount again: rollover first, then the greater of the two.
4. Overage is usage that no grant paid for. A grant that begins or renews pays it first; a reset
   keeps or drops it.
5. Whole units only (`int`). A balance never goes below zero; what is missing is overage.

The fold may be stopped at any cut or instant and taken up again from its `State`: the outcome is the
same. Semantics follow OpenMeter's grants, whose documentation names them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

Usage = Callable[[int, int], int]
"""Returns the usage within `[start, end)`, ns UTC, in whole units of the meter."""


@dataclass(frozen=True, slots=True)
class CreditGrant:
    """A number of units that may be used.

    Args:
        id: identity.
        amount: units, at least 1.
        start: first instant.
        end: expiry, `None` for none. An interval that ends before it starts holds nothing.
        created: when it was given; decides between grants that are otherwise alike.
        priority: 0 burns first, 255 last.
        renewals: instants within `(start, end)` at which it has its amount again, rising.
        min_rollover: at least so much is left after a reset.
        max_rollover: at most so much is left after a reset.

    Raises:
        ValueError: a number is out of range, or the renewals do not rise within the grant.
    """

    id: str
    amount: int
    start: int
    end: int | None = None
    created: int = 0
    priority: int = 0
    renewals: tuple[int, ...] = ()
    min_rollover: int = 0
    max_rollover: int = 0

    def __post_init__(self) -> None:
        if self.amount < 1:
            raise ValueError(f"grant {self.id} is of {self.amount} units; give at least one")
        if not 0 <= self.priority <= 255:
            raise ValueError(f"priority {self.priority} of grant {self.id} is not within 0 to 255")
        if not 0 <= self.min_rollover <= self.max_rollover:
            raise ValueError(
                f"grant {self.id} rolls over at least {self.min_rollover} and at most"
                f" {self.max_rollover}; the least must not be negative nor above the most"
            )
        if list(self.renewals) != sorted(set(self.renewals)) or not all(
            self.start < renewal and (self.end is None or renewal < self.end)
            for renewal in self.renewals
        ):
            raise ValueError(f"the renewals of grant {self.id} must rise within it")

    @property
    def rank(self) -> tuple[int, bool, int, int, str]:
        """Its place in the burn order."""
        return (self.priority, self.end is None, self.end or 0, self.created, self.id)

    def runs(self, at: int) -> bool:
        """Say whether it is in force at an instant."""
        return self.start <= at and (self.end is None or at < self.end)


@dataclass(frozen=True, slots=True)
class Terms:
    """What is agreed about one meter of one customer.

    Args:
        grants: all grants, expired and future ones too, in any order.
        resets: instants at which usage periods begin, rising.
        keep_overage: whether what is over is still owed after a reset.

    Raises:
        ValueError: the resets do not rise, or two grants have one id.
    """

    grants: tuple[CreditGrant, ...]
    resets: tuple[int, ...] = ()
    keep_overage: bool = False

    def __post_init__(self) -> None:
        if list(self.resets) != sorted(set(self.resets)):
            raise ValueError("the resets must rise")
        if len({grant.id for grant in self.grants}) != len(self.grants):
            raise ValueError("two grants have one id")


@dataclass(frozen=True, slots=True)
class State:
    """What is left at an instant, before anything that happens at it.

    Args:
        at: the instant.
        left: units left, by grant id; grants that run only.
        overage: units used beyond all grants and still owed.
    """

    at: int
    left: Mapping[str, int] = field(default_factory=dict)
    overage: int = 0


class Payment(NamedTuple):
    """Units that one grant paid."""

    grant_id: str
    units: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which nothing but usage happened.

    Args:
        start: first instant.
        end: end of it.
        used: units used within it.
        settled: overage of before that grants paid at its start.
        paid: which grant paid for what was used, in burn order.
        left: what is left at its end, by grant id.
        overage: what is owed at its end.
        dropped: overage that the reset at its start forgave.
    """

    start: int
    end: int
    used: int
    settled: tuple[Payment, ...]
    paid: tuple[Payment, ...]
    left: Mapping[str, int]
    overage: int
    dropped: int = 0

    @property
    def balance(self) -> int:
        """All units left at its end."""
        return sum(self.left.values())


def burn(terms: Terms, state: State, end: int, usage: Usage) -> Iterator[Stretch]:
    """Burn usage from a state on, stretch by stretch.

    Args:
        terms: grants and resets.
        state: where to begin; `State(instant)` before anything was given.
        end: end of the time looked at.
        usage: usage within any stretch.

    Raises:
        ValueError: usage within a stretch is negative; corrections change what `usage` returns.
    """
    order = sorted(terms.grants, key=lambda grant: grant.rank)
    cuts = _cuts(terms, state.at, end)
    left, overage = dict(state.left), state.overage
    for start, until in pairwise(cuts):
        left = _carried(order, left, start, reset=start in terms.resets)
        dropped = 0
        if start in terms.resets and not terms.keep_overage:
            dropped, overage = overage, 0
        settled, overage = _take(order, left, overage)
        used = usage(start, until)
        if used < 0:
            raise ValueError(f"usage within [{start}, {until}) is {used}; it cannot be negative")
        paid, unpaid = _take(order, left, used)
        overage += unpaid
        yield Stretch(start, until, used, settled, paid, dict(left), overage, dropped)


def state_after(state: State, stretches: Iterable[Stretch]) -> State:
    """Return the state at the end of the last stretch."""
    for stretch in stretches:
        state = State(stretch.end, stretch.left, stretch.overage)
    return state


def _cuts(terms: Terms, start: int, end: int) -> list[int]:
    instants = {start, end, *terms.resets}
    for grant in terms.grants:
        instants.update((grant.start, *grant.renewals))
        if grant.end is not None:
            instants.add(grant.end)
    return sorted(instant for instant in instants if start <= instant <= end)


def _carried(
    order: Sequence[CreditGrant], left: Mapping[str, int], at: int, *, reset: bool
) -> dict[str, int]:
    """Return what each grant that runs at an instant has, after what happens at that instant."""
    carried: dict[str, int] = {}
    for grant in order:
        if not grant.runs(at):
            continue
        if grant.id not in left or at == grant.start:
            # A state never holds the grant that begins at its instant. One that began before the
            # first state is whole: nothing was burnt yet.
            carried[grant.id] = grant.amount
            continue
        units = left[grant.id]
        if reset:
            units = min(grant.max_rollover, max(grant.min_rollover, units))
        if at in grant.renewals:
            units = max(units, grant.amount)
        carried[grant.id] = units
    return carried


def _take(
    order: Sequence[CreditGrant], left: dict[str, int], units: int
) -> tuple[tuple[Payment, ...], int]:
    """Take units from what is left, in burn order; return who paid and what nobody did."""
    paid: list[Payment] = []
    for grant in order:
        share = min(units, left.get(grant.id, 0))
        if share:
            left[grant.id] -= share
            units -= share
            paid.append(Payment(grant.id, share))
    return tuple(paid), units
