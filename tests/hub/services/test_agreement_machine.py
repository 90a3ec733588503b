"""Any life of an agreement: one run, split anywhere, with answers in any order, leads to the same.

A script of acts at instants is lived through twice: in one world time goes on act by act, in the other
it also stops at instants in between, and answers come twice. Both must have billed the same, for the same
time, and grant the same; no period is billed twice or skipped, and every unit of money is accounted for.
"""

import copy
import random
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from entitlements.decision import decide
from entitlements.status import Status, boundaries, status
from entitlements.transitions import follows
from hub.errors import HubError
from hub.ports.database.agreement_tables import Agreement, AgreementBill
from hub.ports.database.billing_tables import Invoice, InvoiceLine, PaymentAttempt
from hub.ports.database.engine import read_session, write_session
from hub.ports.payment.port import Answer, Outcome
from hub.services import (
    agreements,
    cancellations,
    outages,
    payments,
    plan_changes,
    renewals,
    subscribing,
)
from hub.services.facts import load_one
from hub.services.tokens import Tokens
from tests.hub.database.sqlite_template import open_sharing
from tests.hub.services.agreement_world import DAY, T0, BillingWorld, new_billing_world

ACTS = (
    "subscribe",
    "trial",
    "full",
    "basic",
    "yearly",
    "free",
    "addon",
    "no_addon",
    "keep",
    "pause",
    "pause_for",
    "resume",
    "cancel",
    "cancel_now",
    "undo",
    "withdraw",
    "pay",
    "no_card",
    "card",
    "outage",
)


@dataclass(frozen=True)
class Step:
    """After so many days somebody does something; until then payments come, or fail."""

    days: int
    act: str
    pays: bool


steps = st.lists(
    st.builds(Step, st.sampled_from((0, 1, 4, 13, 40, 70)), st.sampled_from(ACTS), st.booleans()),
    min_size=1,
    max_size=7,
)


def do(books: BillingWorld, act: str) -> None:
    """Do it, if the state permits it; what is refused changes nothing."""
    if act in {"card", "no_card"}:
        books.pay_by("card" if act == "card" else None)
        return
    about = (books.anna, books.product_id)
    tokens, at = books.world.tokens, books.now
    acts: dict[str, Callable[[Any], object]] = {
        "subscribe": lambda s: subscribing.subscribe(s, *about, "full", at, tokens, trial=False),
        "trial": lambda s: subscribing.subscribe(s, *about, "full", at, tokens),
        "addon": lambda s: plan_changes.set_addon(s, *about, "more-boost", 3, at, tokens),
        "no_addon": lambda s: plan_changes.set_addon(s, *about, "more-boost", 0, at, tokens),
        "keep": lambda s: plan_changes.undo_change(s, *about, at),
        "pause": lambda s: cancellations.pause(s, *about, at),
        "pause_for": lambda s: cancellations.pause(s, *about, at, resumes_at=at + 20 * DAY),
        "resume": lambda s: cancellations.resume(s, *about, at),
        "cancel": lambda s: cancellations.cancel(s, *about, at, tokens),
        "cancel_now": lambda s: cancellations.cancel(s, *about, at, tokens, when="now"),
        "undo": lambda s: cancellations.undo_cancel(s, *about, at),
        "withdraw": lambda s: cancellations.withdraw(s, *about, at, tokens),
        "pay": lambda s: renewals.pay(s, *about, at, tokens),
        "outage": lambda s: outages.note(s, 0, at - 3 * DAY, at),
    }
    with suppress(HubError), write_session(books.world.engine) as session:
        if act in acts:
            acts[act](session)
        else:
            plan_changes.change(session, *about, act, at, tokens)
    books.step()


def live_through(
    books: BillingWorld, script: Sequence[Step], between: Callable[[int, int], Sequence[int]]
) -> None:
    for step in script:
        pays = step.pays
        books.answers = lambda _invoice, _attempt, pays=pays: pays  # type: ignore[misc]
        end = books.now + step.days * DAY
        for stop in between(books.now, end):
            books.run(stop)
            say_again(books)
        books.run(end)
        do(books, step.act)
        check(books)
    books.run(books.now + 35 * DAY)
    check(books)


def say_again(books: BillingWorld) -> None:
    """The provider says again, and in another order, what came of attempts."""
    with write_session(books.world.engine) as session:
        answered = session.scalars(
            select(PaymentAttempt)
            .where(PaymentAttempt.outcome.in_(("paid", "failed")))
            .order_by(PaymentAttempt.due_at.desc())
        ).all()
        for row in answered:
            payments.record(
                session,
                row.id,
                Answer(Outcome(str(row.outcome)), row.reference or ""),
                books.now,
                renewals.hooks(books.world.tokens),
            )


