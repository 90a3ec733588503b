"""The doctor on money: ledger, invoices, what the payment provider is asked, and what receivers of webhooks wait for.

1. The database is opened as `records` opens it: nothing is written, beside a running hub or without one.
2. Amounts and names are not said, only how many of what; `homeport ledger verify` says what accounts hold.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hub.wiring import compose
from hub.wiring.doctor import records
from hub.wiring.doctor.case import Case
from hub.wiring.doctor.report import Line, ok, problem, warning

if TYPE_CHECKING:  # heavy, and only here
    from sqlalchemy.orm import Session

_S: Final = 1_000_000_000
_LATE_NS: Final = 600 * _S
_UNANSWERED_NS: Final = 6 * 3_600 * _S
_FORGOTTEN_NS: Final = 86_400 * _S
_BOOKS: Final = "Stop the hub, keep the database as it is, and compare it with a backup."


def check(case: Case) -> Iterator[Line]:
    """Look at the books, and at what waits for an answer from outside."""
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415  heavy, and only here

    billing = case.settings.billing
    if billing.kind == "stripe" and not billing.stripe_webhook_secret.get_secret_value():
        yield warning(
            "payment events",
            "no event of Stripe is believed: disputes, cards and late payments are not heard of",
            "Set billing.stripe_webhook_secret, and let Stripe send to /api/v1/webhooks/stripe.",
        )
    try:
        with _reading(case) as session:
            if session is None:
                return
            yield _ledger(case, session)
            yield _invoices(session)
            yield _payments(case, session)
            yield from _provider(case, session)
            yield from _webhooks(case, session)
    except SQLAlchemyError:
        return  # the lines on the database and its schema say why


@contextmanager
def _reading(case: Case) -> "Iterator[Session | None]":
    """Open the database; None where there is none."""
    from sqlalchemy import create_engine  # noqa: PLC0415  heavy, and only here
    from sqlalchemy.orm import Session  # noqa: PLC0415  likewise
    from sqlalchemy.pool import NullPool  # noqa: PLC0415  likewise

    url = case.settings.database_url.get_secret_value()
    path = Path(url.removeprefix("sqlite:///"))
    if not url.startswith("sqlite:///"):
        engine = compose.engine(case.settings)
    elif path.exists():
        creator = records.opened
        engine = create_engine("sqlite://", creator=lambda: creator(case, path), poolclass=NullPool)
    else:
        yield None
        return
    with Session(engine) as session:
        yield session


def _ledger(case: Case, session: "Session") -> Line:
    from hub.services import ledger, ledger_seals  # noqa: PLC0415  heavy, and only here
    from hub.services.signing_keys import has_ledger_key, load_ledger_key  # noqa: PLC0415  likewise

    entries = ledger.head(session)[0]
    if not entries:
        return ok("ledger", "nothing was posted yet")
    if not has_ledger_key(case.settings.keys_dir):
        return problem(
            "ledger",
            f"{entries} entries, and the key of their seals is missing",
            "Restore the folder keys from the backup that the database is of.",
        )
    found = ledger_seals.verify(session, load_ledger_key(case.settings.keys_dir).public_key())
    if found.wrong:
        more = f" And {len(found.wrong) - 1} more." if len(found.wrong) > 1 else ""
        return problem("ledger", f"{found.wrong[0]}{more}", _BOOKS)
    behind = entries - found.sealed
    seen = f"{entries:,} entries in order and balanced, all but {behind:,} under a seal"
    newest = ledger.newest_at(session)
    if behind and case.running and case.now_ns - newest > _LATE_NS:
        return problem("ledger", seen, f"Look at {case.settings.run_dir}/control.log.")
    return ok("ledger", seen)


def _invoices(session: "Session") -> Line:
    from hub.services import invoice_book  # noqa: PLC0415  heavy, and only here

    wrong = invoice_book.contradictions(session)
    if wrong:
        return problem("invoices", " ".join(wrong[:3]), _BOOKS)
    return ok(
        "invoices", f"{invoice_book.count(session):,}, numbered without gaps, as the ledger says"
    )


def _payments(case: Case, session: "Session") -> Line:
    from hub.services import payments  # noqa: PLC0415  heavy, and only here

    found = payments.waiting(session)
    seen = f"{found.asked} asked for without an answer, {found.planned} planned"
    if case.running and found.due_since is not None and case.now_ns - found.due_since > _LATE_NS:
        return problem(
            "payments",
            f"{seen}; one was due {_age(case, found.due_since)} ago and was not made",
            f"Look at {case.settings.run_dir}/control.log.",
        )
    if found.asked_since is not None and case.now_ns - found.asked_since > _UNANSWERED_NS:
        return warning(
            "payments",
            f"{seen}, the oldest since {_age(case, found.asked_since)}",
            "Is the payment provider up, and does it know the hub's key? Look at run/control.log.",
        )
    return ok("payments", seen)


def _provider(case: Case, session: "Session") -> Iterator[Line]:
    from hub.services import payment_removals, reversals  # noqa: PLC0415  heavy, and only here

    since = payment_removals.oldest(session)
    if since is not None and case.now_ns - since > _FORGOTTEN_NS:
        yield warning(
            "payment provider",
            f"was told {_age(case, since)} ago to forget a customer or a card, and did not",
            "Look at run/control.log; people who were erased wait for it.",
        )
    for said in reversals.problems(session, case.now_ns):
        seen, _, advice = said.partition(". ")
        yield warning("payment dispute", seen, advice)


def _webhooks(case: Case, session: "Session") -> Iterator[Line]:
    from hub.services import webhook_deliveries, webhook_endpoints  # noqa: PLC0415  heavy

    for said in webhook_endpoints.problems(session):
        seen, _, advice = said.partition(". ")
        yield warning("webhook endpoint", seen, advice)
    found = webhook_deliveries.backlog(session)
    seen = f"{found.waiting:,} deliveries wait"
    if case.running and found.due_since is not None and case.now_ns - found.due_since > _LATE_NS:
        yield problem(
            "webhooks",
            f"{seen}; one was due {_age(case, found.due_since)} ago and was not tried",
            f"Look at {case.settings.run_dir}/control.log.",
        )
    else:
        yield ok("webhooks", seen)


def _age(case: Case, since: int) -> str:
    hours = max(0, case.now_ns - since) / (3_600 * _S)
    return f"{hours:.0f} hours" if hours < 72 else f"{hours / 24:.0f} days"
