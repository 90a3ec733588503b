"""Money over HTTP: invoices, paying them, credit, means of payment, and events of Stripe."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import SecretStr

from entitlements.billing.money import Money
from hub.app.http import create_app
from hub.app.payment_desk import PaymentDesk
from hub.ports.database.billing_tables import BillingAccount, Invoice
from hub.ports.database.engine import read_session, write_session
from hub.ports.payment.port import Answer, Outcome, Removal
from hub.ports.payment.stripe_events import signature
from hub.services import invoices, ledger, payments, reversals
from hub.services.caller import Role
from hub.services.invoices import Line
from hub.services.pki import CertificateAuthority
from tests.hub.api.api_world import SECOND, World, new_world, ok, problem
from tests.hub.services.money_world import Provider

SECRET = "whsec_of_the_tests"
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)


class Shop:
    """A hub with a provider, and one household."""

    def __init__(self, world: World) -> None:
        self.provider = Provider()
        hub = replace(world.hub, payment=self.provider, stripe_webhook_secret=SecretStr(SECRET))
        world.hub, world.app = hub, create_app(hub)
        self.world = world
        self.ada = world.person("ada", Role.CUSTOMER)
        self.owner = world.owners["ada"]
        self.operator = world.client("operator-token-of-the-tests")
        self.account = f"/api/v1/owners/{self.owner}/billing-account"
        self.desk = PaymentDesk(
            hub.engine, self.provider, payments.NOTHING_FOLLOWS, KEY, world.clock
        )

    def invoice(self, cause: str, minor: int = 999, *, due: bool = False) -> str:
        line = Line(
            None, None, "plan", "plan.period", {"plan": "Comfort"}, Money(minor, "EUR"), 190_000
        )
        with write_session(self.world.hub.engine) as session:
            made = invoices.issue(
                session,
                self.world.hub.tokens,
                self.owner,
                [line],
                self.world.clock.now,
                cause=cause,
            )
            if due:
                payments.charge(session, made, self.world.clock.now)
            return made.id

    def event(self, kind: str, found: dict[str, Any], id_: str = "evt_1") -> Any:
        body = json.dumps({"id": id_, "type": kind, "data": {"object": found}}).encode()
        header = signature(SECRET, body, self.world.clock.now // SECOND)
        return self.world.client().post(
            "/api/v1/webhooks/stripe", content=body, headers={"Stripe-Signature": header}
        )


@pytest.fixture
def shop(tmp_path: Path, new_database: str, authority: CertificateAuthority) -> Iterator[Shop]:
    with new_world(tmp_path, new_database, authority) as world:
        yield Shop(world)


def test_invoices_are_listed_read_and_printed(shop: Shop) -> None:
    ids = []
    for number in range(3):
        shop.world.clock.now += SECOND
        ids.append(shop.invoice(f"renewal:{number}"))
    page = ok(shop.ada.get("/api/v1/invoices?limit=2"))
    assert [one["id"] for one in page["items"]] == [ids[2], ids[1]]
    rest = ok(shop.ada.get(f"/api/v1/invoices?limit=2&after={page['next']}"))
    assert ([one["id"] for one in rest["items"]], rest["next"]) == ([ids[0]], None)
    whole = ok(shop.ada.get(f"/api/v1/invoices/{ids[0]}"))
    assert whole["number"] == "2026-000001"
    assert whole["owed"] == {"minor": 999, "currency": "EUR", "text": "9.99"}
    (line,) = whole["lines"]
    assert (line["text"], line["net"]["minor"], line["tax"]["minor"], line["tax_percent"]) == (
        "Plan Comfort",
        839,
        160,
        "19",
    )
    printed = shop.ada.get(f"/api/v1/invoices/{ids[0]}/text?language=de").text
    for part in (
        "Rechnung 2026-000001",
        "Tarif Comfort",
        "19\u00a0%",
        "9,99\u00a0€",
        "Noch nicht bezahlt.",
    ):
        assert part in printed
    assert "Invoice 2026-000001" in shop.ada.get(f"/api/v1/invoices/{ids[0]}/text").text


def test_a_customer_gives_a_card_and_what_is_open_is_paid(shop: Shop) -> None:
    invoice = shop.invoice("renewal")
    path = f"/api/v1/invoices/{invoice}"
    problem(shop.ada.post(f"{path}/payments"), 409, "payment-method-missing")
    page = ok(shop.ada.post(f"{shop.account}/method", json={"return_url": "https://h.example/"}))
    assert page["url"].startswith("https://h.example/")
    given = {"id": "seti_1", "payment_method": "pm_1", "metadata": {"owner": shop.owner}}
    stranger = shop.event("setup_intent.succeeded", {**given, "customer": "cus-x"}, "evt_0")
    assert stranger.status_code == 204
    assert not ok(shop.ada.get(shop.account))["has_method"]
    answer = shop.event("setup_intent.succeeded", {**given, "customer": f"cus-{shop.owner}"})
    assert answer.status_code == 204
    assert shop.desk.step() == 1
    whole = ok(shop.ada.get(path))
    assert (whole["state"], whole["owed"]["minor"]) == ("paid", 0)
    assert [one["outcome"] for one in whole["payments"]] == ["paid"]
    (asked,) = shop.provider.asked
    assert (asked.payer.customer, asked.payer.method) == (f"cus-{shop.owner}", "pm_1")  # type: ignore[union-attr]


def test_a_dispute_is_booked_and_told_and_ends(shop: Shop) -> None:
    engine = shop.world.hub.engine
    ok(shop.operator.put(f"{shop.account}/method", json={"method": "pm_1"}))
    invoice = shop.invoice("renewal", due=True)
    shop.desk.step()
    (paid,) = ok(shop.ada.get(f"/api/v1/invoices/{invoice}"))["payments"]
    said = {
        "id": "dp_1",
        "payment_intent": f"ref-{paid['id']}",
        "amount": 999,
        "currency": "eur",
        "reason": "fraudulent",
        "evidence_details": {"due_by": shop.world.clock.now // SECOND + 86_400},
    }

    def books() -> dict[str, int]:
        with read_session(engine) as session:
            return {account: minor for (account, _), minor in ledger.balances(session).items()}

    opened = {**said, "status": "needs_response"}
    for number in range(2):  # another event of the same kind changes nothing
        answer = shop.event("charge.dispute.created", opened, f"evt_{number}")
        assert answer.status_code == 204
        assert (books()["cash"], books()["disputed"]) == (0, 999)
    with read_session(engine) as session:
        (told,) = reversals.problems(session, shop.world.clock.now)
        assert f"payment {paid['id']}" in told
        assert reversals.open_disputes(session) == 1
    assert (
        shop.event("charge.dispute.closed", {**said, "status": "lost"}, "evt_2").status_code < 300
    )
    assert shop.event("charge.dispute.created", opened, "evt_3").status_code == 204
    assert (books()["cash"], books()["disputed"], books()["loss"]) == (0, 0, 999)
    with read_session(engine) as session:
        assert reversals.problems(session, shop.world.clock.now) == []
    assert shop.ada.get(f"/api/v1/invoices/{invoice}").json()["state"] == "paid"


def test_a_means_of_payment_is_replaced_and_removed(shop: Shop) -> None:
    ok(shop.ada.post(f"{shop.account}/method", json={"return_url": "https://h.example/"}))
    for method in ("pm_1", "pm_2"):
        given = {"id": f"seti_{method}", "payment_method": method}
        given |= {"customer": f"cus-{shop.owner}"}
        about = {**given, "metadata": {"owner": shop.owner}}
        assert shop.event("setup_intent.succeeded", about, f"evt_{method}").status_code == 204
    assert ok(shop.ada.get(shop.account))["method_title"] == "Card pm_2"
    shop.provider.answers = [None]  # the provider is away at first
    shop.desk.step()
    assert shop.provider.removed == []
    shop.world.clock.now += 3_600 * SECOND
    shop.desk.step()
    assert shop.provider.removed == [Removal("method", "pm_1")]
    for _ in range(2):
        assert not ok(shop.ada.delete(f"{shop.account}/method"))["has_method"]
    shop.desk.step()
    assert shop.provider.removed[1:] == [Removal("method", "pm_2")]


def test_a_write_that_costs_money_happens_once_by_its_key(shop: Shop) -> None:
    body = {"minor": 500, "currency": "EUR", "cause": "case:1"}
    path = f"/api/v1/owners/{shop.owner}/credits"
    assert shop.operator.post(path, json=body).status_code == 400
    for _ in range(2):
        answer = shop.operator.post(path, json=body, headers={"Idempotency-Key": "k1"})
        assert ok(answer, 201)["credit"]["minor"] == 500
    other = {**body, "currency": "XXX", "cause": "case:2"}
    wrong = shop.operator.post(path, json=other, headers={"Idempotency-Key": "k2"})
    problem(wrong, 422, "invalid-input")
    assert shop.ada.post(path, json=body, headers={"Idempotency-Key": "k3"}).status_code == 403


def test_credit_is_paid_back_by_support(shop: Shop) -> None:
    ok(shop.operator.put(f"{shop.account}/method", json={"method": "pm_1"}))
    shop.invoice("renewal", due=True)
    shop.desk.step()
    shop.invoice("withdrawal", -999)
    path = f"/api/v1/owners/{shop.owner}/refunds"
    body = {"minor": 999, "currency": "EUR", "cause": "withdrawal"}
    answer = ok(shop.operator.post(path, json=body, headers={"Idempotency-Key": "r"}), 202)
    assert [one["amount"]["minor"] for one in answer["payments"]] == [999]
    shop.desk.step()
    assert shop.provider.money == {"EUR": 0}


def test_support_closes_invoices(shop: Shop) -> None:
    first, second = shop.invoice("a"), shop.invoice("b")
    assert ok(shop.operator.post(f"/api/v1/invoices/{first}/void"))["state"] == "void"
    done = ok(shop.operator.post(f"/api/v1/invoices/{second}/write-off"))
    assert (done["state"], done["owed"]["minor"]) == ("uncollectible", 0)
    problem(shop.operator.post(f"/api/v1/invoices/{first}/write-off"), 409, "conflict")


def test_an_account_is_changed_only_as_it_was_read(shop: Shop) -> None:
    read = shop.ada.get(shop.account)
    assert ok(read)["currency"] == "EUR"
    tag = {"If-Match": read.headers["etag"]}
    change = {"region": "CH", "currency": "CHF", "address": "Gasse 1\nBern"}
    assert ok(shop.ada.patch(shop.account, json=change, headers=tag))["currency"] == "CHF"
    assert shop.ada.patch(shop.account, json=change, headers=tag).status_code == 412
    for wrong in (
        {"currency": "XYZ"},
        {"zone": "Mars/Base"},
        {"address": "a\u0007"},
        {"method": "x"},
    ):
        assert shop.ada.patch(shop.account, json=wrong).status_code == 422
    with write_session(shop.world.hub.engine) as session:
        assert session.get_one(BillingAccount, shop.owner).region == "CH"


def test_events_that_are_not_signed_are_refused(shop: Shop) -> None:
    path, body = "/api/v1/webhooks/stripe", b'{"id": "evt_1"}'
    for header in ("", signature("wrong", body, shop.world.clock.now // SECOND)):
        answer = shop.ada.post(path, content=body, headers={"Stripe-Signature": header})
        problem(answer, 401, "not-authenticated")
    late = signature(SECRET, body, shop.world.clock.now // SECOND - 301)
    problem(
        shop.ada.post(path, content=body, headers={"Stripe-Signature": late}),
        401,
        "not-authenticated",
    )
    right = signature(SECRET, body, shop.world.clock.now // SECOND)
    problem(
        shop.ada.post(path, content=body, headers={"Stripe-Signature": right}), 422, "invalid-input"
    )


def test_events_twice_and_in_any_order_do_no_harm(shop: Shop) -> None:
    ok(shop.operator.put(f"{shop.account}/method", json={"method": "pm_1"}))
    invoice = shop.invoice("renewal", due=True)
    shop.provider.answers = [Answer(Outcome.PENDING)]
    shop.desk.step()
    attempt = shop.provider.asked[0].attempt_id
    intent = {"id": "pi_1", "metadata": {"attempt": attempt}}
    paid = {**intent, "status": "succeeded"}
    failed = {**intent, "status": "requires_payment_method"}
    for id_, kind, found in (
        ("evt_2", "payment_intent.succeeded", paid),
        ("evt_2", "payment_intent.succeeded", paid),
        ("evt_1", "payment_intent.payment_failed", failed),
        ("evt_0", "payment_intent.processing", {**intent, "status": "processing"}),
        ("evt_3", "payment_intent.succeeded", {**paid, "metadata": {"attempt": "unknown"}}),
        ("evt_4", "customer.updated", {"id": "cus_1"}),
    ):
        assert shop.event(kind, found, id_).status_code == 204
    with read_session(shop.world.hub.engine) as session:
        assert session.get_one(Invoice, invoice).state == "paid"
        assert invoices.owed(session, session.get_one(Invoice, invoice)) == Money(0, "EUR")
    whole = ok(shop.ada.get(f"/api/v1/invoices/{invoice}"))
    assert [one["outcome"] for one in whole["payments"]] == ["paid"]


def test_other_households_and_their_invoices_do_not_exist(shop: Shop) -> None:
    invoice = shop.invoice("renewal")
    bob = shop.world.person("bob", Role.CUSTOMER)
    for path in (
        f"/api/v1/invoices/{invoice}",
        f"/api/v1/invoices/{invoice}/text",
        f"/api/v1/invoices?owner_id={shop.owner}",
        shop.account,
    ):
        assert bob.get(path).status_code == 404
    assert bob.patch(shop.account, json={"region": "CH"}).status_code == 404
    assert bob.post(f"/api/v1/invoices/{invoice}/payments").status_code == 404
