"""Top-ups that are bought: given once when they are paid, and given back."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from hub.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError
from hub.ports.database.billing_tables import Invoice, PaymentAttempt
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.order_tables import TopUpOrder
from hub.ports.database.ownership_tables import Letter
from hub.ports.database.usage_tables import CreditGrant
from hub.ports.payment.port import Answer, Outcome
from hub.services import catalogue, ledger, orders, ownership, payments, renewals, subscriptions
from hub.services.billing_accounts import NoMethodError
from hub.services.caller import HUB
from hub.services.orders import State
from tests.hub.services.agreement_world import DAY, T0, BillingWorld, new_billing_world
from tests.hub.services.test_usage import METERED

OFFERS = """
[plans.topped]
title = "Topped"
[[plans.topped.versions]]
version = 1
price = { EUR = "3.10" }
tax = "standard"
features = { telemetry = {}, boost_hours = { value = 5 } }
[plans.topped.versions.top_ups]
small = { title = "More", meter = "energy", amount = "2.50", price = { EUR = "4.90" }, days = 30 }
yens = { meter = "energy", amount = 1, price = { EUR = "1.00", JPY = 160 } }
"""


@pytest.fixture
def books(tmp_path: Path, new_database: str) -> Iterator[BillingWorld]:
    made = new_billing_world(tmp_path, new_database)
    with write_session(made.world.engine) as session:
        catalogue.apply(session, HUB, catalogue.parse(METERED), T0)
        catalogue.apply(session, HUB, catalogue.parse(OFFERS), T0)
        assert not catalogue.apply(session, HUB, catalogue.show(session, HUB), T0, whole=True)
        args = (session, HUB, made.product_id, "topped", T0, made.world.tokens)
        subscriptions.start(*args, starts_at=T0)
    yield made
    made.check_money()
    made.world.engine.dispose()


def place(books: BillingWorld, name: str = "small") -> str:
    with write_session(books.world.engine) as session:
        args = (session, books.anna, books.product_id, name, books.now, books.world.tokens)
        return orders.place(*args).id


def shown(books: BillingWorld) -> list[tuple[State, bool]]:
    with read_session(books.world.engine) as session:
        found = orders.listed(session, books.anna, books.product_id)
    return [(one.state, one.row.grant_id is not None) for one in found]


def grants(books: BillingWorld) -> list[CreditGrant]:
    with read_session(books.world.engine) as session:
        return list(session.scalars(select(CreditGrant)))


def credit(books: BillingWorld) -> int:
    with read_session(books.world.engine) as session:
        return ledger.credit(session, books.owner_id, "EUR").minor


def test_a_top_up_is_given_once_when_it_is_paid(books: BillingWorld) -> None:
    with write_session(books.world.engine) as session:
        found = orders.offers(session, books.anna, books.product_id, books.now)
    assert [(one.name, one.price.minor, one.plan) for one in found] == [
        ("small", 490, "Topped"),
        ("yens", 100, "Topped"),
    ]
    order = place(books)
    assert (shown(books), grants(books)) == ([(State.WAITING, False)], [])
    books.now += 60 * 10**9
    books.step()
    assert shown(books) == [(State.GIVEN, True)]
    (grant,) = grants(books)
    assert (grant.cause, grant.amount, grant.decimals) == (f"order:{order}", 250, 2)
    assert (grant.starts_at, grant.ends_at) == (books.now, books.now + 30 * DAY)
    (invoice,) = books.invoices()
    assert (invoice.gross, invoice.state, invoice.cause) == (490, "paid", f"order:{order}")
    with write_session(books.world.engine) as session:  # the provider says it again
        for attempt in session.scalars(select(PaymentAttempt.id)).all():
            hooks = renewals.hooks(books.world.tokens)
            payments.record(session, attempt, Answer(Outcome.PAID, "again"), books.now, hooks)
        orders.on_paid(session, session.get_one(Invoice, invoice.id), books.now, books.world.tokens)
    assert len(grants(books)) == 1


def test_a_payment_that_fails_gives_nothing_and_a_late_one_is_credit(books: BillingWorld) -> None:
    books.answers = lambda _invoice, _attempt: False
    place(books)
    books.step()
    assert (shown(books), grants(books)) == ([(State.NOT_PAID, False)], [])
    with read_session(books.world.engine) as session:
        assert "order.not_paid" in set(session.scalars(select(Letter.code)))
    with write_session(books.world.engine) as session:
        (attempt,) = session.scalars(select(PaymentAttempt.id)).all()
        hooks = renewals.hooks(books.world.tokens)
        payments.record(session, attempt, Answer(Outcome.PAID, "late"), books.now, hooks)
    assert (grants(books), credit(books)) == ([], 490)
    books.now += 1
    place(books)  # paid from credit, at once
    assert (shown(books)[0], credit(books)) == ((State.GIVEN, True), 0)


def test_who_has_the_product_no_more_gets_the_money_back(books: BillingWorld) -> None:
    place(books)
    with write_session(books.world.engine) as session:
        ownership.release(session, books.anna, books.product_id, books.now + 1)
    books.now += 2
    books.step()
    books.step()
    with read_session(books.world.engine) as session:
        (row,) = session.scalars(select(TopUpOrder))
        kinds = [one.kind for one in session.scalars(select(PaymentAttempt))]
    assert (row.grant_id, row.refunded_at) == (None, books.now)
    assert (sorted(kinds), grants(books), credit(books)) == (["charge", "refund"], [], 0)


def test_a_refund_ends_what_was_given_once(books: BillingWorld) -> None:
    order = place(books)
    args = (order, "by mistake", books.now, books.world.tokens)
    with write_session(books.world.engine) as session:
        with pytest.raises(ConflictError, match="not paid"):
            orders.refund(session, HUB, *args)
        with pytest.raises(ForbiddenError):
            orders.refund(session, books.anna, *args)
    books.step()
    books.now += DAY
    for _ in range(2):
        with write_session(books.world.engine) as session:
            orders.refund(session, HUB, order, "by mistake", books.now, books.world.tokens)
    books.step()
    assert shown(books) == [(State.REFUNDED, True)]
    assert grants(books)[0].ends_at == books.now
    assert [gross for gross, _ in books.grosses()] == [490, -490]


def paid_back(books: BillingWorld) -> int:
    with read_session(books.world.engine) as session:
        found = select(PaymentAttempt.amount).where(
            PaymentAttempt.kind == "refund", PaymentAttempt.outcome == "paid"
        )
        return sum(session.scalars(found))


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.integers(-1, 500) | st.just(490), min_size=1, max_size=5))
def test_what_is_given_back_in_parts_is_never_more_than_came_in(
    books: BillingWorld, totals: list[int]
) -> None:
    order = place(books)
    books.step()
    grossed, earlier, back = len(books.grosses()), paid_back(books), 0
    parts = []
    for total in [*totals, *totals, 490]:
        books.now += 1
        args = (order, "late", books.now, books.world.tokens)
        with write_session(books.world.engine) as session:
            if not 0 < total <= 490:
                with pytest.raises(InvalidInputError, match="cannot be given back"):
                    orders.refund(session, HUB, *args, total=total)
            elif total < back:
                with pytest.raises(ConflictError, match="given back before"):
                    orders.refund(session, HUB, *args, total=total)
            else:
                row = orders.refund(session, HUB, *args, total=total)
                assert (row.refunded_at is not None) == (total == 490)
                parts += [back - total] if total > back else []
                back = total
        books.step()
        assert (paid_back(books) - earlier, credit(books)) == (back, 0)
        with read_session(books.world.engine) as session:
            (one,) = [
                one
                for one in orders.listed(session, books.anna, books.product_id)
                if one.row.id == order
            ]
            ended = session.get_one(CreditGrant, one.row.grant_id).ends_at == one.row.refunded_at
        assert one.given_back.minor == back
        assert ((one.state is State.REFUNDED), ended) == (back == 490, back == 490)
    assert [gross for gross, _ in books.grosses()[grossed:]] == parts
    assert sum(parts) == -490
    books.check_money()


def test_what_is_not_on_offer_cannot_be_ordered(books: BillingWorld) -> None:
    with pytest.raises(NotFoundError, match="No top-up huge"):
        place(books, "huge")
    other = books.world.customer()
    with (
        write_session(books.world.engine) as session,
        pytest.raises(NotFoundError),
    ):
        orders.place(session, other, books.product_id, "small", books.now, books.world.tokens)
    books.pay_by(None)
    with pytest.raises(NoMethodError):
        place(books)
    assert (books.invoices(), shown(books)) == ([], [])


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('meter = "energy", amount = "2.50"', 'meter = "x", amount = 1', "no model has a meter"),
        ('amount = "2.50"', 'amount = "2.505"', "so many decimals"),
        ('amount = "2.50"', "amount = 0", "above zero"),
        ('amount = "2.50"', "amount = 2.5", "above zero"),
        ('price = { EUR = "4.90" }', 'price = { JPY = "490" }', "no amount in EUR"),
    ],
)
def test_offers_that_cannot_be(books: BillingWorld, old: str, new: str, says: str) -> None:
    text = OFFERS.replace("version = 1", "version = 2").replace(old, new)
    with (
        pytest.raises(InvalidInputError, match=says),
        write_session(books.world.engine) as session,
    ):
        catalogue.apply(session, HUB, catalogue.parse(text), T0, text=text)


def test_amounts_are_exact(books: BillingWorld) -> None:
    place(books)
    with read_session(books.world.engine) as session:
        (one,) = orders.listed(session, books.anna, books.product_id)
    assert (one.amount, one.unit) == (Decimal("2.50"), "W.h")
