"""What the lines of invoices say, in the visitor's language.

1. The words are the service's (`invoice_sentences`), so that page, print and API say the same; plans are
   called by their titles here.
"""

from collections.abc import Mapping
from typing import Any

from hub.services import invoice_sentences
from hub.web.languages import Language


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
    return invoice_sentences.sentence(language.tag, code, shown)
