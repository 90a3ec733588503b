"""What the provider said unasked is taken once, in whatever order, and asked for where it did not come."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from entitlements.billing.money import Money
from hub.ports.database.billing_tables import BillingAccount, PaymentRemoval, PaymentReversal
from hub.ports.database.engine import read_session, write_session
from hub.ports.payment.port import Event, Place, Reversal
from hub.ports.payment.stripe import StripePayments
from hub.ports.payment.stripe_events import ASKED_FOR
from hub.services import billing_accounts, means, provider_events
from hub.services.caller import HUB
from tests.hub.payment.localstripe_server import KEY, running
from tests.hub.services.money_world import MoneyWorld, money_world
from tests.hub.services.service_world import DAY, T0, S

HOUR = 3_600 * S


@pytest.fixture
def money(tmp_path: Path) -> Iterator[MoneyWorld]:
    made = money_world(tmp_path)
    yield made
    made.world.engine.dispose()


def household(money: MoneyWorld) -> str:
    owner = money.world.customer().owner_id
    assert owner is not None
    with write_session(money.world.engine) as session:
        billing_accounts.of_owner(session, owner, T0).customer = "cus-1"
    return owner


def gave(owner: str, method: str, at: int) -> Event:
    """The provider's word that a household gave a means of payment."""
    return Event(
        f"evt-{method}",
        "setup_intent.succeeded",
        owner_id=owner,
        customer="cus-1",
        method=method,
        said_at=at // S,
    )


def account(money: MoneyWorld, owner: str) -> BillingAccount:
    with read_session(money.world.engine) as session:
        return session.get_one(BillingAccount, owner)


def forgotten(money: MoneyWorld) -> set[str]:
    with read_session(money.world.engine) as session:
        return set(session.scalars(select(PaymentRemoval.reference)))


def take(money: MoneyWorld, event: Event) -> bool:
    with write_session(money.world.engine) as session:
        return provider_events.take(session, event, money.at, money.hooks)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_means_that_was_given_last_is_kept_in_whatever_order_it_is_told(
    money: MoneyWorld, order: tuple[int, ...]
) -> None:
    owner = household(money)
    money.at = T0 + DAY
    told = [gave(owner, f"pm-{number}", T0 + number * HOUR) for number in range(3)]
    for number in order:
        assert take(money, told[number])
        assert not take(money, told[number])
    assert account(money, owner).method == "pm-2"
    assert forgotten(money) == {"pm-0", "pm-1"}


def test_a_word_about_a_means_that_was_taken_away_since_does_not_bring_it_back(
    money: MoneyWorld,
) -> None:
    owner = household(money)
    take(money, gave(owner, "pm-2", T0 + 2 * HOUR))
    with write_session(money.world.engine) as session:
        means.removed(session, HUB, owner, T0 + 3 * HOUR)
    money.at = T0 + 4 * HOUR
    take(money, gave(owner, "pm-1", T0 + HOUR))
    assert account(money, owner).method is None
    assert forgotten(money) == {"pm-1", "pm-2"}
    take(money, gave(owner, "pm-4", T0 + 4 * HOUR))
    assert account(money, owner).method == "pm-4"


