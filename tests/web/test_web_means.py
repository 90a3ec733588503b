"""Means of payment on their page, and what support sees and does of a household's money."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from entitlements.billing.money import Money
from hub.app.http import create_app
from hub.ports.database.billing_tables import BillingAccount, PaymentRemoval
from hub.ports.database.engine import read_session, write_session
from hub.ports.payment.port import Payer, PaymentUnreachableError, Setup
from hub.services import billing_accounts, consent, ledger
from hub.services.consent import Policy
from tests.hub.api.api_world import Unit, World, ok
from tests.hub.services.money_world import Provider
from tests.web.pages_world import browser, text_of
from tests.web.test_web_bills import issued


def with_provider(world: World, **features: Any) -> Provider:
    provider = Provider()
    for name, value in features.items():
        setattr(provider, name, value)
    world.hub = replace(world.hub, payment=provider)
    world.app = create_app(world.hub)
    return provider


def test_a_card_is_given_on_the_providers_page_and_removed(
    world: World, ada: TestClient, bob: TestClient
) -> None:
    with_provider(world)
    client, owner = browser(world, ada), world.owners["ada"]
    text = text_of(client.get("/bills/means"))
    assert "No means of payment is stored." in text
    page = client.post(f"/bills/means/{owner}", data={"act": "give"})
    assert page.status_code == 200
    assert "Continue to the payment provider" in text_of(page)
    assert f"/bills/means?of={owner}&amp;back=1#" in page.text  # where the provider leads back
    assert (
        browser(world, bob).post(f"/bills/means/{owner}", data={"act": "give"}).status_code == 404
    )
    with write_session(world.hub.engine) as session:
        account = billing_accounts.of_owner(session, owner, world.clock.now)
        account.method, account.method_title = "pm_1", "Visa •••• 4242"
    assert "Visa •••• 4242" in text_of(client.get("/bills"))
    shown = text_of(client.get("/bills/means"))
    assert "Visa •••• 4242" in shown
    assert "Replace it" in shown
    assert client.post(f"/bills/means/{owner}", data={"act": "remove"}).status_code == 303
    assert "No means of payment is stored." in text_of(client.get("/bills/means"))
    with read_session(world.hub.engine) as session:
        assert session.scalars(select(PaymentRemoval.reference)).all() == ["pm_1"]


@pytest.mark.parametrize("choices", [("local:ok", "local:declines"), ()])
def test_only_a_hub_that_rehearses_lets_people_choose(
    world: World, ada: TestClient, choices: Sequence[str]
) -> None:
    with_provider(world, has_page=False, choices=choices)
    client, owner = browser(world, ada), world.owners["ada"]
    text = text_of(client.get("/bills/means"))
    assert ("nothing is collected" in text) == bool(choices)
    assert ("Ask support how you can pay" in text) == (not choices)
    answer = client.post(f"/bills/means/{owner}", data={"act": "choose", "method": "local:ok"})
    assert answer.status_code == (303 if choices else 422)
    assert ("Payments succeed" in text_of(client.get("/bills/means"))) == bool(choices)
    for wrong in ({"act": "choose", "method": "local:unreachable"}, {"act": "give them"}, {}):
        assert client.post(f"/bills/means/{owner}", data=wrong).status_code == 422


def test_a_provider_that_is_away_is_said_so(world: World, ada: TestClient) -> None:
    class Away(Provider):
        def setup(self, payer: Payer, name: str, return_url: str, at: int) -> Setup:
            raise PaymentUnreachableError(f"Nobody answers {payer} {name} {return_url} {at}.")

    world.hub = replace(world.hub, payment=Away())
    world.app = create_app(world.hub)
    refused = browser(world, ada).post(f"/bills/means/{world.owners['ada']}", data={"act": "give"})
    assert refused.status_code == 503
    assert "does not answer. Try again in a minute." in text_of(refused)


@pytest.fixture
def unit(world: World, ada: TestClient) -> Unit:
    return world.unit(ada)


def test_support_sees_money_with_a_reason_and_the_household_reads_that(
    world: World, ada: TestClient, support: TestClient, unit: Unit
) -> None:
    issued(world, "ada", [1_190])
    page = f"/support/products/{unit.product_id}"
    with write_session(world.hub.engine) as session:
        consent.set_policy(session, Policy.REQUIRED)
    desk = browser(world, support)
    text = text_of(desk.get(page))
    assert "Still to be paid €11.90" in text
    assert "2026-000001" in text
    assert "Hidden: its household has not consented" in text
    silent = browser(world, support)
    del silent.headers["X-Homeport-Reason"]
    assert "2026-000001" not in silent.get(page).text
    looks = text_of(browser(world, ada).get(f"/products/{unit.product_id}/looks"))
    assert "its plan, bills and usage" in looks


def test_support_gives_credit_once_with_a_reason(
    world: World, ada: TestClient, support: TestClient, unit: Unit
) -> None:
    page, desk = f"/support/products/{unit.product_id}", browser(world, support)
    form = {"amount": "5,50", "reason": "Two days offline", "once": "a" * 16}
    for _ in range(2):
        assert desk.post(f"{page}/credit", data=form).headers["location"] == f"{page}#money"
    wrong = [{"amount": "5.005"}, {"amount": "-1"}, {"amount": "much"}, {"amount": "1e99"}]
    for change in [*wrong, {"reason": ""}, {"once": "?"}]:
        other = {**form, "once": "b" * 16, **change}
        assert "money_failed=1" in desk.post(f"{page}/credit", data=other).headers["location"]
    with read_session(world.hub.engine) as session:
        assert ledger.credit(session, world.owners["ada"], "EUR") == Money(550, "EUR")
    told = text_of(browser(world, ada).get("/hand-overs"))
    assert told.count("Support gave you a credit of 5.50 EUR") == 1
    assert "Two days offline" in told


def test_support_sends_an_invoice_again(
    world: World, ada: TestClient, bob: TestClient, support: TestClient, unit: Unit
) -> None:
    bill, other = issued(world, "ada", [500]), issued(world, "bob", [700], "test:2")
    desk, form = browser(world, support), {"product": unit.product_id}
    answer = desk.post(f"/support/invoices/{bill}/send", data=form)
    assert answer.headers["location"] == f"/support/products/{unit.product_id}?sent=1#money"
    assert desk.post(f"/support/invoices/{other}/send", data=form).status_code == 404
    assert "You were sent invoice 2026-000001 again" in text_of(
        browser(world, ada).get("/hand-overs")
    )
    assert "You were sent" not in text_of(browser(world, bob).get("/hand-overs"))
    trail = ok(world.operator.get("/api/v1/audit?limit=5"))["items"]
    assert "invoice.send" in {one["action"] for one in trail}


def test_a_plan_without_means_leads_to_them(world: World, ada: TestClient) -> None:
    bill = issued(world, "ada", [500])
    client = browser(world, ada)
    assert f"/bills/means?of={world.owners['ada']}" in client.get(f"/bills/{bill}").text
    with write_session(world.hub.engine) as session:
        session.execute(update(BillingAccount).values(method="pm_1"))
    assert "/bills/means?of=" not in client.get(f"/bills/{bill}").text
