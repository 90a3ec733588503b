"""What Stripe collected is what the books say: desk, ledger and events together, against localstripe."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from entitlements.billing.money import Money
from hub.app.payment_desk import PaymentDesk
from hub.ports.database.billing_tables import Invoice
from hub.ports.database.engine import read_session, write_session
from hub.ports.payment.stripe import StripePayments
from hub.ports.payment.stripe_events import read, verify
from hub.services import billing_accounts, invoices, ledger, means, payments, refunds
from tests.hub.payment.localstripe_server import (
    KEY,
    PATIENCE_S,
    SECRET,
    LocalStripe,
    listening,
    running,
)
from tests.hub.services.money_world import KEY as LEDGER_KEY
from tests.hub.services.money_world import MoneyWorld, line, money_world
from tests.hub.services.service_world import DAY, T0


@pytest.fixture(scope="module")
def localstripe() -> Iterator[LocalStripe]:
    with running() as stripe:
        yield stripe


@pytest.fixture
def money(tmp_path: Path, localstripe: LocalStripe) -> Iterator[MoneyWorld]:
    made = money_world(tmp_path)
    stripe = StripePayments(KEY, url=localstripe.url, methods=("card", "sepa_debit"))
    made.desk = PaymentDesk(made.world.engine, stripe, made.hooks, LEDGER_KEY, lambda: made.at)
    yield made
    stripe.close()
    made.world.engine.dispose()


def household(money: MoneyWorld, customer: str, method: str) -> str:
    owner = money.world.customer().owner_id
    assert owner is not None
    with write_session(money.world.engine) as session:
        billing_accounts.of_owner(session, owner, T0)
        means.given(session, owner, customer, method, money.at, "test")
    return owner


def billed(money: MoneyWorld, owner: str, minor: int, cause: str) -> str:
    with write_session(money.world.engine) as session:
        amount = Money(minor, "EUR")
        invoice = invoices.issue(
            session, money.world.tokens, owner, [line(amount)], money.at, cause=cause
        )
        payments.charge(session, invoice, money.at)
        return invoice.id


def has(localstripe: LocalStripe, customer: str) -> int:
    """What Stripe collected of a customer, less what it paid back."""
    found = localstripe.get("/v1/payment_intents?limit=100")["data"]
    mine = {one["id"]: one for one in found if one["customer"] == customer}
    back = localstripe.get("/v1/refunds?limit=100")["data"]
    paid = sum(one["amount"] for one in mine.values() if one["status"] == "succeeded")
    given = sum(one["amount"] for one in back if one["payment_intent"] in mine)
    return int(paid - given)


def cash(money: MoneyWorld) -> int:
    with read_session(money.world.engine) as session:
        return ledger.balances(session).get(("cash", "EUR"), 0)


def test_pay_late_and_pay_back(money: MoneyWorld, localstripe: LocalStripe) -> None:
    customer = localstripe.customer()
    owner = household(money, customer, localstripe.card(customer, "4000000000000341"))
    invoice = billed(money, owner, 999, "renewal")
    money.desk.step()
    assert (money.failed, cash(money)) == ([("renewal", "card_declined")], 0)
    with write_session(money.world.engine) as session:  # a new card is tried at once
        card = localstripe.card(customer, "4242424242424242")
        assert means.given(session, owner, "", card, money.at, "test") == 1
    money.desk.step()
    assert (money.paid, cash(money), has(localstripe, customer)) == (["renewal"], 999, 999)
    billed(money, owner, -600, "downgrade")
    with write_session(money.world.engine) as session:
        refunds.refund(session, owner, Money(600, "EUR"), money.at, cause="downgrade")
    money.desk.step()
    assert cash(money) == has(localstripe, customer) == 399
    with read_session(money.world.engine) as session:
        assert session.get_one(Invoice, invoice).state == "paid"


def test_a_bank_says_no_later_by_an_event(money: MoneyWorld, localstripe: LocalStripe) -> None:
    with listening(localstripe) as heard:
        customer = localstripe.customer()
        account = localstripe.account(customer, "DE62370400440532013001")
        owner = household(money, customer, account)
        invoice = billed(money, owner, 999, "renewal")
        money.desk.step()
        assert (money.paid, money.failed) == ([], [])
        while not money.failed:
            body, header = heard.get(timeout=PATIENCE_S)
            verify(SECRET, body, header, int(time.time()))
            event = read(body)
            for _ in range(2):  # twice
                if event.answer is not None:
                    with write_session(money.world.engine) as session:
                        payments.record(
                            session, event.attempt_id, event.answer, money.at, money.hooks
                        )
    assert len(money.failed) == 1
    money.at += DAY
    money.desk.step()  # nothing waits any more
    assert (cash(money), has(localstripe, customer)) == (0, 0)
    with read_session(money.world.engine) as session:
        assert session.get_one(Invoice, invoice).state == "open"
