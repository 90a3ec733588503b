"""What the lines of invoices say, in English and German.

1. Codes and arguments are what is stored; a sentence is made when a person reads it.
2. Every code that a line is issued with has a sentence in each language; another one is shown as it is.
What must never live here: amounts and dates; who shows a line puts them beside its sentence.
"""

from collections.abc import Mapping
from typing import Any, Final

ENGLISH: Final[Mapping[str, str]] = {
    "plan": "Plan {plan}",
    "plan.period": "Plan {plan}",
    "addon.period": "Add-on {plan}",
    "plan.discount": "Discount on {plan}: {promotion}",
    "plan.unused": "Unused time of {plan}, given back",
    "plan.rest": "Plan {plan}, rest of the period",
    "plan.given_back": "{plan}, given back (invoice {invoice})",
    "usage.overage": "{title} beyond what {plan} includes",
    "order.top_up": "{title}: {amount} {unit}",
    "order.given_back": "{title}, given back (invoice {invoice})",
    "credit": "Credit: {reason}",
}
GERMAN: Final[Mapping[str, str]] = {
    "plan": "Tarif {plan}",
    "plan.period": "Tarif {plan}",
    "addon.period": "Zusatz {plan}",
    "plan.discount": "Nachlass auf {plan}: {promotion}",
    "plan.unused": "Nicht genutzte Zeit von {plan}, gutgeschrieben",
    "plan.rest": "Tarif {plan}, Rest des Zeitraums",
    "plan.given_back": "{plan}, gutgeschrieben (Rechnung {invoice})",
    "usage.overage": "{title} über {plan} hinaus",
    "order.top_up": "{title}: {amount} {unit}",
    "order.given_back": "{title}, gutgeschrieben (Rechnung {invoice})",
    "credit": "Gutschrift: {reason}",
}
LANGUAGES: Final[Mapping[str, Mapping[str, str]]] = {"en": ENGLISH, "de": GERMAN}


class _Named(dict[str, Any]):
    """Arguments; one that is missing shows as its name."""

    def __missing__(self, name: str) -> str:
        return name


def sentence(language: str, code: str, arguments: Mapping[str, Any]) -> str:
    """Return what a line says.

    Args:
        language: `en` or `de`; another one is English.
        code: of the line.
        arguments: of the line.
    """
    template = LANGUAGES.get(language, ENGLISH).get(code)
    return code if template is None else template.format_map(_Named(arguments))
