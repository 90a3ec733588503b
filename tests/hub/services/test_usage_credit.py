"""Credit beside a quota, usage over the API, and statements of periods that are over."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from entitlements.billing.meters import LARGEST, MOST
from entitlements.billing.periods import renewal
from entitlements.decision import decide
from hub.app.statement_clock import ROUND_NS, StatementClock
from hub.errors import ConflictError, ForbiddenError, InvalidInputError
from hub.metrics import Metrics
from hub.ports.database.billing_tables import BillingAccount, Invoice, InvoiceLine
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.ownership_tables import Ownership, Subscription
from hub.ports.database.product_tables import Product
from hub.ports.database.usage_tables import UsageEntry, UsageStatement, UsageThreshold
from hub.ports.store.port import RawColumns
from hub.services import (
    catalogue,
    changes,
    credit_grants,
    cut,
    ownership,
    usage,
    usage_events,
    usage_history,
    usage_limits,
    usage_statements,
)
from hub.services.caller import HUB, ROLE_SCOPES, Caller, Role
from hub.services.credit_grants import Offer
from hub.services.facts import load_one
from hub.services.usage_accounts import ACCOUNT
from hub.services.usage_archive import Totals
from hub.services.usage_events import Event, Fate
from tests.hub.api.memory_store import MemoryStore
from tests.hub.services.service_world import DAY, T0, World, new_world
from tests.hub.services.test_usage import METERED, account, boost, sold

EMPTY = MemoryStore()
SOFT = METERED.replace(
    "boost_hours = { value = 20 }",
    'boost_hours = { value = 20, limit = "soft" }',
)
PRICED = SOFT.replace(
    "[plans.comfort]", '[taxes.DE]\nrates = { standard = "19" }\n[plans.comfort]'
).replace("version = 1\n", 'version = 2\noverage = { energy = { EUR = "0.50" } }\n')


@pytest.fixture
def world(tmp_path: Path, new_database: str) -> Iterator[World]:
    made = new_world(tmp_path, new_database)
    with write_session(made.engine) as session:
        catalogue.apply(session, HUB, catalogue.parse(METERED), T0)
    yield made
    made.engine.dispose()


def give(world: World, product_id: str, at: int, amount: str = "10", **more: object) -> str:
    offer = Offer("energy", str(more.pop("kind", "topup")), Decimal(amount), **more)  # type: ignore[arg-type]
    with write_session(world.engine) as session:
        row = credit_grants.give(
            session, HUB, offer, "bought", at, world.tokens, product_id=product_id
        )
        return row.id


def settle(world: World, product_id: str, total: int, at: int) -> list[tuple[int, bool]]:
    """Settle by an account; returns the shares that were told and whether they were reached."""
    with write_session(world.engine) as session:
        told = usage_limits.settle_products(
            session, Totals(EMPTY), [product_id], account(world, product_id, total, at), at
        )
    return [(one.notice.arguments["share"], one.notice.code == "usage.share") for one in told]


def tell(world: World, product_id: str, at: int, *events: Event) -> list[tuple[str, str]]:
    with write_session(world.engine) as session:
        answers = usage_events.tell(session, HUB, product_id, events, at)
    return [(one.id, str(one.fate)) for one in answers]


def shown(world: World, product_id: str, at: int, total: int | None = None) -> usage.Usage:
    with read_session(world.engine) as session:
        product = session.get_one(Product, product_id)
        accounts = np.zeros(0, ACCOUNT)
        if total is not None:
            accounts = account(world, product_id, total, at)
        return usage.present(session, EMPTY, accounts, product, at)[0]


def test_a_top_up_opens_what_was_used_up_and_every_crossing_is_told_once(world: World) -> None:
    product_id, _ = sold(world)
    at = T0 + 5 * DAY
    assert settle(world, product_id, 2_000, at) == [(50, True), (80, True), (100, True)]
    assert boost(world, product_id, at) == (False, "quota_used")
    give(world, product_id, at + 1)
    assert settle(world, product_id, 2_000, at + 2) == [(100, False), (80, False)]
    assert boost(world, product_id, at + 2) == (True, "plan")
    assert settle(world, product_id, 2_000, at + 3) == []
    assert settle(world, product_id, 2_400, at + 4) == [(80, True)]
    found = shown(world, product_id, at + 5, 2_400)
    assert (found.allowance, found.left) == (Decimal(30), Decimal(6))
    kinds = [(one.kind, *map(int, (one.amount, one.left, one.paid))) for one in found.balances]
    assert kinds == [("quota", 20, 0, 20), ("topup", 10, 6, 4)]
    assert [(one.share, one.up) for one in found.thresholds] == [
        (50, True), (80, True), (100, True), (100, False), (80, False), (80, True),
    ]  # fmt: skip
    with read_session(world.engine) as session:
        numbers = [row.number for row in session.scalars(select(UsageThreshold))]
    assert numbers == [1, 2, 3, 4, 5, 6]


def test_a_grant_is_given_once_for_a_cause_and_not_twice_for_a_code(world: World) -> None:
    product_id, _ = sold(world)
    with write_session(world.engine) as session:
        offer = Offer("energy", "promotion", Decimal("2.50"), code="spring")
        args = (session, HUB, offer, "spring", T0 + DAY, world.tokens)
        first = credit_grants.give(*args, product_id=product_id, cause="order:1")
        again = credit_grants.give(*args, product_id=product_id, cause="order:1")
        assert (first.id, first.amount, first.decimals) == (again.id, 250, 2)
        with pytest.raises(ConflictError, match="runs at the same time"):
            credit_grants.give(*args, product_id=product_id, cause="order:2")
        credit_grants.end(session, HUB, first.id, "over", T0 + 2 * DAY)
        later = (session, HUB, offer, "spring", T0 + 3 * DAY, world.tokens)
        assert credit_grants.give(*later, product_id=product_id).id != first.id


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"amount": "0"}, "above zero"),
        ({"amount": "-5"}, "above zero"),
        ({"amount": "0.001"}, "at most 2 decimals"),
        ({"amount": "NaN"}, "at most 2 decimals"),
        ({"ends_at": T0}, "must lie behind"),
        ({"priority": 256}, "within 0 and 255"),
        ({"min_rollover": Decimal(5), "max_rollover": Decimal(4)}, "nor above"),
        ({"kind": "gift"}, "is one of"),
    ],
)
def test_a_grant_that_makes_no_sense_is_refused(
    world: World, more: dict[str, object], says: str
) -> None:
    product_id, _ = sold(world)
    with pytest.raises(InvalidInputError, match=says):
        give(world, product_id, T0 + DAY, **more)  # type: ignore[arg-type]


def test_credit_is_not_the_next_owners(world: World) -> None:
    from hub.services import ownership

    product_id, _ = sold(world)
    give(world, product_id, T0 + DAY)
    with write_session(world.engine) as session:
        ownership.release(session, HUB, product_id, T0 + 2 * DAY)
    assert shown(world, product_id, T0 + 3 * DAY).balances == ()


def test_only_who_may_gives_credit_and_tells_usage(world: World) -> None:
    product_id, _ = sold(world)
    support = Caller(Role.SUPPORT, "x", None, ROLE_SCOPES[Role.SUPPORT])
    customer = Caller(Role.CUSTOMER, "x", None, ROLE_SCOPES[Role.CUSTOMER])
    offer = Offer("energy", "topup", Decimal(1))
    with write_session(world.engine) as session:
        with pytest.raises(ForbiddenError):
            usage_events.tell(session, support, product_id, [], T0)
        with pytest.raises(ForbiddenError):
            credit_grants.give(
                session, customer, offer, "x", T0, world.tokens, product_id=product_id
            )


def test_each_event_is_answered_and_counts_once(world: World) -> None:
    product_id, _ = sold(world)
    at = T0 + 5 * DAY
    one = Event("a", "energy", at - 5, Decimal("1.25"))
    answers = tell(
        world, product_id, at,
        one, one,
        Event("b", "energy", None, Decimal(2)),
        Event("c", "nothing", None, Decimal(2)),
        Event("d", "energy", None, Decimal(-2)),
        Event("e", "energy", at + DAY, Decimal(2)),
        Event("f", "energy", T0 - DAY, Decimal(2)),
        Event("g", "energy", None, Decimal("0.001")),
    )  # fmt: skip
    fates = ["accepted", "duplicate", "accepted", *["rejected"] * 5]
    assert answers == list(zip("aabcdefg", fates, strict=True))
    changed = Event("a", "energy", at - 5, Decimal(9))
    assert tell(world, product_id, at + 1, changed, one) == [("a", "rejected"), ("a", "duplicate")]
    assert shown(world, product_id, at + 2, 100).total == Decimal("4.25")  # one of telemetry


def test_replaying_many_events_changes_nothing(world: World) -> None:
    product_id, _ = sold(world)
    at = T0 + 5 * DAY
    events = [Event(str(n), "rows", at - n, Decimal(1)) for n in range(2_000)]
    assert {fate for _, fate in tell(world, product_id, at, *events)} == {Fate.ACCEPTED}
    for _ in range(3):
        assert {fate for _, fate in tell(world, product_id, at, *reversed(events))} == {
            Fate.DUPLICATE
        }


def test_no_sum_of_what_was_told_is_too_large_to_read(world: World) -> None:
    product_id, _ = sold(world)
    at = T0 + 5 * DAY
    most = Decimal(LARGEST).scaleb(-2)
    events = [Event(str(n), "energy", at, most) for n in range(1_200)]  # more than 64 bits hold
    assert {fate for _, fate in tell(world, product_id, at, *events)} == {Fate.ACCEPTED}
    found = shown(world, product_id, at + 1, 100)
    assert (found.total, found.used_up) == (Decimal(MOST).scaleb(-2), True)
    beyond = Event("beyond", "energy", at, most + Decimal("0.01"))
    assert tell(world, product_id, at, beyond) == [("beyond", Fate.REJECTED)]


def test_what_was_told_shows_wherever_usage_does(world: World) -> None:
    product_id, _ = sold(world)
    at = T0 + 40 * DAY
    tell(
        world,
        product_id,
        at,
        Event("now", "rows", at, Decimal(3)),
        Event("then", "rows", T0 + DAY, Decimal(2)),
    )
    with read_session(world.engine) as session:
        product = session.get_one(Product, product_id)
        present = usage.present(session, EMPTY, np.zeros(0, ACCOUNT), product, at)
        past = usage_history.of_product(session, EMPTY, HUB, product_id, at)
    rows = {one.meter: one.total for one in present}["rows"]
    assert rows + sum(one.total for one in past["rows"]) == 5
    assert [one.stored for one in past["rows"]][-1] is True


def test_told_usage_closes_the_feature_and_a_correction_opens_it(world: World) -> None:
    product_id, _ = sold(world)
    at = T0 + 5 * DAY
    tell(world, product_id, at, Event("a", "energy", at, Decimal(21)))
    settle(world, product_id, 0, at + 1)
    assert boost(world, product_id, at + 1) == (False, "quota_used")
    with write_session(world.engine) as session:
        wrong = Event("case-1", "energy", at, Decimal(-2))
        for _ in range(2):  # once
            usage_events.correct_usage(
                session, HUB, product_id, wrong, "misread", world.tokens, at + 2
            )
    settle(world, product_id, 0, at + 3)
    assert boost(world, product_id, at + 3) == (True, "plan")


@pytest.fixture
def priced(tmp_path: Path, new_database: str) -> Iterator[World]:
    made = new_world(tmp_path, new_database)
    with write_session(made.engine) as session:
        catalogue.apply(session, HUB, catalogue.parse(PRICED), T0)
    yield made
    made.engine.dispose()


def close(world: World, product_id: str, at: int) -> list[tuple[int, int, int]]:
    with write_session(world.engine) as session:
        archive = Totals(EMPTY)
        drafts = usage_statements.drafts(session, archive, product_id, at)
        rows = usage_statements.close(session, world.tokens, product_id, drafts, at)
        for late in usage_statements.pending(session, 10):
            rows += usage_statements.adjust(session, archive, world.tokens, late, at)
        return [(row.revision, row.used, row.overage) for row in rows]


def billed(world: World) -> list[tuple[int, str]]:
    with read_session(world.engine) as session:
        query = (
            select(Invoice.gross, InvoiceLine.quantity)
            .join(InvoiceLine, InvoiceLine.invoice_id == Invoice.id)
            .order_by(Invoice.sequence)
        )
        return [(gross, quantity) for gross, quantity in session.execute(query)]


def test_a_closed_period_is_billed_once_and_corrected_by_an_adjustment(priced: World) -> None:
    product_id, _ = sold(priced)
    tell(priced, product_id, T0 + 5 * DAY, Event("a", "energy", T0 + 4 * DAY, Decimal(23)))
    after = T0 + 40 * DAY
    assert close(priced, product_id, after) == [(0, 2_300, 300)]
    assert close(priced, product_id, after + 1) == []
    assert billed(priced) == [(150, "3.00")]
    # Usage of the closed period that is told now is an adjustment of now, not another past.
    tell(priced, product_id, after + 2, Event("b", "energy", T0 + 9 * DAY, Decimal(1)))
    assert close(priced, product_id, after + 3) == [(1, 2_400, 400)]
    with write_session(priced.engine) as session:
        wrong = Event("c", "energy", T0 + 9 * DAY, Decimal(-3))
        usage_events.correct_usage(
            session, HUB, product_id, wrong, "misread", priced.tokens, after + 4
        )
    assert close(priced, product_id, after + 5) == [(2, 2_100, 100)]
    assert billed(priced) == [(150, "3.00"), (50, "1.00"), (-150, "-3.00")]
    with read_session(priced.engine) as session:
        kept = usage_statements.shown(session, HUB, product_id)
    assert [row.revision for row in kept] == [0, 1, 2]


@dataclass(slots=True)
class Meddled(MemoryStore):
    """An archive; while it is read for the first time, something happens."""

    deed: Callable[[], object] | None = None

    def range(self, *args: Any, **more: Any) -> RawColumns:
        deed, self.deed = self.deed, None
        if deed is not None:
            deed()
        return MemoryStore.range(self, *args, **more)


def test_what_changes_while_a_period_is_counted_leaves_it_for_the_next_round(
    priced: World,
) -> None:
    product_id, _ = sold(priced)
    tell(priced, product_id, T0 + 5 * DAY, Event("a", "energy", T0 + 4 * DAY, Decimal(23)))
    now = T0 + 40 * DAY
    # Two of the three units beyond the quota are paid for by then.
    store = Meddled(deed=lambda: give(priced, product_id, now, "2", starts_at=T0 + 2 * DAY))
    clock = StatementClock(priced.engine, store, priced.tokens, lambda: now, Metrics("test"))
    overage = []
    for _ in range(3):
        clock.step()
        with read_session(priced.engine) as session:
            overage.append(list(session.scalars(select(UsageStatement.overage))))
        now += ROUND_NS
    assert overage == [[], [100], [100]]
    assert billed(priced) == [(50, "1.00")]


def test_a_former_owner_pays_for_their_last_period_and_nobody_else_for_it(priced: World) -> None:
    product_id, _ = sold(priced)
    cut_at, later = T0 + 10 * DAY, T0 + 20 * DAY
    tell(priced, product_id, T0 + 9 * DAY, Event("a", "energy", T0 + 9 * DAY, Decimal(26)))
    with read_session(priced.engine) as session:
        before = session.scalars(select(Ownership.owner_id)).one()
    other = priced.customer()
    with write_session(priced.engine) as session:
        product = session.get_one(Product, product_id)
        present = session.scalars(select(Ownership)).one()
        cut.change(session, product, present, str(other.owner_id), cut_at)
    tell(priced, product_id, later, Event("b", "energy", later - DAY // 2, Decimal(5)))
    assert close(priced, product_id, cut_at) == []
    assert close(priced, product_id, cut_at + usage_statements.SETTLES_NS) == [(0, 2_600, 600)]
    assert close(priced, product_id, later) == [(0, 0, 0)]  # a month began since
    with read_session(priced.engine) as session:
        (invoice,) = session.scalars(select(Invoice))
        (line,) = session.scalars(select(InvoiceLine))
        assert (invoice.owner_id, invoice.gross) == (before, 300)
        assert (line.starts_at, line.ends_at) == (T0, cut_at)
        assert [one.used for one in usage_statements.shown(session, other, product_id)] == [0]
    # What comes late of that time is the former owner's too; an ownership that was undone is nobody's.
    with write_session(priced.engine) as session:
        row = session.scalars(select(UsageEntry).where(UsageEntry.event_id == "a")).one()
        row.quantity -= 200
        usage_limits.correct(session, product_id, row.meter, row.at, later)
    assert close(priced, product_id, later + DAY) == [(1, 2_400, 400)]
    with write_session(priced.engine) as session:
        ownership.undo(session, HUB, product_id, "wrong", later, priced.tokens)
    close(priced, product_id, later + 40 * DAY)
    with read_session(priced.engine) as session:
        assert 500 not in set(session.scalars(select(UsageStatement.used)))


def test_an_absurd_bill_holds_up_nobody_elses(priced: World) -> None:
    now = T0 + 5 * DAY
    for product_id, used in [
        (sold(priced)[0], Decimal(LARGEST) / 100),
        (sold(priced)[0], Decimal(23)),
    ]:
        tell(priced, product_id, now, Event("a", "energy", now, used))
    now = T0 + 40 * DAY
    clock = StatementClock(priced.engine, EMPTY, priced.tokens, lambda: now, Metrics("test"))
    clock.step()
    assert billed(priced) == [(150, "3.00")]


def test_what_is_given_back_is_taxed_as_it_was(tmp_path: Path, new_database: str) -> None:
    world = new_world(tmp_path, new_database)
    taxed = PRICED.replace("overage =", 'tax = "standard"\ntax_included = false\noverage =')
    with write_session(world.engine) as session:
        catalogue.apply(session, HUB, catalogue.parse(taxed), T0)
    product_id, _ = sold(world)
    at = T0 + 5 * DAY
    tell(world, product_id, at, Event("a", "energy", at, Decimal(24)))
    close(world, product_id, T0 + 40 * DAY)
    with write_session(world.engine) as session:
        (account,) = session.scalars(select(BillingAccount))
        account.region = "XX"
        wrong = Event("c", "energy", at, Decimal(-4))
        args = (session, HUB, product_id)
        usage_events.correct_usage(*args, wrong, "misread", world.tokens, T0 + 40 * DAY)
        other = replace(wrong, quantity=Decimal(-1))
        with pytest.raises(ConflictError, match="another correction"):
            usage_events.correct_usage(*args, other, "again", world.tokens, T0 + 40 * DAY)
    close(world, product_id, T0 + 41 * DAY)
    assert [gross for gross, _ in billed(world)] == [238, -238]
    world.engine.dispose()


def dated(world: World, product_id: str, **dates: int | None) -> None:
    """Set dates of the product's subscription."""
    with write_session(world.engine) as session:
        row = session.scalars(select(Subscription)).one()
        for name, value in dates.items():
            setattr(row, name, value)
        changes.note(session, product_id)