def check(books: BillingWorld) -> None:
    books.check_money()
    with read_session(books.world.engine) as session:
        facts = load_one(session, books.product_id)
        for at in (books.now, books.now + DAY):
            assert decide(facts, "frost_protection", at).allowed  # whatever is owed
        for agreement in session.scalars(select(Agreement)):
            check_periods(agreements.bills(session, agreement))
            waiting = agreements.waiting_bill(session, agreement)
            assert waiting is None or agreement.closed_at is None
    for one in facts.subscriptions:
        edges = sorted({edge for edge in boundaries(one) if edge > books.now})
        for before, after in pairwise([books.now, *edges]):
            was, now = status(one, before), status(one, after)
            assert was is now or follows(was, now), f"{was} to {now} by time alone: {one}"


def check_periods(bills: Sequence[tuple[AgreementBill, Invoice]]) -> None:
    """No stretch is billed twice as a period, and the next begins where the last paid one ended."""
    spans = [
        bill.wanted["period"][:2]
        for bill, invoice in bills
        if bill.kind in {"first", "period"} and invoice.state == "paid" and bill.wanted
    ]
    for before, after in pairwise(spans):
        assert after[0] >= before[1] or after[0] >= before[0] + DAY // 2
    assert len({start for start, _ in spans}) == len(spans)


def told(books: BillingWorld) -> list[object]:
    """Everything that matters about what came of a life, without ids."""
    with read_session(books.world.engine) as session:
        invoices = session.scalars(select(Invoice).order_by(Invoice.sequence)).all()
        lines = [
            [
                (row.kind, row.code, row.net, row.tax, row.starts_at, row.ends_at)
                for row in session.scalars(
                    select(InvoiceLine)
                    .where(InvoiceLine.invoice_id == one.id)
                    .order_by(InvoiceLine.position)
                )
            ]
            for one in invoices
        ]
        facts = load_one(session, books.product_id)
    terms = sorted(
        (
            one.start,
            one.plan,
            one.paid_until or 0,
            one.trial_end or 0,
            one.ends_at or 0,
            one.cancelled_at or 0,
            one.withdrawn_at or 0,
            one.quantity,
        )
        for one in facts.subscriptions
    )
    return [[(one.issued_at, one.gross, one.state) for one in invoices], lines, terms]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BillingWorld]:
    made = new_billing_world(tmp_path_factory.mktemp("life"))
    yield made
    made.world.engine.dispose()


@contextmanager
def life(template: BillingWorld) -> Iterator[BillingWorld]:
    """A world of its own, as the template was; its ids are the same in every life."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "hub.db"
        with sqlite3.connect(str(template.world.engine.url.database)) as source:
            source.execute("VACUUM INTO ?", (str(file),))
        source.close()
        engine = open_sharing(f"sqlite:///{file}")
        tokens = Tokens(b"pepper" * 4, random.Random(11).randbytes)  # noqa: S311  the same in every life
        yield copy.copy(template).moved(replace(template.world, engine=engine, tokens=tokens))
        engine.dispose()


@settings(max_examples=25, deadline=None)
@given(script=steps, cuts=st.lists(st.integers(1, 69 * 24), max_size=3))
@example(
    script=[Step(0, "subscribe", True), Step(40, "pay", False), Step(4, "full", True)],
    cuts=[5, 700],
)
@example(
    script=[Step(0, "trial", True), Step(13, "basic", True), Step(40, "pause_for", True)], cuts=[30]
)
@example(
    script=[Step(0, "subscribe", True), Step(40, "outage", False), Step(4, "pay", True)],
    cuts=[720, 800],
)
def test_a_split_life_is_the_same_life(
    template: BillingWorld, script: list[Step], cuts: list[int]
) -> None:
    def split(start: int, end: int) -> list[int]:
        hours = sorted(start + hour * DAY // 24 for hour in cuts)
        return [at for at in hours if at < end]

    with life(template) as whole, life(template) as parts:
        live_through(whole, script, lambda _start, _end: ())
        live_through(parts, script, split)
        assert told(parts) == told(whole)


def test_a_hub_that_sleeps_bills_what_it_would_have_billed(template: BillingWorld) -> None:
    with life(template) as awake, life(template) as asleep:
        for books in (awake, asleep):
            do(books, "subscribe")
        awake.run(T0 + 100 * DAY)
        asleep.now = T0 + 100 * DAY
        asleep.step()
        assert told(asleep) == told(awake)
        assert asleep.status() is Status.ACTIVE