def test_what_did_not_come_is_asked_for_once_in_spans_without_gaps(
    money: MoneyWorld, caplog: pytest.LogCaptureFixture
) -> None:
    owner = household(money)
    dispute = Reversal("dp-1", "dispute", "pi-1", Money(999, "EUR"), Place.HELD, 1, T0 // S)
    money.provider.said = [
        gave(owner, "pm-1", T0),
        Event("evt-2", "charge.dispute.created", reversal=dispute),
    ]
    assert take(money, money.provider.said[1])  # this one came by itself
    money.desk.step()
    assert account(money, owner).method == "pm-1"
    assert account(money, owner).method_title == "Card pm-1"
    assert [record.args for record in caplog.records] == [(1,)]
    money.at += HOUR // 2
    money.desk.step()
    assert len(money.provider.spans) == 1  # it was asked just now
    caplog.clear()
    for _ in range(3):
        money.at += HOUR
        money.desk.step()
    spans = money.provider.spans
    assert len(spans) == 4
    assert all(after[0] <= before[1] for before, after in itertools.pairwise(spans))
    assert not caplog.records
    with read_session(money.world.engine) as session:
        assert len(session.scalars(select(PaymentReversal)).all()) == 1


def test_what_was_said_while_nobody_could_be_reached_or_the_hub_was_off_is_not_lost(
    money: MoneyWorld,
) -> None:
    owner = household(money)
    money.desk.step()
    (first,) = money.provider.spans
    money.provider.said = None
    money.at += 40 * DAY
    money.desk.step()
    money.desk.step()
    assert len(money.provider.spans) == 2  # no storm of questions
    money.provider.said = [gave(owner, "pm-1", T0 + 39 * DAY)]
    money.at += HOUR // 12
    money.desk.step()
    assert money.provider.spans[-1][0] <= first[1]
    assert account(money, owner).method == "pm-1"


def test_an_event_that_cannot_be_taken_holds_up_no_other_and_is_asked_for_again(
    money: MoneyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = household(money)
    money.provider.said = [gave(owner, "pm-1", T0), gave(owner, "pm-2", T0 + S)]
    take_one = provider_events.take

    def fail(session: Session, event: Event, *rest: Any) -> bool:
        if event.method == "pm-1":
            raise ZeroDivisionError
        return take_one(session, event, *rest)

    monkeypatch.setattr(provider_events, "take", fail)
    for _ in range(3):
        money.desk.step()
    assert account(money, owner).method == "pm-2"
    assert len(money.provider.spans) == 1  # no storm of questions
    monkeypatch.undo()
    money.at += HOUR // 12
    money.desk.step()
    assert money.provider.spans[1][0] <= money.provider.spans[0][0] + HOUR // 12
    assert account(money, owner).method == "pm-2"
    assert forgotten(money) == {"pm-1"}


def test_stripe_is_asked_for_each_kind_page_by_page_and_tells_the_earliest_first() -> None:
    def one(number: int) -> dict[str, Any]:
        found = {"customer": "cus-1", "payment_method": f"pm-{number}", "metadata": {"owner": "o"}}
        about = {"id": f"evt-{number}", "type": ASKED_FOR[0], "created": 2_000_000_000 + number}
        return {**about, "data": {"object": found}}

    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        about = dict(request.url.params)
        asked.append(about)
        if about["type"] != ASKED_FOR[0]:
            return httpx.Response(200, json={"data": [], "has_more": False})
        unreadable = {"id": "evt-x", "type": ASKED_FOR[0], "data": {}}
        rest = [one(3), unreadable, one(2)] if "starting_after" not in about else [one(1)]
        return httpx.Response(200, json={"data": rest, "has_more": "starting_after" not in about})

    stripe = StripePayments(KEY, transport=httpx.MockTransport(answer))
    events = stripe.events(2_000_000_000 * S, 2_000_000_100 * S)
    assert [event.method for event in events] == ["pm-1", "pm-2", "pm-3"]
    assert [event.said_at - 2_000_000_000 for event in events] == [1, 2, 3]
    assert {about["type"] for about in asked} == set(ASKED_FOR)
    assert {(about["created[gte]"], about["created[lt]"]) for about in asked} == {
        ("2000000000", "2000000100")
    }
    assert asked[1]["starting_after"] == "evt-2"


def test_localstripe_understands_the_question() -> None:
    with running() as local:
        stripe = StripePayments(KEY, url=local.url)
        customer = local.customer()
        local.post(f"/v1/customers/{customer}", name="Another")
        assert list(stripe.events(0, 10**19)) == []  # of these kinds it makes none
        stripe.close()
