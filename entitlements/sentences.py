"""English sentences for the codes of decisions.

1. Codes and arguments are what is stored and sent; a sentence is made only when a person reads it.
2. Every `Code` has exactly one template, whose fields are arguments of that code.
3. Templates speak to the customer about their product. Who placed a hold, and why, is for support
   and never appears here.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from entitlements.codes import Arg, Code

TEMPLATES: Mapping[Code, str] = {
    Code.REVOKED: "This product's identity was revoked on {since_at}.",
    Code.UNKNOWN_FEATURE: "A {model} has no feature called {feature}.",
    Code.SAFE_FUNCTION: "This is a safety function: it is always available.",
    Code.HOLD: "Blocked since {since_at} by a {kind} hold ({until_at}).",
    Code.UNCLAIMED: "Nobody has claimed this product yet.",
    Code.GRANT: "Granted to this product ({until_at}).",
    Code.PLAN: "Part of plan {plan} ({until_at}).",
    Code.TRIAL: "Part of the free trial of plan {plan} ({until_at}).",
    Code.CANCELLED: "Part of plan {plan}, which is cancelled ({until_at}).",
    Code.GRACE: (
        "Plan {plan} was paid until {paid_until_at}; the feature stays available for a while"
        " ({until_at})."
    ),
    Code.INCLUDED: "Included with every {model}.",
    Code.SCHEDULED: "Plan {plan} starts on {from_at}.",
    Code.LAPSED: "Plan {plan} lapsed on {since_at} because it was not renewed.",
    Code.ENDED: "Plan {plan} ended on {since_at}.",
    Code.NOT_IN_PLAN: "Plan {plan} does not include this feature.",
    Code.NO_SUBSCRIPTION: "No plan covers this product.",
    Code.QUOTA_USED: "The quota of this period is used up ({until_at}).",
    Code.PAST_DUE: (
        "Plan {plan} was paid until {paid_until_at}; the payment of what follows is being collected"
        " ({until_at})."
    ),
    Code.PAUSED: "Plan {plan} has been paused since {since_at} ({until_at}).",
    Code.INCOMPLETE: "The first payment for plan {plan} has not arrived yet.",
    Code.WITHDRAWN: "The contract for plan {plan} was withdrawn from on {since_at}.",
}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def sentence(code: str, args: Mapping[str, Arg]) -> str:
    """Render a code and its arguments as an English sentence.

    Args:
        code: code of a decision.
        args: its arguments. Instants are shown in UTC to the minute.

    Raises:
        ValueError: no such code, or an argument of it is missing.
    """
    try:
        template = TEMPLATES[Code(code)]
    except ValueError:
        raise ValueError(f"{code!r} is not the code of a decision") from None
    shown = {name: _shown(name, value) for name, value in args.items()}
    try:
        return template.format(**shown)
    except KeyError as error:
        raise ValueError(f"code {code} lacks its argument {error.args[0]}") from None


def _shown(name: str, value: Arg) -> str:
    if not name.endswith("_at"):
        return str(value)
    text = "without end" if value is None else instant_text(int(value))
    return f"until {text}" if name == "until_at" and value is not None else text


def instant_text(at: int) -> str:
    """Return an instant (ns UTC) as text, such as `2026-03-01 00:00 UTC`."""
    try:
        moment = _EPOCH + timedelta(microseconds=at // 1_000)
    except OverflowError:
        return f"{at} ns"
    return f"{moment:%Y-%m-%d %H:%M} UTC"