def periods(world: World) -> list[tuple[int, int, int, int]]:
    """Days from `T0` at which statements begin and end, what was used and what was too much."""
    with read_session(world.engine) as session:
        query = select(UsageStatement).order_by(UsageStatement.start, UsageStatement.revision)
        return [
            ((row.start - T0) // DAY, (row.end - T0) // DAY, row.used // 100, row.overage // 100)
            for row in session.scalars(query)
        ]


def test_a_plan_that_ends_leaves_no_usage_unbilled_and_none_counted_twice(priced: World) -> None:
    product_id, _ = sold(priced)  # its months begin in the middle of those of the calendar
    last = renewal("UTC", T0, 1)
    tell(priced, product_id, T0 + DAY, Event("a", "energy", T0 + DAY, Decimal(5)))
    late = last - DAY // 2
    tell(priced, product_id, late, Event("b", "energy", late, Decimal(18)))
    dated(priced, product_id, ends_at=last)
    for days in (1, 40, 80):
        close(priced, product_id, last + days * DAY)
    assert periods(priced)[0] == (0, (last - T0) // DAY, 23, 3)
    assert billed(priced) == [(150, "3.00")]
    ends = [start for start, _, _, _ in periods(priced)[1:]]
    assert ends == [end for _, end, _, _ in periods(priced)[:-1]]  # they touch


def test_usage_before_a_pause_over_the_end_of_a_month_is_billed(priced: World) -> None:
    product_id, _ = sold(priced)
    tell(priced, product_id, T0 + 5 * DAY, Event("a", "energy", T0 + 4 * DAY, Decimal(23)))
    dated(priced, product_id, paused_at=T0 + 20 * DAY)
    at = T0 + 25 * DAY
    assert shown(priced, product_id, at).total == 23
    assert close(priced, product_id, at) == []
    # Neither a pause within a month nor one over its end begins another one.
    close(priced, product_id, T0 + 40 * DAY)
    dated(priced, product_id, resumes_at=T0 + 45 * DAY)
    tell(priced, product_id, T0 + 50 * DAY, Event("b", "energy", T0 + 49 * DAY, Decimal(21)))
    close(priced, product_id, T0 + 80 * DAY)
    assert [row[2:] for row in periods(priced)] == [(23, 3), (21, 1)]
    assert billed(priced) == [(150, "3.00"), (50, "1.00")]


CALLS = (
    METERED.replace(
        "[models.heat-pump.meters]\n",
        '[models.heat-pump.meters]\ncalls = { aggregation = "sum", unit = "1" }\n',
    )
    .replace("[plans.comfort]", '[models.heat-pump.features.help]\nkind = "metered"\nmeter = "calls"\n[plans.comfort]')
    .replace("version = 1\n", "version = 2\n")
    .replace("boost_hours = { value = 20 }", "boost_hours = { value = 20 }, help = { value = 2 }")
)  # fmt: skip


def test_a_meter_without_a_metric_counts_what_programs_tell(world: World) -> None:
    with write_session(world.engine) as session:
        catalogue.apply(session, HUB, catalogue.parse(CALLS), T0, text=CALLS)
        assert not catalogue.apply(session, HUB, catalogue.show(session, HUB), T0, whole=True)
    product_id, _ = sold(world)
    at = T0 + 5 * DAY
    first = Event("a", "calls", at, Decimal(1))
    assert tell(world, product_id, at, first) == [("a", "accepted")]
    again = (first, Event("b", "calls", at, Decimal("0.5")), Event("c", "calls", at, Decimal(1)))
    told = tell(world, product_id, at, *again)
    assert told == [("a", "duplicate"), ("b", "rejected"), ("c", "accepted")]
    settle(world, product_id, 0, at + 1)
    with read_session(world.engine) as session:
        assert decide(load_one(session, product_id), "help", at + 1).code == "quota_used"
        product = session.get_one(Product, product_id)
        present = usage.present(session, EMPTY, np.zeros(0, ACCOUNT), product, at + 1)
    assert [(one.meter, one.total, one.unit) for one in present if one.meter == "calls"] == [
        ("calls", Decimal(2), "1")
    ]


@pytest.mark.parametrize(
    ("meter", "says"),
    [
        ('{ aggregation = "max" }', "is sum"),
        ('{ metric = "temp_c", aggregation = "sum", unit = "1" }', "metric's unit"),
    ],
)
def test_a_meter_is_of_a_metric_or_of_what_is_told(meter: str, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        catalogue.parse(f"[models.x.meters]\ncalls = {meter}\n")


def test_a_plan_that_sells_more_does_not_close_what_it_sells_more_of(world: World) -> None:
    hard = PRICED.replace(', limit = "soft"', "")
    with (
        pytest.raises(InvalidInputError, match=r"boost_hours.*beyond this quota.*limit = .soft"),
        write_session(world.engine) as session,
    ):
        catalogue.apply(session, HUB, catalogue.parse(hard), T0, text=hard)


def test_credit_that_is_given_after_the_overage_pays_for_it_instead_of_a_bill(
    priced: World,
) -> None:
    product_id, _ = sold(priced)
    tell(priced, product_id, T0 + 5 * DAY, Event("a", "energy", T0 + 4 * DAY, Decimal(23)))
    give(priced, product_id, T0 + 6 * DAY, "2")
    found = shown(priced, product_id, T0 + 7 * DAY)
    assert (found.overage, [int(one.left) for one in found.balances]) == (Decimal(1), [0, 0])
    assert close(priced, product_id, T0 + 40 * DAY) == [(0, 2_300, 100)]
    assert billed(priced) == [(50, "1.00")]


def test_time_in_which_the_hub_was_down_is_given_back_once(world: World) -> None:
    product_id, _ = sold(world)
    at = T0 + 10 * DAY
    give(world, product_id, T0 + DAY, "10", ends_at=T0 + 9 * DAY)
    assert shown(world, product_id, at, 0).allowance == Decimal(20)
    down = {"slot": 0, "meter": 0, "start": T0 + 5 * DAY, "total": T0 + 8 * DAY}
    with write_session(world.engine) as session:
        record = {**down, "before": 0, "level": 0, "late": 0}
        assert usage_limits.apply(session, Totals(EMPTY), [record, record], at) == []
    found = shown(world, product_id, at, 0)
    # Three of 31 days of 20 units, rounded up to the hundredth, and credit runs three days longer.
    assert (found.quota, found.outage_credit) == (20, Decimal("1.94"))
    assert found.allowance == Decimal("31.94")
    assert shown(world, product_id, T0 + 13 * DAY, 0).allowance == Decimal("21.94")
