"""Plans that are paid for, over HTTP: previews say what happens, and nobody touches what is another's."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.app.billing_clock import BillingClock
from hub.app.http import create_app
from hub.app.payment_desk import PaymentDesk
from hub.ports.database.engine import write_session
from hub.services import billing_accounts, catalogue, renewals
from hub.services.caller import HUB, Role
from hub.services.pki import CertificateAuthority
from tests.hub.api.api_world import World, new_world, ok, problem
from tests.hub.services.money_world import Provider

PLANS = """
[taxes.DE]
rates = { standard = "19" }
[[plans.basic.versions]]
version = 1
price = { EUR = "3.10" }
tax = "standard"
features = { telemetry = {} }
[[plans.full.versions]]
version = 1
price = { EUR = "9.99" }
tax = "standard"
features = { telemetry = {} }
"""
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)


class Shop:
    """A hub that bills, and Ada's product."""

    def __init__(self, world: World) -> None:
        provider = Provider()
        world.hub = replace(world.hub, payment=provider)
        world.app = create_app(world.hub)
        self.world, engine, tokens = world, world.hub.engine, world.hub.tokens
        self.ada = world.person("ada", Role.CUSTOMER)
        self.unit = world.unit(self.ada)
        self.path = f"/api/v1/products/{self.unit.device_id}/subscription"
        with write_session(engine) as session:
            catalogue.apply(session, HUB, catalogue.parse(PLANS), world.clock.now)
            account = billing_accounts.of_owner(session, world.owners["ada"], world.clock.now)
            account.method = "card"
        self.desk = PaymentDesk(engine, provider, renewals.hooks(tokens), KEY, world.clock)
        self.billing = BillingClock(engine, tokens, world.clock)

    def settle(self) -> None:
        while self.billing.step() or self.desk.step():
            pass

    def subscribe(self, **more: Any) -> Any:
        return self.ada.post(self.path, json={"plan": "basic", "trial": False, **more})


@pytest.fixture
def shop(tmp_path: Path, new_database: str, authority: CertificateAuthority) -> Iterator[Shop]:
    with new_world(tmp_path, new_database, authority) as world:
        yield Shop(world)


def test_a_preview_says_what_happens_and_changes_nothing(shop: Shop) -> None:
    problem(shop.ada.get(shop.path), 404, "not-found")
    seen = ok(shop.subscribe(preview=True), 201)
    assert (seen["preview"], seen["subscription"]["status"]) == (True, "active")
    assert seen["bill"]["due"] == {"minor": 310, "currency": "EUR", "text": "3.10"}
    assert seen["bill"]["invoice_id"] is None
    problem(shop.ada.get(shop.path), 404, "not-found")

    done = ok(shop.subscribe(), 201)
    assert done["subscription"]["status"] == "incomplete"
    shop.settle()
    now = ok(shop.ada.get(shop.path))
    after = seen["subscription"]
    for name in ("status", "plan", "period_end", "covered_until", "next_at", "next_amount"):
        assert now[name] == after[name], name

    change = {"plan": "full", "when": "now"}
    seen = ok(shop.ada.post(f"{shop.path}/change", json={**change, "preview": True}))
    done = ok(shop.ada.post(f"{shop.path}/change", json=change))
    assert done["bill"]["total"] == seen["bill"]["total"]
    assert [line["code"] for line in done["bill"]["lines"]] == [
        line["code"] for line in seen["bill"]["lines"]
    ]
    assert done["subscription"]["plan"] == "basic"  # until it is paid
    shop.settle()
    assert ok(shop.ada.get(shop.path))["plan"] == seen["subscription"]["plan"] == "full"


def test_a_write_with_a_key_happens_once(shop: Shop) -> None:
    key = {"Idempotency-Key": "order-1"}
    body = {"plan": "basic", "trial": False}
    first = shop.ada.post(shop.path, json=body, headers=key)
    again = shop.ada.post(shop.path, json=body, headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content


def test_other_households_find_nothing_and_staff_may(shop: Shop) -> None:
    ok(shop.subscribe(), 201)
    shop.settle()
    bob = shop.world.person("bob", Role.CUSTOMER)
    problem(bob.get(shop.path), 404, "not-found")
    problem(bob.post(f"{shop.path}/cancel", json={}), 404, "not-found")
    problem(shop.world.client().get(shop.path), 401, "not-authenticated")
    operator = shop.world.client("operator-token-of-the-tests")
    done = ok(operator.post(f"{shop.path}/cancel", json={}))
    assert done["subscription"]["status"] == "cancelled"
    assert ok(shop.ada.delete(f"{shop.path}/cancel"))["subscription"]["status"] == "active"
    withdrawn = ok(shop.ada.post(f"{shop.path}/withdraw", json={"preview": True}))
    assert withdrawn["bill"]["total"]["minor"] == -310
    problem(shop.ada.post(f"{shop.path}/resume"), 409, "conflict")


def test_promotions_are_made_by_operators(shop: Shop) -> None:
    operator = shop.world.client("operator-token-of-the-tests")
    body = {"code": "spring-26", "percent_ppm": 500_000, "most": 1}
    made = ok(operator.post("/api/v1/promotions", json=body), 201)
    assert (made["code"], made["redeemed"]) == ("SPRING-26", 0)
    problem(shop.ada.post("/api/v1/promotions", json=body), 403, "forbidden")
    seen = ok(shop.subscribe(promotion="Spring-26"), 201)
    assert seen["bill"]["total"]["minor"] == 155
    assert ok(operator.get("/api/v1/promotions"))["promotions"][0]["redeemed"] == 1
    assert ok(operator.post("/api/v1/promotions/SPRING-26/end"))["ends_at"] is not None
