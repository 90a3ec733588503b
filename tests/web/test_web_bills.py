"""Bills: the list, one of them, how a household is billed, and whose they are."""

from collections.abc import Sequence

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from entitlements.billing.money import Money
from hub.ports.database.billing_tables import BillingAccount
from hub.ports.database.engine import write_session
from hub.services import invoices
from hub.services.invoices import Line
from tests.hub.api.api_world import CATALOGUE, DAY, START, World, ok
from tests.web.pages_world import browser, text_of


@pytest.fixture
def taxed(world: World) -> World:
    taxes = {"DE": {"title": "MwSt.", "rates": {"standard": "19", "reduced": "7"}}}
    ok(world.operator.post("/api/v1/catalogue", json={**CATALOGUE, "taxes": taxes}))
    return world


def issued(world: World, owner: str, minors: Sequence[int], cause: str = "test:1") -> str:
    """Issue an invoice with a line for each amount, the last of them at 7 %."""
    lines = [
        Line(
            None,
            None,
            "plan",
            "plan.period",
            {"plan": "comfort"},
            Money(minor, "EUR"),
            70_000 if place == len(minors) - 1 else 190_000,
            1,
            START,
            START + 31 * DAY,
        )
        for place, minor in enumerate(minors)
    ]
    with write_session(world.hub.engine) as session:
        at = world.clock.now
        row = invoices.issue(session, world.hub.tokens, world.owners[owner], lines, at, cause=cause)
        return row.id


def test_the_list_and_one_invoice(taxed: World, ada: TestClient) -> None:
    bill = issued(taxed, "ada", [1_190, 107])
    client = browser(taxed, ada)
    text = text_of(client.get("/bills"))
    assert "To be paid €12.97 Invoice 2026-000001 of 31 Jan 2026" in text
    assert "2026-000001 31 Jan 2026 €12.97 to be paid" in text
    text = text_of(client.get(f"/bills/{bill}"))
    assert "Invoice 2026-000001 31 Jan 2026" in text
    assert "Plan comfort 31 Jan 2026" in text
    assert "1 €10.00 19 % €11.90" in text
    assert "MwSt. 19 % of €10.00 €1.90" in text
    assert "MwSt. 7 % of €1.00 €0.07" in text
    assert "Total €12.97" in text
    client.headers["Cookie"] += "; __Host-homeport-language=de"
    german = text_of(client.get(f"/bills/{bill}"))
    assert "Rechnung 2026-000001 31.01.2026" in german
    assert "Summe 12,97 €" in german


def test_an_open_invoice_is_paid(taxed: World, ada: TestClient, bob: TestClient) -> None:
    bill = issued(taxed, "ada", [1_000])
    client = browser(taxed, ada)
    assert "Pay now €10.00" in text_of(client.get(f"/bills/{bill}"))
    refused = client.post(f"/bills/{bill}/pay")
    assert refused.status_code == 409
    assert "There is no means of payment yet." in text_of(refused)
    with write_session(taxed.hub.engine) as session:
        session.execute(update(BillingAccount).values(method="local:ok"))
    assert browser(taxed, bob).post(f"/bills/{bill}/pay").status_code == 404
    assert client.post(f"/bills/{bill}/pay").headers["location"] == f"/bills/{bill}"
    assert "It is collected by itself:" in text_of(client.get(f"/bills/{bill}"))


def test_what_is_given_back_is_credit(taxed: World, ada: TestClient) -> None:
    issued(taxed, "ada", [-500])
    text = text_of(browser(taxed, ada).get("/bills"))
    assert "Credit €5.00" in text
    assert "paid" in text


def test_how_a_household_is_billed(taxed: World, ada: TestClient) -> None:
    client = browser(taxed, ada)
    assert "No invoices yet." in text_of(client.get("/bills"))
    owner = taxed.owners["ada"]
    form = {
        "name": "Ada Ltd",
        "address": "Quay 1\n20457 Hamburg",
        "email": "bills@example.org",
        "tax_id": "DE123",
        "currency": "eur",
        "zone": "Europe/Berlin",
    }
    answer = client.post(f"/bills/account/{owner}", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/bills?of={owner}&saved=1")
    text = text_of(client.get(answer.headers["location"]))
    assert "Saved." in text
    assert "Ada Ltd Address Quay 1 20457 Hamburg Invoices go to bills@example.org" in text
    refused = client.post(f"/bills/account/{owner}", data={**form, "zone": "Nowhere"})
    assert refused.status_code == 422
    assert "a time zone such as Europe/Berlin" in text_of(refused)
    issued(taxed, "ada", [1_000])
    refused = client.post(f"/bills/account/{owner}", data={**form, "currency": "USD"})
    assert refused.status_code == 409
    assert "The currency stays as it is" in text_of(refused)


def test_bills_of_others_are_not_there(taxed: World, ada: TestClient, bob: TestClient) -> None:
    bill = issued(taxed, "ada", [1_000])
    client = browser(taxed, bob)
    assert client.get(f"/bills/{bill}").status_code == 404
    assert client.get(f"/bills?of={taxed.owners['ada']}").status_code == 404
    answer = client.post(f"/bills/account/{taxed.owners['ada']}", data={"name": "Bob"})
    assert answer.status_code == 404
    assert browser(taxed).get("/bills").headers["location"].startswith("/sign-in")
