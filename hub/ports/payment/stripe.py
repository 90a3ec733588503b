"""Stripe as the payment provider, over HTTPS.

1. The attempt's id is the idempotency key of the request and stands in the object's metadata. Stripe
   keeps keys for a day; an attempt that is older is looked for before it is made again.
2. A charge is a PaymentIntent that is confirmed at once, without the customer. A bank that wants to ask
   the customer has declined it. The hub sees no card: cards are given on Stripe's own page.
3. No answer of Stripe, and never the key, goes into logs or errors beyond its status and code.

4. Events that never came are asked for: of what no attempt asks for anyway (`stripe_events.ASKED_FOR`).

Shapes: https://docs.stripe.com/api/payment_intents, /refunds, /checkout/sessions, /events, /idempotent_requests.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import httpx

from hub.ports.payment import stripe_events
from hub.ports.payment.port import (
    Answer,
    Charge,
    Event,
    Outcome,
    Payer,
    PaymentUnreachableError,
    Refund,
    Removal,
    Setup,
)
from hub.ports.payment.stripe_objects import (
    UnpayableAmountError,
    intent_answer,
    refund_answer,
    refusal,
    stripe_amount,
)

VERSION: Final = "2024-06-20"
"""Version of the API that requests are written for."""
_TIMEOUT_S: Final = 30.0
_KEY_LASTS_NS: Final = 20 * 3_600_000_000_000
_DECLINED: Final = 402
_NOT_FOUND: Final = 404
_SECOND: Final = 1_000_000_000
_log = logging.getLogger("homeport.payments")
_PAGE: Final = 100


class StripePayments:
    """Stripe. Any thread may use it.

    Args:
        key: secret key of the account.
        url: base address of the API.
        methods: kinds of means of payment that are taken, such as `card` and `sepa_debit`.
        transport: how requests are sent; None: over the network.
    """

    has_page = True
    choices: Sequence[str] = ()

    def __init__(
        self,
        key: str,
        *,
        url: str = "https://api.stripe.com",
        methods: Iterable[str] = ("card",),
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._methods = tuple(methods)
        self._client = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}", "Stripe-Version": VERSION},
            timeout=_TIMEOUT_S,
            trust_env=False,
            transport=transport,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def charge(self, charge: Charge) -> Answer:
        """Collect money; see `PaymentPort`."""
        if charge.reference:
            return intent_answer(self._get(f"/v1/payment_intents/{charge.reference}"))
        if charge.at - charge.begun_at > _KEY_LASTS_NS:
            about = {"customer": charge.payer.customer, "created[gte]": _since(charge.begun_at)}
            found = self._made(charge.attempt_id, "/v1/payment_intents", about)
            if found is not None:
                return intent_answer(found)
        if not charge.payer.customer or not charge.payer.method:
            return Answer(Outcome.FAILED, "", "no_payment_method")
        try:
            amount = stripe_amount(charge.amount)
        except UnpayableAmountError:
            return Answer(Outcome.FAILED, "", "unpayable_amount")
        form = {
            "amount": amount,
            "currency": charge.amount.currency.lower(),
            "customer": charge.payer.customer,
            "payment_method": charge.payer.method,
            "payment_method_types[]": list(self._methods),
            "confirm": "true",
            "off_session": "true",
            "metadata[attempt]": charge.attempt_id,
            "metadata[invoice]": charge.text,
        }
        status, body = self._post("/v1/payment_intents", form, charge.attempt_id)
        return intent_answer(body) if status < 400 else refusal(body)

    def refund(self, refund: Refund) -> Answer:
        """Give money back; see `PaymentPort`."""
        if refund.reference:
            return refund_answer(self._get(f"/v1/refunds/{refund.reference}"))
        if refund.at - refund.begun_at > _KEY_LASTS_NS:
            about = {"payment_intent": refund.charge_reference}
            found = self._made(refund.attempt_id, "/v1/refunds", about)
            if found is not None:
                return refund_answer(found)
        try:
            amount = stripe_amount(refund.amount)
        except UnpayableAmountError:
            return Answer(Outcome.FAILED, "", "unpayable_amount")
        form = {
            "payment_intent": refund.charge_reference,
            "amount": amount,
            "metadata[attempt]": refund.attempt_id,
        }
        status, body = self._post("/v1/refunds", form, refund.attempt_id)
        return refund_answer(body) if status < 400 else refusal(body)

    def setup(self, payer: Payer, name: str, return_url: str, at: int) -> Setup:
        """Begin to give a means of payment on Stripe's page; see `PaymentPort`."""
        customer = payer.customer
        if not customer:
            about = {"name": name, "metadata[owner]": payer.owner_id}
            customer = self._demand("/v1/customers", about, f"customer-{payer.owner_id}")["id"]
        form: dict[str, Any] = {
            "mode": "setup",
            "customer": customer,
            "payment_method_types[]": list(self._methods),
            "setup_intent_data[metadata][owner]": payer.owner_id,
            "success_url": return_url,
            "cancel_url": return_url,
        }
        # One page for each minute: pressing twice opens the same one.
        key = f"setup-{payer.owner_id}-{at // (60 * _SECOND)}"
        session = self._demand("/v1/checkout/sessions", form, key)
        return Setup(customer, session["url"])

    def title(self, method: str) -> str:
        """Return brand or kind and the last digits of a means of payment; see `PaymentPort`."""
        found = self._get(f"/v1/payment_methods/{method}")
        kind = str(found.get("type", ""))
        about = found.get(kind) or {}
        name = str(about.get("brand") or kind).replace("_", " ")
        last = str(about.get("last4") or "")
        ends = ""
        if about.get("exp_month") and about.get("exp_year"):
            ends = f" ({about['exp_month']:02d}/{about['exp_year']})"
        return f"{name[:1].upper()}{name[1:]}{f' •••• {last}' if last else ''}{ends}"

    def remove(self, removal: Removal) -> None:
        """Delete a customer, or detach a means of payment; see `PaymentPort`."""
        if removal.kind == "customer":
            status, body = self._send("DELETE", f"/v1/customers/{removal.reference}")
        else:
            path = f"/v1/payment_methods/{removal.reference}/detach"
            status, body = self._send("POST", path)
        # What is not known is gone; 400 says of a means that it belongs to nobody any more.
        if status >= 400 and status != _NOT_FOUND and removal.kind == "customer":
            raise PaymentUnreachableError(f"Stripe deletes no customer: {refusal(body).code}.")

    def events(self, since: int, until: int) -> Sequence[Event]:
        """Ask for the events of means of payment, disputes and refunds; see `PaymentPort`."""
        about = {"created[gte]": since // _SECOND, "created[lt]": until // _SECOND}
        said = [
            found
            for kind in stripe_events.ASKED_FOR
            for found in self._pages("/v1/events", {"type": kind, **about})
        ]
        said.sort(key=lambda one: int(one.get("created") or 0))
        return [event for one in said if (event := _read(one)) is not None]

    def _made(self, attempt_id: str, path: str, about: dict[str, Any]) -> dict[str, Any] | None:
        """Look for what was made for an attempt."""
        for found in self._pages(path, about):
            if (found.get("metadata") or {}).get("attempt") == attempt_id:
                return found
        return None

    def _pages(self, path: str, about: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the objects of a list, page by page, the newest first."""
        after: dict[str, Any] = {}
        while True:
            page = self._get(path, about | {"limit": _PAGE} | after)
            yield from page["data"]
            if not page.get("has_more") or not page["data"]:
                return
            after = {"starting_after": page["data"][-1]["id"]}

    def _demand(self, path: str, form: dict[str, Any], key: str) -> dict[str, Any]:
        status, body = self._post(path, form, key)
        if status >= 400:
            raise PaymentUnreachableError(f"Stripe refused {path}: {refusal(body).code}.")
        return body

    def _post(self, path: str, form: dict[str, Any], key: str) -> tuple[int, dict[str, Any]]:
        return self._send("POST", path, data=form, headers={"Idempotency-Key": key})

    def _get(self, path: str, about: dict[str, Any] | None = None) -> dict[str, Any]:
        status, body = self._send("GET", path, params=about)
        if status >= 400:
            raise PaymentUnreachableError(f"Stripe does not know {path}.")
        return body

    def _send(self, method: str, path: str, **arguments: Any) -> tuple[int, dict[str, Any]]:
        """Send a request; only what leaves no doubt about what happened is an answer."""
        try:
            response = self._client.request(method, path, **arguments)
            body = response.json()
        except httpx.HTTPError as error:
            raise PaymentUnreachableError(
                f"Stripe cannot be reached ({type(error).__name__})."
            ) from error
        except ValueError as error:
            raise PaymentUnreachableError("Stripe's answer is no JSON.") from error
        status = response.status_code
        kind = (body.get("error") or {}).get("type")
        refused = status in {400, _DECLINED, _NOT_FOUND} and kind != "idempotency_error"
        if status >= 400 and not refused:
            raise PaymentUnreachableError(f"Stripe answers {status} ({kind or 'no reason given'}).")
        return status, body


def _read(said: dict[str, Any]) -> Event | None:
    """Read an event; one that nobody can read is passed over, or no later one would ever be heard."""
    try:
        return stripe_events.event_of(said)
    except ValueError:
        _log.warning("event %s of Stripe cannot be read", str(said.get("id"))[:200])
        return None


def _since(at: int) -> int:
    """Return Unix seconds a little before an instant, as clocks differ."""
    return at // _SECOND - 300
