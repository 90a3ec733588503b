"""Agreements from their first payment to their end, with what is billed and what is granted."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from entitlements.billing.periods import renewal
from entitlements.decision import decide
from entitlements.status import Status, covered_until, grace_until, status
from hub.errors import ConflictError, InvalidInputError, NotFoundError
from hub.ports.database.agreement_tables import Agreement, Promotion
from hub.ports.database.billing_tables import Invoice, InvoiceLine, PaymentAttempt
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.ownership_tables import Letter, Subscription
from hub.ports.database.product_tables import Product
from hub.services import (
    agreement_view,
    agreements,
    billing_accounts,
    cancellations,
    cut,
    ledger,
    outages,
    ownership,
    plan_changes,
    promotions,
    renewals,
    subscribing,
    subscriptions,
)
from hub.services.caller import HUB, Caller
from hub.services.facts import load_one
from hub.services.parties import open_ownership
from hub.services.past import load_known
from tests.hub.services.agreement_world import DAY, T0, BillingWorld, new_billing_world

MONTH = renewal("UTC", T0, 1)


@pytest.fixture
def books(tmp_path: Path, new_database: str) -> Iterator[BillingWorld]:
    made = new_billing_world(tmp_path, new_database)
    yield made
    made.check_money()
    made.world.engine.dispose()


def subscribe(books: BillingWorld, plan: str = "full", **terms: object) -> None:
    terms.setdefault("trial", False)
    with write_session(books.world.engine) as session:
        subscribing.subscribe(
            session,
            books.anna,
            books.product_id,
            plan,
            books.now,
            books.world.tokens,
            **terms,  # type: ignore[arg-type]
        )
    books.step()


def change(books: BillingWorld, plan: str, **terms: object) -> None:
    with write_session(books.world.engine) as session:
        plan_changes.change(
            session,
            books.anna,
            books.product_id,
            plan,
            books.now,
            books.world.tokens,
            **terms,  # type: ignore[arg-type]
        )
    books.step()


def addon(books: BillingWorld, quantity: int) -> None:
    with write_session(books.world.engine) as session:
        plan_changes.set_addon(
            session,
            books.anna,
            books.product_id,
            "more-boost",
            quantity,
            books.now,
            books.world.tokens,
        )
    books.step()


def cancel(books: BillingWorld, when: str = "period_end") -> None:
    with write_session(books.world.engine) as session:
        cancellations.cancel(
            session,
            books.anna,
            books.product_id,
            books.now,
            books.world.tokens,
            when=when,  # type: ignore[arg-type]
        )
    books.step()


def quota(books: BillingWorld, at: int | None = None) -> object:
    with read_session(books.world.engine) as session:
        facts = load_one(session, books.product_id)
    decided = decide(facts, "boost_hours", books.now if at is None else at)
    return decided.value if decided.allowed else decided.code


def letters(books: BillingWorld) -> list[str]:
    with read_session(books.world.engine) as session:
        query = select(Letter.code).where(Letter.code.startswith("subscription"))
        return list(session.scalars(query.order_by(Letter.id)))


def test_it_begins_with_its_first_payment(books: BillingWorld) -> None:
    with write_session(books.world.engine) as session:
        subscribing.subscribe(
            session, books.anna, books.product_id, "full", T0, books.world.tokens, trial=False
        )
    assert books.status() is Status.INCOMPLETE
    assert quota(books) == "incomplete"
    books.step()
    assert books.status() is Status.ACTIVE
    assert quota(books) == 20
    assert books.base().paid_until == MONTH
    assert books.grosses() == [(999, "paid")]


def test_a_first_payment_that_fails_leaves_nothing_behind(books: BillingWorld) -> None:
    books.answers = lambda _invoice, _attempt: False
    with write_session(books.world.engine) as session:
        promotions.create(session, HUB, "once", T0, books.world.tokens, percent_ppm=500_000, most=1)
    subscribe(books, promotion="ONCE")
    assert books.status() is Status.ENDED
    assert books.grosses() == [(499, "void")]
    assert letters(books) == ["subscription.not_begun"]
    books.answers = lambda _invoice, _attempt: True
    subscribe(books, promotion="once")  # the code was not used up
    assert books.status() is Status.ACTIVE


def test_periods_are_billed_at_their_instants_once_each(books: BillingWorld) -> None:
    subscribe(books)
    books.run(renewal("UTC", T0, 3) - 1)
    assert books.grosses() == [(999, "paid")] * 3
    issued = [one.issued_at for one in books.invoices()]
    assert issued == [T0, renewal("UTC", T0, 1), renewal("UTC", T0, 2)]
    assert books.base().paid_until == renewal("UTC", T0, 3)


def test_a_hub_that_slept_for_months_catches_up_in_order(books: BillingWorld) -> None:
    subscribe(books)
    books.now = renewal("UTC", T0, 4) + DAY
    books.step()
    issued = [one.issued_at for one in books.invoices()]
    assert issued == [renewal("UTC", T0, month) for month in range(5)]
    assert books.base().paid_until == renewal("UTC", T0, 5)
    assert books.status() is Status.ACTIVE


def test_failed_payments_are_tried_again_then_grace_then_lapse(books: BillingWorld) -> None:
    subscribe(books)
    books.answers = lambda _invoice, _attempt: False
    books.run(MONTH + 30 * DAY)
    with read_session(books.world.engine) as session:
        due = session.scalars(select(PaymentAttempt.due_at).order_by(PaymentAttempt.due_at)).all()
    assert due == [T0, MONTH, MONTH + DAY, MONTH + 3 * DAY]
    lapse = MONTH + 4 * DAY + 7 * DAY
    seen = [books.status(at) for at in (MONTH - 1, MONTH, MONTH + 4 * DAY, lapse - 1, lapse)]
    assert seen == [
        Status.ACTIVE,
        Status.PAST_DUE,
        Status.GRACE,
        Status.GRACE,
        Status.LAPSED,
    ]
    assert quota(books) == "lapsed"
    assert letters(books) == ["subscription.payment_failed"] * 3
    assert len(books.invoices()) == 2  # nothing more is billed


def test_paying_within_the_grace_keeps_the_calendar(books: BillingWorld) -> None:
    subscribe(books)
    books.answers = lambda _invoice, _attempt: False
    books.run(MONTH + 9 * DAY)
    books.answers = lambda _invoice, _attempt: True
    with write_session(books.world.engine) as session:
        renewals.pay(session, books.anna, books.product_id, books.now, books.world.tokens)
    books.step()
    assert books.status() is Status.ACTIVE
    assert books.base().paid_until == renewal("UTC", T0, 2)


def test_paying_after_the_lapse_reinstates_without_the_time_that_was_not_granted(
    books: BillingWorld,
) -> None:
    subscribe(books)
    books.answers = lambda _invoice, _attempt: False
    books.run(MONTH + 100 * DAY)
    books.answers = lambda _invoice, _attempt: True
    with write_session(books.world.engine) as session:
        renewals.pay(session, books.anna, books.product_id, books.now, books.world.tokens)
    books.step()
    assert books.status() is Status.ACTIVE
    lapsed_for = 100 * DAY - 11 * DAY
    end = renewal("UTC", T0, 2) + lapsed_for
    assert books.base().paid_until == end
    assert letters(books)[-1] == "subscription.reinstated"
    books.run(end)
    assert books.base().paid_until == renewal("UTC", end, 1)
    assert len(books.invoices()) == 3


def test_a_trial_is_free_and_then_billed(books: BillingWorld) -> None:
    subscribe(books, trial=True)
    assert books.status() is Status.TRIAL
    assert books.invoices() == []
    end = T0 + 14 * DAY
    books.run(end)
    assert books.status() is Status.ACTIVE
    assert books.base().paid_until == renewal("UTC", end, 1)
    assert books.grosses() == [(999, "paid")]


def test_a_trial_without_a_means_of_payment_lapses_and_owes_nothing(books: BillingWorld) -> None:
    books.pay_by(None)
    subscribe(books, trial=True)
    books.run(T0 + 20 * DAY)
    assert books.status() is Status.LAPSED
    assert books.invoices() == []
    assert letters(books) == ["subscription.trial_over"]
    books.pay_by("card")
    with write_session(books.world.engine) as session:
        renewals.pay(session, books.anna, books.product_id, books.now, books.world.tokens)
    books.step()
    assert books.status() is Status.ACTIVE
    assert books.base().paid_until == renewal("UTC", T0 + 20 * DAY, 1)


def test_a_means_of_payment_that_is_gone_leads_to_past_due_not_to_a_stop(
    books: BillingWorld,
) -> None:
    subscribe(books, trial=True)
    books.run(T0 + 14 * DAY)
    books.pay_by(None)
    books.answers = lambda _invoice, _attempt: False
    books.run(renewal("UTC", T0 + 14 * DAY, 1))
    assert books.status() is Status.PAST_DUE
    assert [state for _, state in books.grosses()] == ["paid", "open"]


def test_a_household_tries_a_product_once(books: BillingWorld) -> None:
    subscribe(books, trial=True)
    cancel(books, "now")
    subscribe(books, trial=True)
    assert books.status() is Status.ACTIVE
    assert books.grosses() == [(999, "paid")]


def test_upgrading_credits_the_rest_and_charges_the_new_rest(books: BillingWorld) -> None:
    subscribe(books, "basic")
    books.run(T0 + 10 * DAY)
    change(books, "full")
    length = MONTH - T0
    rest = (length - 10 * DAY) / length
    first, second = books.invoices()
    assert first.gross == 310
    assert second.gross == pytest.approx((999 - 310) * rest, abs=1.01)
    assert (quota(books), quota(books, T0 + 9 * DAY)) == (20, 5)
    assert books.base().paid_until == MONTH
    books.run(MONTH)
    assert books.invoices()[-1].gross == 999


def test_an_upgrade_that_is_not_paid_does_not_happen(books: BillingWorld) -> None:
    subscribe(books, "basic")
    books.run(T0 + 10 * DAY)
    books.answers = lambda _invoice, _attempt: False
    change(books, "full")
    assert quota(books) == 5
    assert books.grosses() == [(310, "paid"), (books.invoices()[1].gross, "void")]
    books.answers = lambda _invoice, _attempt: True
    change(books, "full")
    assert quota(books) == 20


def test_downgrading_waits_for_the_end_of_the_period_and_can_be_undone(books: BillingWorld) -> None:
    subscribe(books)
    change(books, "basic")
    assert quota(books) == 20
    with write_session(books.world.engine) as session:
        plan_changes.undo_change(session, books.anna, books.product_id, books.now)
    books.run(MONTH)
    assert quota(books) == 20
    change(books, "basic")
    books.run(renewal("UTC", T0, 2))
    assert quota(books) == 5
    assert books.grosses() == [(999, "paid"), (999, "paid"), (310, "paid")]


def test_another_interval_begins_a_period_of_its_own(books: BillingWorld) -> None:
    subscribe(books, "basic")
    books.run(T0 + 10 * DAY)
    change(books, "yearly", when="now")
    assert books.base().paid_until == renewal("UTC", T0 + 10 * DAY, 12)
    whole = 9_900
    rest = 310 * (MONTH - T0 - 10 * DAY) / (MONTH - T0)
    assert books.invoices()[1].gross == pytest.approx(whole - rest, abs=1.01)


def test_addons_follow_their_plan(books: BillingWorld) -> None:
    subscribe(books, "basic", addons={"more-boost": 2})
    assert books.grosses() == [(310 + 300, "paid")]
    assert quota(books) == 25
    books.run(T0 + 10 * DAY)
    addon(books, 5)
    assert quota(books) == 55
    books.run(T0 + 20 * DAY)
    addon(books, 0)
    assert quota(books) == 5
    with read_session(books.world.engine) as session:
        credit = ledger.credit(session, books.owner_id, "EUR").minor
    lines = sum(one.gross for one in books.invoices())
    # Two for 10 days, five for 10 days, and the plan: to the minor unit.
    day = 150 * DAY / (MONTH - T0)
    assert lines == pytest.approx(310 + 2 * 10 * day + 5 * 10 * day, abs=2)
    assert credit > 0
    books.run(MONTH)
    assert books.invoices()[-1].gross == 310


def test_a_pause_loses_no_paid_time(books: BillingWorld) -> None:
    subscribe(books)
    books.run(T0 + 10 * DAY)
    with write_session(books.world.engine) as session:
        cancellations.pause(session, books.anna, books.product_id, books.now)
    assert (books.status(), quota(books)) == (Status.PAUSED, "paused")
    books.run(T0 + 100 * DAY)
    assert len(books.invoices()) == 1
    with write_session(books.world.engine) as session:
        cancellations.resume(session, books.anna, books.product_id, books.now)
    assert books.base().paid_until == MONTH + 90 * DAY
    assert books.status(T0 + 50 * DAY) is Status.PAUSED
    books.run(MONTH + 90 * DAY)
    assert len(books.invoices()) == 2


def test_a_pause_with_an_end_ends_by_itself_or_earlier(books: BillingWorld) -> None:
    subscribe(books)
    with write_session(books.world.engine) as session:
        cancellations.pause(
            session, books.anna, books.product_id, books.now, resumes_at=T0 + 60 * DAY
        )
    assert books.base().paid_until == MONTH + 60 * DAY
    books.run(T0 + 20 * DAY)
    assert quota(books, T0 + 60 * DAY) == 20
    with write_session(books.world.engine) as session:
        cancellations.resume(session, books.anna, books.product_id, books.now)
    assert books.base().paid_until == MONTH + 20 * DAY
    assert books.agreement().next_at == MONTH + 20 * DAY


def test_cancelling_keeps_what_is_covered(books: BillingWorld) -> None:
    subscribe(books)
    cancel(books)
    assert (books.status(), quota(books)) == (Status.CANCELLED, 20)
    with write_session(books.world.engine) as session:
        cancellations.undo_cancel(session, books.anna, books.product_id, books.now)
    assert books.status() is Status.ACTIVE
    cancel(books)
    books.run(MONTH + DAY)
    assert books.status() is Status.ENDED
    assert books.agreement().closed_at == MONTH
    assert len(books.invoices()) == 1


def test_cancelling_while_past_due_takes_the_bill_back(books: BillingWorld) -> None:
    subscribe(books)
    books.answers = lambda _invoice, _attempt: False
    books.run(MONTH + DAY // 2)
    cancel(books)
    assert books.status() is Status.ENDED
    assert [state for _, state in books.grosses()] == ["paid", "void"]


def test_cancelling_now_gives_the_unused_rest_back(books: BillingWorld) -> None:
    subscribe(books)
    books.run(T0 + 10 * DAY)
    cancel(books, "now")
    assert books.status() is Status.ENDED
    rest = 999 * (MONTH - T0 - 10 * DAY) / (MONTH - T0)
    back = books.invoices()[-1]
    assert -back.gross == pytest.approx(rest, abs=1)
    with read_session(books.world.engine) as session:
        refund = session.scalars(
            select(PaymentAttempt).where(PaymentAttempt.kind == "refund")
        ).one()
        assert (refund.amount, refund.outcome) == (-back.gross, "paid")


@pytest.mark.parametrize(("plan", "full"), [("full", True), ("yearly", False)])
def test_withdrawal_within_its_days(books: BillingWorld, plan: str, full: bool) -> None:
    subscribe(books, plan)
    paid = books.invoices()[0].gross
    books.run(T0 + 13 * DAY)
    with write_session(books.world.engine) as session:
        cancellations.withdraw(session, books.anna, books.product_id, books.now, books.world.tokens)
    books.step()
    assert (books.status(), quota(books)) == (Status.WITHDRAWN, "withdrawn")
    back = -books.invoices()[-1].gross
    year = renewal("UTC", T0, 12) - T0
    assert back == paid if full else back == pytest.approx(paid * (year - 13 * DAY) / year, abs=1)


def test_withdrawal_after_its_days_is_refused(books: BillingWorld) -> None:
    subscribe(books)
    books.run(T0 + 14 * DAY)
    with (
        pytest.raises(ConflictError, match="time to withdraw"),
        write_session(books.world.engine) as session,
    ):
        cancellations.withdraw(session, books.anna, books.product_id, books.now, books.world.tokens)
    assert books.status() is Status.ACTIVE


def test_a_promotion_makes_so_many_periods_cheaper(books: BillingWorld) -> None:
    with write_session(books.world.engine) as session:
        promotions.create(
            session, HUB, "half-off", T0, books.world.tokens, percent_ppm=500_000, periods=2
        )
    subscribe(books, promotion="Half-Off", addons={"more-boost": 1})
    books.run(renewal("UTC", T0, 3))
    assert [gross for gross, _ in books.grosses()] == [649, 649, 1149, 1149]
    with (
        pytest.raises(ConflictError, match="once"),
        write_session(books.world.engine) as session,
    ):
        promotions.apply(session, books.anna, books.product_id, "half-off", books.now)


def test_a_promotion_has_its_limits(books: BillingWorld) -> None:
    tokens = books.world.tokens
    with write_session(books.world.engine) as session:
        promotions.create(
            session, HUB, "few", T0, tokens, amounts={"EUR": 2_000}, most=1, ends_at=T0 + DAY
        )
        with pytest.raises(ConflictError, match="already"):
            promotions.create(session, HUB, "FEW", T0, tokens, percent_ppm=1)
        with pytest.raises(InvalidInputError, match="one of the two"):
            promotions.create(session, HUB, "none", T0, tokens)
    subscribe(books, promotion="few")
    assert books.grosses() == [(0, "paid")]  # never less than nothing
    other = new_owner(books)
    with (
        pytest.raises(ConflictError, match="used up"),
        write_session(books.world.engine) as session,
    ):
        subscribing.subscribe(session, *other, "basic", T0, tokens, trial=False, promotion="few")
    books.run(T0 + DAY)
    with (
        pytest.raises(NotFoundError, match="time is over"),
        write_session(books.world.engine) as session,
    ):
        subscribing.subscribe(
            session, *other, "basic", books.now, tokens, trial=False, promotion="few"
        )
    with read_session(books.world.engine) as session:
        assert session.scalars(select(Promotion.redeemed)).one() == 1


def test_a_promotion_of_one_plan_makes_no_other_cheaper(books: BillingWorld) -> None:
    with write_session(books.world.engine) as session:
        promotions.create(
            session,
            HUB,
            "basic-free",
            T0,
            books.world.tokens,
            percent_ppm=1_000_000,
            plans=["basic"],
        )
    subscribe(books, "basic", promotion="basic-free")
    books.run(T0 + DAY)
    change(books, "full")
    books.run(MONTH)
    assert [gross for gross, _ in books.grosses()] == [0, 967, 999]


def test_an_upgrade_that_is_not_paid_leaves_what_was_to_happen_later(books: BillingWorld) -> None:
    subscribe(books)
    change(books, "free")
    assert books.agreement().next_version_id is not None
    books.answers = lambda _invoice, _attempt: False
    change(books, "yearly", when="now")
    books.answers = lambda _invoice, _attempt: True
    books.run(MONTH)
    assert quota(books) == "ended"
    assert [gross for gross, state in books.grosses() if state == "paid"] == [999]


def test_an_addon_does_not_come_by_the_month_into_a_plan_by_the_year(books: BillingWorld) -> None:
    subscribe(books)
    change(books, "yearly", when="period_end")
    with pytest.raises(ConflictError, match="other intervals"):
        addon(books, 1)


def test_a_household_with_a_plan_keeps_its_currency(books: BillingWorld) -> None:
    subscribe(books)
    with (
        pytest.raises(ConflictError, match="in EUR"),
        write_session(books.world.engine) as session,
    ):
        billing_accounts.change(session, books.anna, None, books.now, {"currency": "JPY"})
    cancel(books)
    books.run(MONTH)
    with write_session(books.world.engine) as session:
        billing_accounts.change(session, books.anna, None, books.now, {"currency": "JPY"})


def new_owner(books: BillingWorld) -> tuple[Caller, str]:
    bert, made = books.world.customer(), books.world.product()
    books.world.claim(made, bert)
    with write_session(books.world.engine) as session:
        billing_accounts.of_owner(session, str(bert.owner_id), T0).method = "card"
    return bert, made.product_id


def claimed(books: BillingWorld, at: int) -> Caller:
    """Somebody else takes the product over."""
    other = books.world.customer()
    with write_session(books.world.engine) as session:
        product = session.get_one(Product, books.product_id)
        present = open_ownership(session, product.id)
        assert present is not None
        assert other.owner_id is not None
        cut.change(session, product, present, other.owner_id, at)
    return other


def undo(books: BillingWorld, at: int) -> None:
    books.now = at
    with write_session(books.world.engine) as session:
        ownership.undo(session, HUB, books.product_id, "wrong", at, books.world.tokens)


def test_a_release_ends_the_agreement_and_the_unused_rest_is_given_back(
    books: BillingWorld,
) -> None:
    subscribe(books)
    with write_session(books.world.engine) as session:
        ownership.release(session, books.anna, books.product_id, T0 + DAY)
    books.run(renewal("UTC", T0, 3))
    assert [one.gross for one in books.invoices()] == [999, -(999 - 999 * DAY // (MONTH - T0))]
    assert books.agreement().closed_at == T0 + DAY


def test_after_a_change_of_owner_the_rest_is_given_back_when_nobody_can_undo_it(
    books: BillingWorld,
) -> None:
    subscribe(books)
    claimed(books, T0 + DAY)
    books.run(T0 + 31 * DAY - 1)
    assert len(books.invoices()) == 1
    books.run(renewal("UTC", T0, 3))
    assert [one.gross for one in books.invoices()] == [999, -(999 - 999 * DAY // (MONTH - T0))]
    with pytest.raises(ConflictError):
        undo(books, books.now)


def test_a_wrong_claim_that_is_undone_ended_nothing(books: BillingWorld) -> None:
    subscribe(books, promotion=None)
    addon(books, 2)
    claimed(books, T0 + 10 * DAY)
    assert books.agreement().closed_at is not None
    undo(books, T0 + 12 * DAY)
    found = books.agreement()
    assert (found.closed_at, found.period_end) == (None, MONTH + 2 * DAY)
    assert books.status() is Status.ACTIVE
    assert quota(books) == 40
    books.run(MONTH + 2 * DAY + 1)
    assert books.grosses() == [(999, "paid"), (300, "paid"), (1_299, "paid")]
    with read_session(books.world.engine) as session:
        assert session.scalar(select(func.count()).select_from(Agreement)) == 1


def test_a_trial_goes_on_after_a_wrong_claim_and_what_was_not_paid_does_not(
    books: BillingWorld,
) -> None:
    subscribe(books, trial=True)
    claimed(books, T0 + DAY)
    undo(books, T0 + 3 * DAY)
    assert (books.status(), books.agreement().next_at) == (Status.TRIAL, T0 + 16 * DAY)
    books.answers = lambda _invoice, _attempt: False
    books.run(T0 + 18 * DAY)
    assert books.status() is Status.PAST_DUE
    claimed(books, T0 + 18 * DAY)
    undo(books, T0 + 19 * DAY)
    assert books.agreement().closed_at == T0 + 18 * DAY


def test_what_is_billed_here_is_not_changed_by_hand(books: BillingWorld) -> None:
    subscribe(books)
    with (
        pytest.raises(ConflictError, match="billed here"),
        write_session(books.world.engine) as session,
    ):
        subscriptions.extend(session, HUB, books.base().id, None, T0 + DAY)


def test_one_plan_at_a_time(books: BillingWorld) -> None:
    subscribe(books)
    with pytest.raises(ConflictError, match="has a plan already"):
        subscribe(books, "basic")
    with pytest.raises(ConflictError, match="has plan full already"):
        change(books, "full")
    with pytest.raises(ConflictError, match="an add-on"):
        change(books, "more-boost")


def test_a_currency_in_which_it_is_not_sold(books: BillingWorld) -> None:
    books.pay_by("card", currency="JPY")
    with pytest.raises(ConflictError, match="JPY"):
        subscribe(books, "yearly")
    subscribe(books)
    assert [(one.gross, one.currency) for one in books.invoices()] == [(1200, "JPY")]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Pacific/Apia", "America/New_York"])
def test_anniversaries_at_the_ends_of_months(books: BillingWorld, zone: str) -> None:
    """31 January: renewed on 28 February, 31 March, 30 April; at the local time, also over DST."""
    books.pay_by("card", zone=zone)
    books.run(1_927_666_800 * 1_000_000_000)  # 31 January 2031
    begun = books.now
    subscribe(books)
    books.run(renewal(zone, begun, 5))
    issued = [one.issued_at for one in books.invoices()]
    assert issued == [renewal(zone, begun, month) for month in range(6)]
    with read_session(books.world.engine) as session:
        spans = session.execute(
            select(InvoiceLine.starts_at, InvoiceLine.ends_at)
            .join(Invoice)
            .order_by(Invoice.sequence)
        ).all()
    assert all(before[1] == after[0] for before, after in itertools.pairwise(spans))


def test_free_plans_cost_nothing_and_can_be_left(books: BillingWorld) -> None:
    books.pay_by(None)
    subscribe(books, "free")
    assert (books.status(), books.invoices()) == (Status.ACTIVE, [])
    with pytest.raises(ConflictError, match="means of payment"):
        change(books, "full")
    books.pay_by("card")
    change(books, "full")
    assert (quota(books), books.base().paid_until) == (20, MONTH)
    change(books, "free")
    books.run(MONTH)
    assert books.status() is Status.ACTIVE
    assert (quota(books), len(books.invoices())) == ("ended", 1)
    with read_session(books.world.engine) as session:
        kept = session.scalars(select(Subscription.ends_at).order_by(Subscription.starts_at)).all()
    assert kept == [T0, MONTH, None]
    with read_session(books.world.engine) as session:
        assert agreements.waiting_bill(session, books.agreement()) is None


def test_an_outage_while_it_is_unpaid_extends_the_grace_and_a_payment_ends_that(
    books: BillingWorld,
) -> None:
    subscribe(books)
    books.answers = lambda _invoice, _attempt: False
    with read_session(books.world.engine) as session:
        lapses = grace_until(agreements.fact_of(session, books.base()))
    assert lapses is not None
    books.run(lapses - DAY)
    with write_session(books.world.engine) as session:
        outages.note(session, 0, lapses - DAY, lapses + DAY)
    assert books.status(lapses + 2 * DAY - 1) is Status.GRACE
    assert books.status(lapses + 2 * DAY) is Status.LAPSED
    with read_session(books.world.engine) as session:
        view = agreement_view.shown(session, books.anna, books.product_id, lapses)
        assert (view.grace_until, view.outage_s) == (lapses + 2 * DAY, 2 * 86_400)
        # It was not known before it was over.
        (known,) = load_known(session, books.product_id, lapses).subscriptions
        assert status(known, lapses) is Status.LAPSED
    books.run(lapses + DAY)
    books.answers = lambda _invoice, _attempt: True
    with write_session(books.world.engine) as session:
        renewals.pay(session, books.anna, books.product_id, books.now, books.world.tokens)
    books.step()
    with read_session(books.world.engine) as session:
        fact = agreements.fact_of(session, books.base())
    assert (fact.outage_s, covered_until(fact)) == (0, books.agreement().period_end)
    assert books.status() is Status.ACTIVE
