"""Invoices once for each cause, numbers without gaps, and what is paid, credited and given back."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from entitlements.billing.money import Money
from hub.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError
from hub.ports.database.billing_tables import Invoice, LedgerEntry, LedgerSeal, PaymentAttempt
from hub.ports.database.engine import read_session, write_session
from hub.ports.payment.port import Answer, Outcome
from hub.services import (
    billing_accounts,
    catalogue,
    invoice_book,
    invoice_closing,
    invoices,
    ledger,
    ledger_seals,
    payments,
    prices,
    refunds,
    subscriptions,
)
from hub.services.caller import HUB
from hub.services.ledger import Account
from tests.hub.services.money_world import KEY, PRICED, MoneyWorld, line, money_world
from tests.hub.services.service_world import DAY, T0

YEAR = 366 * DAY
DECLINED = Answer(Outcome.FAILED, "", "card_declined")


@pytest.fixture
def money(tmp_path: Path, new_database: str) -> MoneyWorld:
    return money_world(tmp_path, new_database)


def euros(minor: int) -> Money:
    return Money(minor, "EUR")


def issued(
    money: MoneyWorld, owner: str, minor: int, cause: str, at: int = T0, *, due: int | None = None
) -> str:
    with write_session(money.world.engine) as session:
        invoice = invoices.issue(
            session, money.world.tokens, owner, [line(euros(minor))], at, cause=cause
        )
        if due is not None:
            payments.charge(session, invoice, due)
        return invoice.id


def state(money: MoneyWorld, invoice_id: str) -> str:
    with read_session(money.world.engine) as session:
        return session.get_one(Invoice, invoice_id).state


def credit(money: MoneyWorld, owner: str) -> int:
    with read_session(money.world.engine) as session:
        return ledger.credit(session, owner, "EUR").minor


def household(money: MoneyWorld) -> str:
    owner = money.world.customer().owner_id
    assert owner is not None
    return owner


def test_an_invoice_is_issued_once_for_its_cause(money: MoneyWorld) -> None:
    owner = household(money)
    first = issued(money, owner, 999, "renewal:s1:1")
    assert issued(money, owner, 555, "renewal:s1:1") == first
    with read_session(money.world.engine) as session:
        invoice = session.get_one(Invoice, first)
        assert (invoice.net, invoice.tax, invoice.gross) == (839, 160, 999)
        assert (invoice.number, invoice.state, invoice.tax_title) == ("2030-000001", "open", "USt.")
        (one,) = invoice_book.lines(session, invoice)
        assert (one.net, one.tax, one.tax_ppm, one.quantity) == (839, 160, 190_000, "1")
        assert invoices.owed(session, invoice) == euros(999)


def test_numbers_have_no_gaps_and_begin_anew_each_year(money: MoneyWorld) -> None:
    owner = household(money)
    with (
        pytest.raises(InvalidInputError, match="pays in EUR"),
        write_session(money.world.engine) as session,
    ):
        invoices.issue(
            session, money.world.tokens, owner, [line(Money(5, "USD"))], T0, cause="wrong"
        )
    for number in range(3):
        issued(money, owner, 100, f"a{number}")
    issued(money, owner, 100, "b", T0 + YEAR)
    with read_session(money.world.engine) as session:
        numbers = list(session.scalars(select(Invoice.number).order_by(Invoice.number)))
    assert numbers == ["2030-000001", "2030-000002", "2030-000003", "2031-000001"]


def test_a_payment_closes_an_invoice_and_says_so_once(money: MoneyWorld) -> None:
    owner = household(money)
    invoice = issued(money, owner, 999, "renewal", due=T0 + DAY)
    assert money.desk.step() == 0  # not due
    money.at = T0 + DAY
    assert money.desk.step() == 1
    assert (state(money, invoice), money.paid) == ("paid", ["renewal"])
    attempt = money.provider.asked[0].attempt_id
    with write_session(money.world.engine) as session:  # an event that says the same
        again = Answer(Outcome.PAID, "ref")
        assert not payments.record(session, attempt, again, money.at, money.hooks)
        payments.charge(session, session.get_one(Invoice, invoice), money.at)
    money.desk.step()
    assert (len(money.provider.asked), money.paid) == (1, ["renewal"])


def test_a_declined_payment_is_told_and_tried_again(money: MoneyWorld) -> None:
    money.provider.answers = [DECLINED]
    invoice = issued(money, household(money), 999, "renewal", due=T0)
    money.desk.step()
    assert (state(money, invoice), money.failed) == ("open", [("renewal", "card_declined")])
    with write_session(money.world.engine) as session:
        payments.charge(session, session.get_one(Invoice, invoice), T0 + DAY)
    money.at = T0 + DAY
    money.desk.step()
    assert (state(money, invoice), money.paid) == ("paid", ["renewal"])
    assert len({ask.attempt_id for ask in money.provider.asked}) == 2


def test_an_attempt_without_an_answer_is_asked_for_again_as_the_same(money: MoneyWorld) -> None:
    money.provider.answers = [None, None]
    issued(money, household(money), 999, "renewal", due=T0)
    for hours in range(3):
        money.at = T0 + hours * 3_600 * 10**9
        money.desk.step()
    assert len({ask.attempt_id for ask in money.provider.asked}) == 1
    assert (money.paid, money.provider.money) == (["renewal"], {"EUR": 999})


def test_a_crash_before_the_answer_is_recorded_collects_once(money: MoneyWorld) -> None:
    issued(money, household(money), 999, "renewal", due=T0)
    with write_session(money.world.engine) as session:
        (request,) = payments.begin(session, T0)
    assert request.ask is not None
    money.provider.charge(request.ask)  # type: ignore[arg-type]  # and then the power fails
    money.at = T0 + DAY
    money.desk.step()
    assert (money.provider.money, money.paid) == ({"EUR": 999}, ["renewal"])


def test_a_negative_total_pays_for_what_comes_next(money: MoneyWorld) -> None:
    owner = household(money)
    issued(money, owner, -1_500, "downgrade")
    assert credit(money, owner) == 1_500
    covered = issued(money, owner, 999, "next", due=T0)
    assert (state(money, covered), credit(money, owner)) == ("paid", 501)
    money.desk.step()
    assert (money.paid, money.provider.asked) == (["next"], [])
    issued(money, owner, 999, "third", due=T0)
    money.desk.step()
    assert money.provider.money == {"EUR": 498}


def test_credit_is_paid_back_to_where_it_came_from(money: MoneyWorld) -> None:
    owner = household(money)
    for cause in ("a", "b"):
        issued(money, owner, 999, cause, due=T0)
    money.desk.step()
    issued(money, owner, -1_500, "withdrawal")
    with write_session(money.world.engine) as session:
        made = refunds.refund(session, owner, euros(1_500), T0, cause="withdrawal:1")
        assert sorted(one.amount for one in made) == [501, 999]
        again = refunds.refund(session, owner, euros(1_500), T0, cause="withdrawal:1")
        with pytest.raises(ConflictError):  # of a cause of its own, and there is nothing left
            refunds.refund(session, owner, euros(1_500), T0, cause="withdrawal")
        assert [one.id for one in again] == [one.id for one in made]
    assert credit(money, owner) == 0
    money.desk.step()
    assert money.provider.money == {"EUR": 498}


def test_a_refund_that_fails_is_credit_again(money: MoneyWorld) -> None:
    owner = household(money)
    issued(money, owner, 999, "a", due=T0)
    money.desk.step()
    issued(money, owner, -999, "withdrawal")
    with write_session(money.world.engine) as session:
        (made,) = refunds.refund(session, owner, euros(999), T0, cause="withdrawal")
        attempt = made.id
    money.desk.step()
    assert (credit(money, owner), money.provider.money) == (0, {"EUR": 0})
    with write_session(money.world.engine) as session:  # the bank sent it back; events are late
        for outcome, news in ((Outcome.FAILED, True), (Outcome.PAID, False)):
            answer = Answer(outcome, "r")
            assert payments.record(session, attempt, answer, T0, money.hooks) is news
            assert ledger.credit(session, owner, "EUR") == euros(999)
    assert money.failed == []


def test_what_nobody_paid_is_not_paid_back(money: MoneyWorld) -> None:
    owner = household(money)
    issued(money, owner, -500, "goodwill")
    with write_session(money.world.engine) as session:
        with pytest.raises(ConflictError, match=r"5\.00 EUR to its credit"):
            refunds.refund(session, owner, euros(501), T0, cause="x")
        with pytest.raises(ConflictError, match="stays to its credit"):
            refunds.refund(session, owner, euros(500), T0, cause="x")
    assert credit(money, owner) == 500


def test_an_invoice_that_is_taken_back(money: MoneyWorld) -> None:
    owner = household(money)
    issued(money, owner, -400, "credit")
    invoice = issued(money, owner, 999, "renewal", due=T0)
    with write_session(money.world.engine) as session:
        invoice_closing.void(session, HUB, invoice, T0)
        invoice_closing.void(session, HUB, invoice, T0)
    assert (state(money, invoice), credit(money, owner)) == ("void", 400)
    money.desk.step()
    assert money.provider.asked == []
    with write_session(money.world.engine) as session:
        row = session.get_one(Invoice, invoice)
        with pytest.raises(ConflictError, match="is void"):
            payments.charge(session, row, T0)
        with pytest.raises(ConflictError, match="is void, not open"):
            invoice_closing.write_off(session, HUB, invoice, T0)


def test_nothing_is_closed_while_it_is_being_collected(money: MoneyWorld) -> None:
    money.provider.answers = [None]
    invoice = issued(money, household(money), 999, "renewal", due=T0)
    money.desk.step()
    with (
        write_session(money.world.engine) as session,
        pytest.raises(ConflictError, match="being collected"),
    ):
        invoice_closing.void(session, HUB, invoice, T0)


def test_what_was_given_up_can_still_be_paid(money: MoneyWorld) -> None:
    invoice = issued(money, household(money), 999, "renewal")
    with write_session(money.world.engine) as session:
        payments.charge(session, invoice_closing.write_off(session, HUB, invoice, T0), T0)
    assert state(money, invoice) == "uncollectible"
    money.desk.step()
    assert (state(money, invoice), money.paid) == ("paid", ["renewal"])
    with read_session(money.world.engine) as session:
        assert ledger.balances(session)["loss", "EUR"] == 0


def test_a_late_success_after_a_failure_is_money_all_the_same(money: MoneyWorld) -> None:
    owner = household(money)
    money.provider.answers = [DECLINED]
    invoice = issued(money, owner, 999, "renewal", due=T0)
    money.desk.step()
    late = money.provider.asked[0].attempt_id
    with write_session(money.world.engine) as session:
        payments.charge(session, session.get_one(Invoice, invoice), T0)
    money.desk.step()
    with write_session(money.world.engine) as session:
        assert payments.record(session, late, Answer(Outcome.PAID, "r"), T0, money.hooks)
    assert (money.paid, credit(money, owner)) == (["renewal"], 999)


def test_tax_is_that_of_the_region_and_the_class(money: MoneyWorld) -> None:
    caller = money.world.customer()
    owner = caller.owner_id
    assert owner is not None

    def rate(**changes: str) -> int:
        with write_session(money.world.engine) as session:
            billing_accounts.change(session, caller, None, T0, dict(changes))
            return invoices.tax_ppm(session, owner, "standard", T0)

    assert rate() == 190_000
    assert rate(region="CH") == 81_000
    assert rate(region="FR") == 200_000
    assert rate(tax_id="FR40303265045") == 0
    assert rate(region="US") == 0


def test_the_currency_stands_while_money_is_owed(money: MoneyWorld) -> None:
    caller = money.world.customer()
    assert caller.owner_id is not None
    issued(money, caller.owner_id, 999, "renewal")
    with write_session(money.world.engine) as session:
        with pytest.raises(ConflictError, match="pays in EUR"):
            billing_accounts.change(session, caller, None, T0, {"currency": "JPY"})
        with pytest.raises(InvalidInputError, match="no currency"):
            billing_accounts.change(session, caller, None, T0, {"currency": "XYZ"})
        with pytest.raises(InvalidInputError, match="no time zone"):
            billing_accounts.change(session, caller, None, T0, {"zone": "Mars/Base"})


def test_other_peoples_invoices_do_not_exist(money: MoneyWorld) -> None:
    mine, other = money.world.customer(), money.world.customer()
    assert mine.owner_id is not None
    invoice = issued(money, mine.owner_id, 999, "renewal")
    with read_session(money.world.engine) as session:
        assert invoice_book.one(session, mine, invoice).id == invoice
        assert [one.id for one in invoice_book.of_household(session, mine, None, T0)] == [invoice]
        assert invoice_book.of_household(session, other, None, T0) == []
        with pytest.raises(NotFoundError):
            invoice_book.one(session, other, invoice)
        with pytest.raises(NotFoundError):
            invoice_book.of_household(session, other, mine.owner_id, T0)
        with pytest.raises(ForbiddenError):
            invoice_closing.void(session, mine, invoice, T0)


def test_the_ledger_is_sealed_and_tells_of_tampering(money: MoneyWorld) -> None:
    owner = household(money)
    for cause in ("a", "b", "c"):
        issued(money, owner, 999, cause, due=T0)
    money.desk.step()
    money.desk.step()
    public = KEY.public_key()

    def check(session: Session) -> tuple[str, ...]:
        return ledger_seals.verify(session, public).wrong

    with read_session(money.world.engine) as session:
        found = ledger_seals.verify(session, public)
        assert (found.wrong, found.sealed, found.entries) == ((), found.entries, 15)
        assert session.scalars(select(LedgerSeal)).all()
        assert not ledger_seals.verify(session, public, (found.entries, found.digest)).wrong
        other = ledger_seals.verify(session, public, (4, found.digest)).wrong
        assert other == ("Entry 4 is not the one that was noted.",)
        assert sum(ledger.balances(session).values()) == 0
    with write_session(money.world.engine) as session:
        session.execute(update(LedgerEntry).where(LedgerEntry.id == 2).values(amount=-1))
        assert check(session) == (
            "Entry 2 was changed.",
            "The posting at entry 1 does not add up to zero in EUR.",
        )
        session.rollback()
        session.execute(update(LedgerSeal).values(signature=b"x" * 64))
        assert "signature" in check(session)[0]
        session.rollback()
        newest = session.get_one(LedgerEntry, 15)
        session.delete(newest)
        session.flush()
        assert any("seal over entry 15" in one for one in check(session))
        session.rollback()


def test_credit_without_an_invoice(money: MoneyWorld) -> None:
    owner = household(money)
    with write_session(money.world.engine) as session:
        for _ in range(2):
            invoices.give_credit(session, HUB, owner, euros(500), T0, cause="case:1")
        with pytest.raises(InvalidInputError):
            invoices.give_credit(session, HUB, owner, Money(5, "JPY"), T0, cause="case:2")
        assert ledger.balance(session, owner, Account.GOODWILL, "EUR") == euros(500)
    assert credit(money, owner) == 500


def test_one_attempt_waits_and_the_earlier_time_counts(money: MoneyWorld) -> None:
    invoice = issued(money, household(money), 999, "renewal", due=T0 + 9 * DAY)
    with write_session(money.world.engine) as session:
        payments.charge(session, session.get_one(Invoice, invoice), T0 + 3 * DAY)
        payments.charge(session, session.get_one(Invoice, invoice), T0 + 5 * DAY)
        (waiting,) = session.scalars(select(PaymentAttempt)).all()
        assert waiting.due_at == T0 + 3 * DAY


def test_prices_of_the_catalogue(money: MoneyWorld) -> None:
    with write_session(money.world.engine) as session:
        version = subscriptions.plan_version(session, "comfort", None)
        price = prices.of_version(session, version.id)
        assert (price.amount("EUR"), price.amount("JPY")) == (euros(999), Money(1_200, "JPY"))
        assert (price.tax_class, price.inclusive, price.interval_months) == ("standard", True, 1)
        shown = catalogue.show(session, HUB)
        assert not catalogue.apply(session, HUB, shown, T0, whole=True)


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        ('EUR = "9.99"', "EUR = 9.99", "not exact"),
        ('EUR = "9.99"', 'EUR = "9.995"', "more than 2 decimals"),
        ('EUR = "9.99"', 'EURO = "9.99"', "ISO 4217"),
        ('tax = "standard"', 'tax = "luxury"', "no rate of the class 'luxury'"),
        ('tax = "standard"', 'overage = { x = { EUR = "1", JPY = 1 } }', "no model has a meter"),
        ('tax = "standard"', 'overage = { x = { EUR = "1" } }', "no amount in JPY"),
        ('standard = "8.1"', 'standard = "101"', "a percentage"),
        ("[taxes.CH]", "[taxes.swiss]", "pattern"),
    ],
)
def test_prices_that_cannot_be(money: MoneyWorld, old: str, new: str, wrong: str) -> None:
    text = PRICED.replace("version = 1", "version = 3").replace(old, new)
    assert text != PRICED
    with (
        pytest.raises(InvalidInputError, match=wrong),
        write_session(money.world.engine) as session,
    ):
        catalogue.apply(session, HUB, catalogue.parse(text), T0, text=text)


def test_a_new_version_shows_how_its_price_differs(money: MoneyWorld) -> None:
    text = PRICED.replace("version = 1", "version = 3").replace("9.99", "10.99")
    with write_session(money.world.engine) as session:
        difference = catalogue.apply(session, HUB, catalogue.parse(text), T0, dry_run=True)
    terms = {str(edit.thing): edit.terms for edit in difference.edits}
    assert terms["plan comfort version 3"] == {"price EUR": ("9.99", "10.99")}


def test_an_answer_that_cannot_be_recorded_holds_up_no_other(money: MoneyWorld) -> None:
    owner = household(money)
    wrong = issued(money, owner, 100, "wrong", due=T0)
    right = issued(money, owner, 200, "right", due=T0)
    paid = money.desk.hooks.on_paid

    def stumbles(session: Session, invoice: Invoice, at: int) -> None:
        if invoice.id == wrong:
            raise ArithmeticError("what follows cannot be done")
        paid(session, invoice, at)

    money.desk.hooks = replace(money.desk.hooks, on_paid=stumbles)
    money.desk.step()
    assert (state(money, wrong), state(money, right)) == ("open", "paid")
    money.desk.hooks = replace(money.desk.hooks, on_paid=paid)
    money.at += DAY
    money.desk.step()
    assert (state(money, wrong), money.provider.money) == ("paid", {"EUR": 300})
