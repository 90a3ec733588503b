"""The plan of a product on its page: every change shown before it is done, and done with the second click."""

from copy import deepcopy
from typing import Any

import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from hub.ports.database.billing_tables import BillingAccount, Invoice, PaymentAttempt
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.usage_tables import CreditGrant
from hub.ports.payment.port import Answer, Outcome
from hub.services import billing_accounts, payments, promotions, renewals
from hub.services.caller import HUB
from tests.hub.api.api_world import CATALOGUE, DAY, START, Unit, World, ok
from tests.web.pages_world import browser, text_of, travel


def plan(title: str, price: str, **more: Any) -> dict[str, Any]:
    version = {"version": 1, "features": {"telemetry": {}}, "price": {"EUR": price}, **more}
    return {"title": title, "versions": [version]}


@pytest.fixture
def shop(world: World) -> World:
    catalogue = deepcopy(CATALOGUE)
    catalogue["plans"] = {
        "small": plan("Small", "4.00"),
        "large": plan("Large", "10.00"),
        "tried": plan("Tried", "8.00", trial_days=14),
        "more": {**plan("More", "1.00"), "addon": True},
    }
    ok(world.operator.post("/api/v1/catalogue", json=catalogue))
    return world


@pytest.fixture
def unit(shop: World, ada: TestClient) -> Unit:
    unit = shop.unit(ada)
    with write_session(shop.hub.engine) as session:
        billing_accounts.of_owner(session, shop.owners["ada"], START)
        session.execute(update(BillingAccount).values(method="local:ok"))
    return unit


def collect(world: World, outcome: Outcome = Outcome.PAID) -> None:
    """Let the payment provider answer what waits."""
    at = world.clock.now
    with write_session(world.hub.engine) as session:
        waiting = select(PaymentAttempt.id).where(PaymentAttempt.answered_at.is_(None))
        ids = session.scalars(waiting).all()
        payments.begin(session, at)
        for attempt in ids:
            answer = Answer(outcome, f"test-{attempt}")
            payments.record(session, attempt, answer, at, renewals.hooks(world.hub.tokens))


def shown(world: World, client: TestClient, unit: Unit, **step: str) -> str:
    """Return what the page of a step says, having shown it without doing anything."""
    before = bills(world)
    path = f"/products/{unit.product_id}/plan/step"
    answer = browser(world, client).get(path, params=step)
    assert answer.status_code == 200, text_of(answer)
    assert bills(world) == before
    return text_of(answer)


def done(world: World, client: TestClient, unit: Unit, **step: str) -> str:
    path = f"/products/{unit.product_id}/plan"
    answer = browser(world, client).post(f"{path}/step", data=step)
    assert (answer.status_code, answer.headers.get("location")) == (303, path), text_of(answer)
    return text_of(browser(world, client).get(path))


def bills(world: World) -> int:
    with read_session(world.hub.engine) as session:
        return len(session.scalars(select(Invoice.id)).all())


def bought(world: World, client: TestClient, unit: Unit, name: str = "small") -> str:
    done(world, client, unit, act="subscribe", plan=name)
    collect(world)
    return text_of(browser(world, client).get(f"/products/{unit.product_id}/plan"))


def test_a_plan_is_chosen_paid_and_runs(shop: World, ada: TestClient, unit: Unit) -> None:
    page = text_of(browser(shop, ada).get(f"/products/{unit.product_id}/plan"))
    assert "No plan" in page
    assert "Large €10.00 a month" in page
    text = shown(shop, ada, unit, act="subscribe", plan="small")
    assert "Plan Small €4.00 To be paid now €4.00" in text
    assert "Order and pay" in text
    text = done(shop, ada, unit, act="subscribe", plan="small")
    assert "Small Waits for its first payment" in text
    assert "€4.00 is being collected." in text
    collect(shop)
    text = text_of(browser(shop, ada).get(f"/products/{unit.product_id}/plan"))
    assert "Small Active" in text
    assert "It renews on 28 Feb 2026 for €4.00." in text


def test_an_upgrade_shows_its_money_before_the_second_click(
    shop: World, ada: TestClient, unit: Unit
) -> None:
    bought(shop, ada, unit)
    travel(shop, START + 14 * DAY)  # the half of 28 days
    text = shown(shop, ada, unit, act="change", plan="large")
    assert "-€2.00" in text
    assert "To be paid now €3.00" in text
    assert "Large Active It renews on 28 Feb 2026 for €10.00." in text
    done(shop, ada, unit, act="change", plan="large")
    collect(shop)
    text = text_of(browser(shop, ada).get(f"/products/{unit.product_id}/plan"))
    assert "Large Active" in text
    assert "It renews on 28 Feb 2026 for €10.00." in text
    assert "Small €4.00 a month" in text


def test_a_downgrade_waits_for_the_end_and_can_be_undone(
    shop: World, ada: TestClient, unit: Unit
) -> None:
    bought(shop, ada, unit, "large")
    text = shown(shop, ada, unit, act="change_later", plan="small")
    assert "Nothing is to be paid now." in text
    assert "On 28 Feb 2026 it changes to Small." in text
    text = done(shop, ada, unit, act="change_later", plan="small")
    assert "It renews on 28 Feb 2026 for €4.00." in text
    text = done(shop, ada, unit, act="undo_change")
    assert "It renews on 28 Feb 2026 for €10.00." in text


