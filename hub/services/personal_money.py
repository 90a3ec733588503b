"""What the tables about money keep of people, and what becomes of it: names go, amounts stay.

1. The law wants invoices, payments and their booking kept; they stay under ids that name nobody.
2. What is free text, or a reference to a means of payment, goes.
"""

from typing import Final

from hub.ports.database import billing_tables as billing
from hub.ports.database import idempotency_tables as idempotency
from hub.services.personal_data import (
    ERASED,
    Blank,
    Delete,
    Holding,
    Keep,
    any_of,
    by_person,
    child_of,
    names,
    of_household,
)

_INTERNAL: Final = "how the hub keeps it"
_NO_BUYER: Final = {"name": ERASED, "address": "", "tax_id": "", "region": "", "zone": "UTC"}
_AMOUNTS: Final = "what was agreed and used is what bills rest on; it holds numbers and ids only"

MONEY: Final[tuple[Holding, ...]] = (
    Holding(
        billing.BillingAccount,
        of_household(billing.BillingAccount.owner_id),
        Blank(
            {
                "name": ERASED,
                "address": "",
                "email": "",
                "tax_id": "",
                "customer": None,
                "method": None,
                "method_title": None,
            }
        ),
        "billing_account",
    ),
    Holding(
        billing.Invoice,
        of_household(billing.Invoice.owner_id),
        Blank({"buyer": _NO_BUYER}),
        "invoices",
    ),
    Holding(
        billing.InvoiceLine,
        child_of(
            billing.InvoiceLine.invoice_id,
            billing.Invoice.id,
            of_household(billing.Invoice.owner_id),
        ),
        Keep("the law wants invoices kept; lines name products, not people"),
        "invoice_lines",
    ),
    Holding(
        billing.PaymentAttempt,
        of_household(billing.PaymentAttempt.owner_id),
        Blank({"customer": None, "method": None}),
        "payments",
        {"reference": _INTERNAL},
    ),
    Holding(
        billing.PaymentReversal,
        child_of(
            billing.PaymentReversal.charge_id,
            billing.PaymentAttempt.id,
            of_household(billing.PaymentAttempt.owner_id),
        ),
        Keep("the law wants it kept; it holds amounts and ids only"),
        "payment_reversals",
        {"reference": _INTERNAL, "stage": _INTERNAL, "postings": _INTERNAL},
    ),
    Holding(
        billing.LedgerEntry,
        of_household(billing.LedgerEntry.owner_id),
        Keep("the law wants it kept; it holds amounts and ids only"),
        "ledger",
        {"previous": _INTERNAL, "digest": _INTERNAL},
    ),
    Holding(
        idempotency.KeptAnswer,
        any_of(by_person(idempotency.KeptAnswer.actor), names(idempotency.KeptAnswer.body)),
        Delete(),
    ),
)
