"""What the lines of invoices say, in the visitor's language.

1. A line is a code and its arguments; a code that nobody knows shows what the line is of.
"""

from collections.abc import Mapping
from typing import Any, Final

from hub.web.languages import N_, Language

LINES: Final[Mapping[str, str]] = {
    "plan.period": N_("Plan {plan}"),
    "addon.period": N_("Add-on {plan}"),
    "plan.discount": N_("Plan {plan}: {promotion}"),
    "plan.unused": N_("Plan {plan}: unused rest given back"),
    "plan.rest": N_("Plan {plan}: for the rest of the period"),
    "plan.given_back": N_("Plan {plan}: paid back (invoice {invoice})"),
}


def line(
    language: Language, code: str, arguments: Mapping[str, Any], plans: Mapping[str, str]
) -> str:
    """Say what a line is for.

    Args:
        language: of the visitor.
        code: of the line.
        arguments: of the code.
        plans: titles of plans, by name.
    """
    plan = str(arguments.get("plan", ""))
    shown = {**arguments, "plan": plans.get(plan) or plan}
    template = LINES.get(code)
    if template is None:
        return str(shown["plan"] or code)
    return language.text(template, **shown)