def test_cancelling_pausing_and_going_on(shop: World, ada: TestClient, unit: Unit) -> None:
    bought(shop, ada, unit)
    text = shown(shop, ada, unit, act="cancel")
    assert "It is cancelled and runs until 28 Feb 2026. Nothing more is billed." in text
    done(shop, ada, unit, act="cancel")
    assert "It renews on" in done(shop, ada, unit, act="undo_cancel")
    travel(shop, START + DAY)
    text = done(shop, ada, unit, act="pause", days="10")
    assert "Paused It is paused and goes on on 11 Feb 2026." in text
    assert "It renews on 28 Feb 2026" in done(shop, ada, unit, act="resume")


def test_withdrawing_gives_everything_back(shop: World, ada: TestClient, unit: Unit) -> None:
    assert "You can withdraw until 14 Feb 2026" in bought(shop, ada, unit)
    text = shown(shop, ada, unit, act="withdraw")
    assert "Given back €4.00" in text
    assert "The plan is over at once." in text
    assert "No plan" in done(shop, ada, unit, act="withdraw")
    text = text_of(browser(shop, ada).get("/bills"))
    assert "-€4.00" in text


def test_add_ons_and_codes(shop: World, ada: TestClient, unit: Unit) -> None:
    bought(shop, ada, unit)
    with write_session(shop.hub.engine) as session:
        promotions.create(
            session, HUB, "SPRING", START, shop.hub.tokens, title="Spring", percent_ppm=500_000
        )
    assert "To be paid now €3.00" in shown(shop, ada, unit, act="addon", plan="more", quantity="3")
    text = shown(shop, ada, unit, act="promotion", code="spring")
    assert "It renews on 28 Feb 2026 for €2.00." in text
    assert "Promotion: Spring" in done(shop, ada, unit, act="promotion", code="spring")
    path = f"/products/{unit.product_id}/plan/step"
    refused = browser(shop, ada).get(path, params={"act": "promotion", "code": "NOTHING"})
    assert "This code is not known" in text_of(refused)


def test_a_trial_a_payment_that_fails_and_paying_late(
    shop: World, ada: TestClient, unit: Unit
) -> None:
    text = shown(shop, ada, unit, act="subscribe", plan="tried")
    assert "Nothing is to be paid now." in text
    assert "It is free until 14 Feb 2026; then it costs €8.00." in text
    assert "Free trial" in done(shop, ada, unit, act="subscribe", plan="tried")
    travel(shop, START + 14 * DAY)
    with write_session(shop.hub.engine) as session:
        for agreement in renewals.due(session, shop.clock.now):
            renewals.act(session, shop.hub.tokens, agreement, shop.clock.now)
    collect(shop, Outcome.FAILED)
    text = text_of(browser(shop, ada).get(f"/products/{unit.product_id}/plan"))
    assert "Payment is being collected The payment failed and is tried again." in text
    assert "€8.00 is collected on 15 Feb 2026" in text
    assert "€8.00" in shown(shop, ada, unit, act="pay")
    done(shop, ada, unit, act="pay")
    collect(shop)
    text = text_of(browser(shop, ada).get(f"/products/{unit.product_id}/plan"))
    assert "Tried Active" in text


def test_without_means_of_payment_and_for_others(
    shop: World, ada: TestClient, bob: TestClient
) -> None:
    unit = shop.unit(ada)
    path = f"/products/{unit.product_id}/plan"
    step = {"act": "subscribe", "plan": "small"}
    refused = browser(shop, ada).get(f"{path}/step", params=step)
    assert (refused.status_code, bills(shop)) == (409, 0)
    assert "There is no means of payment yet." in text_of(refused)
    assert browser(shop, bob).get(path).status_code == 404
    assert browser(shop, bob).post(f"{path}/step", data=step).status_code == 404
    assert browser(shop, ada).get(f"{path}/step", params={"act": "nothing"}).status_code == 404


def test_more_is_bought_beside_the_plan_in_two_clicks(
    shop: World, ada: TestClient, bob: TestClient, unit: Unit
) -> None:
    price = {"EUR": "5.00"}
    offer = {
        "title": "More readings",
        "meter": "readings",
        "amount": 50,
        "price": price,
        "days": 30,
    }
    catalogue = deepcopy(CATALOGUE)
    catalogue["models"]["heat-pump"]["meters"] = {
        "readings": {"title": "Readings", "metric": "temp_c", "aggregation": "count"}
    }
    catalogue["plans"] = {"topped": plan("Topped", "4.00", top_ups={"more": offer})}
    ok(shop.operator.post("/api/v1/catalogue", json=catalogue))
    bought(shop, ada, unit, "topped")
    page = f"/products/{unit.product_id}/plan"
    client = browser(shop, ada)
    text = text_of(client.get(page))
    assert "More readings 50 · €5.00 for 30 days" in text.replace(" · for", " for")
    said = shown(shop, ada, unit, act="topup", plan="more")
    assert "To be paid now €5.00" in said
    assert "It can be used as soon as the payment has come." in said
    form = {"act": "topup", "plan": "more"}
    assert browser(shop, bob).post(f"{page}/step", data=form).status_code == 404
    assert client.post(f"{page}/step", data=form).headers["location"] == page
    collect(shop)
    with read_session(shop.hub.engine) as session:
        (given,) = session.scalars(select(CreditGrant)).all()
        assert (given.kind, given.amount) == ("topup", 50)
    nothing = client.post(f"{page}/step", data={"act": "topup", "plan": "other"})
    assert nothing.status_code == 404
    assert "This is not possible now" in text_of(nothing)
