"""Stripe's adapter against localstripe, and against answers that localstripe does not give."""

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from entitlements.billing.money import Money
from hub.errors import NotAuthenticatedError
from hub.ports.payment.port import (
    Answer,
    Charge,
    Outcome,
    Payer,
    PaymentUnreachableError,
    Place,
    Refund,
    Removal,
    Reversal,
)
from hub.ports.payment.stripe import StripePayments
from hub.ports.payment.stripe_events import read, signature, verify
from hub.ports.payment.stripe_objects import UnpayableAmountError, money_of, stripe_amount
from tests.hub.payment.localstripe_server import (
    KEY,
    PATIENCE_S,
    SECRET,
    LocalStripe,
    listening,
    running,
)

T0 = 1_900_000_000 * 10**9
DAY = 86_400 * 10**9


@pytest.fixture(scope="module")
def localstripe() -> Iterator[LocalStripe]:
    with running() as stripe:
        yield stripe


@pytest.fixture
def stripe(localstripe: LocalStripe) -> Iterator[StripePayments]:
    made = StripePayments(KEY, url=localstripe.url, methods=("card", "sepa_debit"))
    yield made
    made.close()


def charge(payer: Payer, minor: int = 999, *, reference: str = "", later: int = 0) -> Charge:
    return Charge("attempt1", payer, Money(minor, "EUR"), "2030-000001", reference, T0, T0 + later)


def payer(localstripe: LocalStripe, number: str) -> Payer:
    customer = localstripe.customer()
    return Payer("owner1", customer, localstripe.card(customer, number))


def test_a_card_pays_and_is_paid_back(localstripe: LocalStripe, stripe: StripePayments) -> None:
    paid = stripe.charge(charge(payer(localstripe, "4242424242424242")))
    assert (paid.outcome, paid.code) == (Outcome.PAID, "")
    intent = localstripe.get(f"/v1/payment_intents/{paid.reference}")
    assert (intent["amount"], intent["currency"]) == (999, "eur")
    assert intent["metadata"] == {"attempt": "attempt1", "invoice": "2030-000001"}
    back = stripe.refund(Refund("attempt2", paid.reference, Money(400, "EUR"), "", T0, T0))
    assert back.outcome is Outcome.PAID
    refund = localstripe.get(f"/v1/refunds/{back.reference}")
    assert (refund["amount"], refund["metadata"]) == (400, {"attempt": "attempt2"})
    again = stripe.refund(
        Refund("attempt2", paid.reference, Money(400, "EUR"), back.reference, T0, T0)
    )
    assert again == back


@pytest.mark.parametrize(
    ("number", "code"),
    [("4000000000000341", "card_declined"), ("4000002500003155", "authentication_required")],
)
def test_a_card_that_is_declined(
    localstripe: LocalStripe, stripe: StripePayments, number: str, code: str
) -> None:
    answer = stripe.charge(charge(payer(localstripe, number)))
    assert (answer.outcome, answer.code) == (Outcome.FAILED, code)


def test_a_bank_account_answers_later(localstripe: LocalStripe, stripe: StripePayments) -> None:
    customer = localstripe.customer()
    who = Payer("owner1", customer, localstripe.account(customer, "DE62370400440532013001"))
    first = stripe.charge(charge(who))
    assert first.outcome is Outcome.PENDING
    deadline = time.monotonic() + PATIENCE_S
    while True:  # as the desk does
        answer = stripe.charge(charge(who, reference=first.reference))
        if answer.outcome is not Outcome.PENDING:
            break
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (answer.outcome, answer.reference) == (Outcome.FAILED, first.reference)


def test_events_are_signed_and_say_what_happened(
    localstripe: LocalStripe, stripe: StripePayments
) -> None:
    with listening(localstripe) as heard:
        paid = stripe.charge(charge(payer(localstripe, "4242424242424242")))
        stripe.charge(charge(payer(localstripe, "4000000000000341")))
        said: list[Answer] = []
        while paid not in said or "card_declined" not in {one.code for one in said}:
            body, header = heard.get(timeout=PATIENCE_S)
            verify(SECRET, body, header, int(time.time()))
            event = read(body)
            if event.answer is not None:
                assert event.attempt_id == "attempt1"
                said.append(event.answer)


def test_a_key_that_is_not_known_is_no_decline(localstripe: LocalStripe) -> None:
    wrong = StripePayments("wrong", url=localstripe.url)
    with pytest.raises(PaymentUnreachableError, match="401"):
        wrong.charge(charge(Payer("owner1", "cus_x", "pm_x")))
    wrong.close()


def test_no_means_of_payment(stripe: StripePayments) -> None:
    answer = stripe.charge(charge(Payer("owner1")))
    assert answer == Answer(Outcome.FAILED, "", "no_payment_method")


