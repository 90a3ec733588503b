"""What Stripe's amounts and objects mean in the hub's terms.

1. Stripe's minor units differ from ISO 4217 for a few currencies (`stripe_amount`).
2. What is read was said by Stripe; a state that it did not have when this was written is no success.
What must never live here: requests, or what follows from an answer.
"""

from typing import Any, Final

from entitlements.billing.money import DECIMALS, Money
from hub.ports.payment.port import Answer, Outcome

_WHOLE: Final = frozenset({"MGA"})
_HUNDREDTHS: Final = frozenset({"ISK", "UGX"})
_TENS: Final = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})


class UnpayableAmountError(ValueError):
    """Stripe cannot collect this amount to the minor unit."""


def stripe_amount(amount: Money) -> int:
    """Return an amount in the minor units that Stripe counts in.

    Stripe counts Malagasy ariary whole, Icelandic krónur and Ugandan shillings in hundredths, and takes
    currencies of three decimals only in tens of their minor unit
    (https://docs.stripe.com/currencies#special-cases).

    Raises:
        UnpayableAmountError: it has no such amount.
    """
    if amount.currency in _HUNDREDTHS:
        return amount.minor * 100
    divisor = 100 if amount.currency in _WHOLE else 1
    step = 10 if amount.currency in _TENS else divisor
    if amount.minor % step or DECIMALS[amount.currency] > 3:
        raise UnpayableAmountError(f"Stripe cannot collect {amount}")
    return amount.minor // divisor


def money_of(amount: int, currency: str) -> Money:
    """Return an amount as Stripe counts it (see `stripe_amount`) in minor units of its currency.

    Raises:
        ValueError: no such currency, or an amount that is not whole in its minor unit.
    """
    code = currency.upper()
    if code not in DECIMALS:
        raise ValueError(f"{currency!r} is no currency")
    if code in _HUNDREDTHS:
        if amount % 100:
            raise ValueError(f"{amount} is no whole amount of {code}")
        return Money(amount // 100, code)
    return Money(amount * (100 if code in _WHOLE else 1), code)


def intent_answer(intent: dict[str, Any]) -> Answer:
    """Read a PaymentIntent, https://docs.stripe.com/payments/paymentintents/lifecycle."""
    match intent["status"]:
        case "succeeded":
            return Answer(Outcome.PAID, intent["id"])
        case "processing":
            return Answer(Outcome.PENDING, intent["id"])
        case "requires_action":
            return Answer(Outcome.FAILED, intent["id"], "authentication_required")
        case _:
            error = intent.get("last_payment_error") or {}
            code = error.get("decline_code") or error.get("code") or intent["status"]
            return Answer(Outcome.FAILED, intent["id"], code)


def refund_answer(refund: dict[str, Any]) -> Answer:
    """Read a Refund, https://docs.stripe.com/refunds#refund-failures."""
    match refund["status"]:
        case "succeeded":
            return Answer(Outcome.PAID, refund["id"])
        case "failed" | "canceled":
            code = refund.get("failure_reason") or refund["status"]
            return Answer(Outcome.FAILED, refund["id"], code)
        case _:
            return Answer(Outcome.PENDING, refund["id"])


def refusal(body: dict[str, Any]) -> Answer:
    """Read an error, https://docs.stripe.com/api/errors."""
    error = body.get("error") or {}
    intent = error.get("payment_intent") or {}
    code = error.get("decline_code") or error.get("code") or error.get("type") or "refused"
    return Answer(Outcome.FAILED, intent.get("id", ""), code)
