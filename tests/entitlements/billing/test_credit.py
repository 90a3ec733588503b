"""Grants pay for usage: by hand, against a unit-by-unit oracle, and in any order and cut."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entitlements.billing.credit import CreditGrant, State, Stretch, Terms, Usage, burn, state_after

END = 20

ticks = st.integers(0, END)


@st.composite
def grants(draw: st.DrawFn, name: str) -> CreditGrant:
    start = draw(ticks)
    end = draw(st.none() | st.integers(start, END + 2))
    inside = [tick for tick in range(start + 1, END) if end is None or tick < end]
    renewals = draw(st.sets(st.sampled_from(inside), max_size=3)) if inside else set()
    low = draw(st.integers(0, 6))
    return CreditGrant(
        name,
        draw(st.integers(1, 8)),
        start,
        end,
        draw(st.integers(0, 2)),
        draw(st.integers(0, 2)),
        tuple(sorted(renewals)),
        low,
        low + draw(st.integers(0, 6)),
    )


@st.composite
def terms(draw: st.DrawFn) -> Terms:
    names = [f"g{number}" for number in range(draw(st.integers(0, 4)))]
    resets = sorted(draw(st.sets(ticks, max_size=3)))
    given_ = tuple(draw(grants(name)) for name in names)
    return Terms(given_, tuple(resets), draw(st.booleans()))


events = st.lists(st.tuples(st.integers(0, END - 1), st.integers(0, 6)), max_size=12)


def usage_of(found: Sequence[tuple[int, int]]) -> Usage:
    return lambda start, end: sum(units for at, units in found if start <= at < end)


def oracle(terms: Terms, used: Sequence[tuple[int, int]]) -> tuple[dict[str, int], int]:
    """Go tick by tick and unit by unit, as one would with tokens on a table."""
    left: dict[str, int] = {}
    owed = 0
    order = sorted(
        terms.grants,
        key=lambda g: (g.priority, g.end if g.end is not None else 10**9, g.created, g.id),
    )
    for now in range(END):
        for grant in order:
            if grant.end is not None and now >= grant.end:
                left.pop(grant.id, None)
            elif now == grant.start:
                left[grant.id] = grant.amount
            elif grant.id in left:
                if now in terms.resets:
                    left[grant.id] = min(
                        grant.max_rollover, max(grant.min_rollover, left[grant.id])
                    )
                if now in grant.renewals:
                    left[grant.id] = max(left[grant.id], grant.amount)
        if now in terms.resets and not terms.keep_overage:
            owed = 0
        owed += usage_of(used)(now, now + 1)
        while owed and (payer := next((g.id for g in order if left.get(g.id)), None)):
            left[payer] -= 1
            owed -= 1
    return left, owed


def ran(terms: Terms, used: Sequence[tuple[int, int]]) -> list[Stretch]:
    return list(burn(terms, State(0), END, usage_of(used)))


@settings(max_examples=400)
@given(terms(), events)
def test_the_fold_equals_tokens_on_a_table(terms: Terms, used: list[tuple[int, int]]) -> None:
    last = state_after(State(0), ran(terms, used))
    left, owed = oracle(terms, used)
    assert {name: units for name, units in last.left.items() if units} == {
        name: units for name, units in left.items() if units
    }
    assert last.overage == owed


@settings(max_examples=300)
@given(terms(), events, ticks)
def test_a_split_run_equals_the_whole(terms: Terms, used: list[tuple[int, int]], at: int) -> None:
    whole = state_after(State(0), ran(terms, used))
    half = state_after(State(0), burn(terms, State(0), at, usage_of(used)))
    rest = state_after(half, burn(terms, half, END, usage_of(used)))
    assert rest == replace(whole, at=END)


@given(terms(), events, st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(
    terms: Terms, used: list[tuple[int, int]], random: Random
) -> None:
    mixed = random.sample(used, len(used))
    turned = replace(terms, grants=tuple(random.sample(terms.grants, len(terms.grants))))
    assert ran(terms, used) == ran(turned, mixed)


@given(terms(), events)
def test_every_unit_is_paid_by_one_grant_or_owed(terms: Terms, used: list[tuple[int, int]]) -> None:
    owed = 0
    for stretch in ran(terms, used):
        settled = sum(units for _, units in stretch.settled)
        paid = sum(units for _, units in stretch.paid)
        assert stretch.overage == owed - stretch.dropped - settled + stretch.used - paid
        assert min(stretch.left.values(), default=0) >= 0
        owed = stretch.overage


def test_burn_order() -> None:
    grants = (
        CreditGrant("late", 5, 0, end=15),
        CreditGrant("never", 5, 0),
        CreditGrant("soon", 5, 0, end=12),
        CreditGrant("first", 5, 0, priority=0, created=-1, end=12),
        CreditGrant("behind", 5, 0, end=11, priority=1),
    )
    (stretch, *_) = burn(Terms(grants), State(0), 10, lambda _start, _end: 22)
    assert [grant for grant, _ in stretch.paid] == ["first", "soon", "late", "never", "behind"]
    assert stretch.left["behind"] == 3


def test_rollover_keeps_within_its_bounds() -> None:
    grants = (
        CreditGrant("most", 100, 0, max_rollover=30),
        CreditGrant("least", 10, 0, min_rollover=10, max_rollover=10),
        CreditGrant("none", 7, 0),
    )
    *_, last = burn(Terms(grants, (10,)), State(0), END, lambda start, _end: 7 if not start else 0)
    assert last.left == {"most": 30, "least": 10, "none": 0}


def test_a_new_grant_pays_what_is_owed_first() -> None:
    terms = Terms((CreditGrant("top-up", 10, 5),))
    *_, last = burn(terms, State(0), END, usage_of([(1, 4), (6, 1)]))
    assert last.settled == (("top-up", 4),)
    assert (last.left, last.overage) == ({"top-up": 5}, 0)


@pytest.mark.parametrize(
    ("given_", "sentence"),
    [
        ({"amount": 0}, "at least one"),
        ({"amount": -3}, "at least one"),
        ({"amount": 1, "priority": 256}, "not within 0 to 255"),
        ({"amount": 1, "min_rollover": 2, "max_rollover": 1}, "must not be negative nor above"),
        ({"amount": 1, "renewals": (5, 3)}, "must rise within it"),
        ({"amount": 1, "end": 4, "renewals": (5,)}, "must rise within it"),
    ],
)
def test_a_grant_that_makes_no_sense_is_refused(given_: dict[str, int], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        CreditGrant("g", start=0, **given_)  # type: ignore[arg-type]


def test_two_grants_of_one_id_and_falling_resets_are_refused() -> None:
    one = CreditGrant("g", 1, 0)
    with pytest.raises(ValueError, match="two grants"):
        Terms((one, one))
    with pytest.raises(ValueError, match="resets must rise"):
        Terms((), (3, 2))
    with pytest.raises(ValueError, match="cannot be negative"):
        list(burn(Terms(()), State(0), 5, lambda _start, _end: -1))