class Wire:
    """Answers of Stripe as its documentation shows them."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        status, body = self.answers.pop(0)
        if status == 0:
            raise httpx.ReadTimeout("", request=request)
        return httpx.Response(status, json=body)

    @property
    def stripe(self) -> StripePayments:
        return StripePayments(KEY, transport=httpx.MockTransport(self))


WHO = Payer("owner1", "cus_1", "pm_1")
SUCCEEDED = {"id": "pi_1", "status": "succeeded", "metadata": {"attempt": "attempt1"}}


def test_the_attempt_is_the_idempotency_key() -> None:
    wire = Wire((200, SUCCEEDED))
    assert wire.stripe.charge(charge(WHO)).outcome is Outcome.PAID
    (request,) = wire.requests
    assert request.headers["Idempotency-Key"] == "attempt1"
    assert parse_qs(request.content.decode())["off_session"] == ["true"]
    assert str(request.url) == "https://api.stripe.com/v1/payment_intents"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (0, {}),
        (409, {"type": "invalid_request_error", "code": "idempotency_key_in_use"}),
        (400, {"type": "idempotency_error"}),
        (429, {"type": "invalid_request_error", "code": "rate_limit"}),
        (500, {"type": "api_error"}),
        (403, {"type": "invalid_request_error"}),
    ],
)
def test_what_leaves_doubt_is_no_answer(status: int, error: dict[str, str]) -> None:
    with pytest.raises(PaymentUnreachableError) as told:
        Wire((status, {"error": error})).stripe.charge(charge(WHO))
    assert KEY not in str(told.value)


def test_what_is_under_way_is_asked_for_by_its_name() -> None:
    wire = Wire((200, {"id": "pi_1", "status": "processing"}), (200, SUCCEEDED))
    stripe = wire.stripe
    first = stripe.charge(charge(WHO))
    assert first == Answer(Outcome.PENDING, "pi_1")
    assert stripe.charge(charge(WHO, reference="pi_1")).outcome is Outcome.PAID
    assert wire.requests[1].url.path == "/v1/payment_intents/pi_1"


def test_a_decline_names_its_reason_and_its_intent() -> None:
    error = {
        "type": "card_error",
        "code": "card_declined",
        "decline_code": "insufficient_funds",
        "payment_intent": {"id": "pi_9", "status": "requires_payment_method"},
    }
    answer = Wire((402, {"error": error})).stripe.charge(charge(WHO))
    assert answer == Answer(Outcome.FAILED, "pi_9", "insufficient_funds")


def test_an_attempt_older_than_its_key_is_looked_for_first() -> None:
    other = {"id": "pi_0", "status": "succeeded", "metadata": {"attempt": "another"}}
    first = {"data": [other], "has_more": True}
    wire = Wire((200, first), (200, {"data": [SUCCEEDED], "has_more": False}))
    assert wire.stripe.charge(charge(WHO, later=DAY)) == Answer(Outcome.PAID, "pi_1")
    assert [request.method for request in wire.requests] == ["GET", "GET"]
    assert wire.requests[1].url.params["starting_after"] == "pi_0"
    wire = Wire((200, {"data": [], "has_more": False}), (200, SUCCEEDED))
    assert wire.stripe.charge(charge(WHO, later=DAY)).outcome is Outcome.PAID
    assert [request.method for request in wire.requests] == ["GET", "POST"]


def test_a_means_of_payment_is_given_on_stripes_page() -> None:
    wire = Wire((200, {"id": "cus_7"}), (200, {"id": "cs_1", "url": "https://stripe.example/c"}))
    setup = wire.stripe.setup(Payer("owner1"), "A household", "https://hub.example/", T0)
    assert (setup.customer, setup.url) == ("cus_7", "https://stripe.example/c")
    form = parse_qs(wire.requests[1].content.decode())
    assert (form["mode"], form["customer"]) == (["setup"], ["cus_7"])
    assert form["setup_intent_data[metadata][owner]"] == ["owner1"]


@pytest.mark.parametrize(
    ("minor", "currency", "counted"),
    [
        (999, "EUR", 999),
        (1_200, "JPY", 1_200),
        (1_230, "KWD", 1_230),
        (5, "ISK", 500),
        (500, "MGA", 5),
    ],
)
def test_minor_units_of_stripe(minor: int, currency: str, counted: int) -> None:
    assert stripe_amount(Money(minor, currency)) == counted
    assert money_of(counted, currency.lower()) == Money(minor, currency)


def test_amounts_that_stripe_cannot_collect() -> None:
    for amount in (Money(1_234, "KWD"), Money(501, "MGA"), Money(1, "CLF")):
        with pytest.raises(UnpayableAmountError):
            stripe_amount(amount)
    fils = Charge("attempt1", WHO, Money(1_234, "KWD"), "", "", T0, T0)
    assert Wire().stripe.charge(fils).code == "unpayable_amount"


BODY = json.dumps({"id": "evt_1", "type": "x", "data": {"object": {}}}).encode()


@pytest.mark.parametrize(
    ("header", "now"),
    [
        ("", 1_000),
        ("t=1000", 1_000),
        ("v1=00", 1_000),
        ("t=x,v1=00", 1_000),
        ("t=1000,v1=00", 1_000),
        ("t=1000,v1=\u00e9", 1_000),
        (signature("other", BODY, 1_000), 1_000),
        (signature(SECRET, BODY + b" ", 1_000), 1_000),
        (signature(SECRET, BODY, 1_000).replace("t=1000", "t=1001"), 1_000),
        (signature(SECRET, BODY, 1_000), 1_301),
        (signature(SECRET, BODY, 1_000), 699),
    ],
)
def test_events_that_are_not_believed(header: str, now: int) -> None:
    with pytest.raises(NotAuthenticatedError):
        verify(SECRET, BODY, header, now)


def test_events_that_are_believed() -> None:
    right = signature(SECRET, BODY, 1_000)
    verify(SECRET, BODY, right, 1_300)
    verify(SECRET, BODY, right.replace(",v1=", ",v1=00,v0=11,v1="), 1_000)
    with pytest.raises(NotAuthenticatedError):
        verify("", BODY, signature("", BODY, 1_000), 1_000)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"id": 1, "type": "x", "data": 5}'])
def test_bodies_that_are_no_events(body: bytes) -> None:
    with pytest.raises(ValueError, match="no event of Stripe"):
        read(body)


def test_what_events_mean() -> None:
    def event(kind: str, **found: Any) -> Any:
        said = {"id": "evt_1", "type": kind, "data": {"object": found}}
        return read(json.dumps(said).encode())

    back = event(
        "refund.failed",
        id="re_1",
        status="failed",
        failure_reason="lost_or_stolen_card",
        metadata={"attempt": "a"},
    )
    assert (back.attempt_id, back.answer) == (
        "a",
        Answer(Outcome.FAILED, "re_1", "lost_or_stolen_card"),
    )
    given = event(
        "setup_intent.succeeded",
        id="seti_1",
        customer="cus_1",
        payment_method="pm_1",
        metadata={"owner": "o"},
    )
    assert (given.owner_id, given.customer, given.method) == ("o", "cus_1", "pm_1")
    assert event("customer.created", id="cus_1").answer is None


def reversal(kind: str, **found: Any) -> Reversal | None:
    said = {"id": "evt_1", "type": kind, "created": 1_000, "data": {"object": found}}
    return read(json.dumps(said).encode()).reversal


DISPUTE = {
    "id": "dp_1",
    "payment_intent": "pi_1",
    "amount": 999,
    "currency": "eur",
    "reason": "fraudulent",
    "evidence_details": {"due_by": 2_000},
}


@pytest.mark.parametrize(
    ("status", "place", "stage", "answer_by"),
    [
        ("warning_needs_response", Place.KEPT, 0, None),
        ("needs_response", Place.HELD, 1, 2_000 * 10**9),
        ("under_review", Place.HELD, 1, 2_000 * 10**9),
        ("won", Place.KEPT, 2, None),
        ("lost", Place.GONE, 2, None),
    ],
)
def test_what_disputes_mean(status: str, place: Place, stage: int, answer_by: int | None) -> None:
    found = reversal("charge.dispute.updated", **DISPUTE, status=status)
    amount = Money(999, "EUR")
    assert found == Reversal(
        "dp_1", "dispute", "pi_1", amount, place, stage, 1_000, "fraudulent", answer_by
    )


def test_reversals_that_say_nothing() -> None:
    assert reversal("charge.dispute.created", **DISPUTE, status="of_another_year") is None
    none = {**DISPUTE, "payment_intent": None, "status": "lost"}
    assert reversal("charge.dispute.closed", **none) is None
    own = {"id": "re_1", "status": "succeeded", "metadata": {"attempt": "a"}}
    assert reversal("refund.created", **own) is None


def test_a_refund_that_somebody_made_at_stripe(
    localstripe: LocalStripe, stripe: StripePayments
) -> None:
    paid = stripe.charge(charge(payer(localstripe, "4242424242424242")))
    made = localstripe.post("/v1/refunds", payment_intent=paid.reference, amount=250)
    found = reversal("refund.created", **made)
    assert found is not None
    assert (found.id, found.kind, found.reference) == (made["id"], "refund", paid.reference)
    assert (found.amount, found.place) == (Money(250, "EUR"), Place.GONE)
    failed = reversal("refund.failed", **{**made, "status": "failed"})
    assert failed is not None
    assert (failed.place, failed.stage > found.stage) == (Place.KEPT, True)


def test_stripe_forgets_customers_and_means(
    localstripe: LocalStripe, stripe: StripePayments
) -> None:
    who = payer(localstripe, "4242424242424242")
    assert stripe.title(who.method) == "Visa •••• 4242 (12/2050)"
    for _ in range(2):
        stripe.remove(Removal("method", who.method))
    assert localstripe.get(f"/v1/payment_methods/{who.method}")["customer"] is None
    for _ in range(2):
        stripe.remove(Removal("customer", who.customer))
    assert localstripe.client.get(f"/v1/customers/{who.customer}").json().get("deleted", True)


def test_an_order_to_forget_is_kept_until_stripe_answers() -> None:
    for status in (0, 429, 500):
        with pytest.raises(PaymentUnreachableError):
            Wire((status, {"error": {"type": "api_error"}})).stripe.remove(
                Removal("customer", "cus_1")
            )
