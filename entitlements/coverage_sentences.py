"""English sentences for the codes of covers.

1. Every `CoverCode` has exactly one template, whose fields are arguments of that code.
2. Templates speak to the customer about their product.
"""

from collections.abc import Mapping

from entitlements.codes import Arg
from entitlements.covers import CoverCode
from entitlements.sentences import instant_text

TEMPLATES: Mapping[CoverCode, str] = {
    CoverCode.NO_WARRANTY: "No warranty comes with this product.",
    CoverCode.WARRANTY_NOT_YET: "This product was not made before {from_at}.",
    CoverCode.WARRANTY_WAITING: (
        "Under warranty, which begins with the first use, on {latest_at} at the latest, and "
        "lasts {months} months."
    ),
    CoverCode.WARRANTY: "Under warranty until {until_at}.",
    CoverCode.WARRANTY_HOURS: (
        "Under warranty until {until_at} at the latest; operating hours left: {hours_left}."
    ),
    CoverCode.WARRANTY_CYCLES: (
        "Under warranty until {until_at} at the latest; cycles left: {cycles_left}."
    ),
    CoverCode.WARRANTY_HOURS_CYCLES: (
        "Under warranty until {until_at} at the latest; operating hours left: {hours_left}, "
        "cycles left: {cycles_left}."
    ),
    CoverCode.WARRANTY_ENDED: "The warranty ended on {since_at}.",
    CoverCode.WARRANTY_ENDED_HOURS: (
        "The warranty ended on {since_at}: all of its operating hours were used."
    ),
    CoverCode.WARRANTY_ENDED_CYCLES: (
        "The warranty ended on {since_at}: all of its cycles were used."
    ),
    CoverCode.WARRANTY_ENDED_OWNER: (
        "The warranty ended on {since_at}, when the product changed hands: it does not pass on."
    ),
    CoverCode.CONTRACT_SCHEDULED: "Support contract {plan} begins on {from_at}.",
    CoverCode.CONTRACT: "Covered by support contract {plan} until {until_at}.",
    CoverCode.CONTRACT_INCIDENTS: (
        "Covered by support contract {plan} until {until_at}; cases left in this term: "
        "{incidents_left}."
    ),
    CoverCode.CONTRACT_USED_UP: (
        "All cases ({incidents}) that support contract {plan} covers until {until_at} are used up."
    ),
    CoverCode.CONTRACT_ENDED: "Support contract {plan} ended on {since_at}.",
    CoverCode.CONTRACT_ENDED_OWNER: (
        "Support contract {plan} ended on {since_at}, when the product changed hands: it does"
        " not pass on."
    ),
}


def sentence(code: str, args: Mapping[str, Arg]) -> str:
    """Render a code and its arguments as an English sentence; instants are shown in UTC.

    Raises:
        ValueError: no such code, or an argument of it is missing.
    """
    try:
        template = TEMPLATES[CoverCode(code)]
    except ValueError:
        raise ValueError(f"{code!r} is not the code of a cover") from None
    shown = {
        name: instant_text(value) if name.endswith("_at") and isinstance(value, int) else value
        for name, value in args.items()
    }
    try:
        return template.format(**shown)
    except KeyError as error:
        raise ValueError(f"code {code} lacks its argument {error.args[0]}") from None
