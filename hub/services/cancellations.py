"""Pausing, cancelling and withdrawing: how an agreement rests and how it ends.

1. Who cancels keeps what is covered, and can undo it until that ends. Bills that wait are taken back.
2. Who cancels at once gets back the unused rest by seconds if the plan says so.
3. Who withdraws within the plan's withdrawal days gets back all that was paid, or the unused rest, as the
   plan says.
4. A pause stops time: what was paid for ends later by as long as the pause was.
5. What becomes of it when the product changes its owner is in `succession`.

What must never live here: what comes of a bill that was being collected meanwhile (`settlements`).
"""

from collections.abc import Iterator, Sequence
from typing import Literal

from sqlalchemy.orm import Session

from entitlements.billing.agreements import DAY, Item
from entitlements.status import Status
from entitlements.transitions import Trigger
from hub.errors import ConflictError, InvalidInputError
from hub.ports.database.agreement_tables import Agreement
from hub.ports.database.catalogue_tables import PlanVersion
from hub.services import agreement_lines, agreements, audit, invoice_book, settlements
from hub.services.caller import Caller
from hub.services.invoices import Line
from hub.services.tokens import Tokens


def pause(
    session: Session,
    caller: Caller,
    product_id: str,
    at: int,
    *,
    resumes_at: int | None = None,
) -> Agreement:
    """Pause a plan from now on.

    Args:
        session: a writing session.
        caller: who may pay for the product, or staff.
        product_id: which product.
        at: now, ns.
        resumes_at: when it goes on by itself, ns; None: when somebody resumes it.

    Raises:
        ConflictError: the state does not permit it, or a payment is being collected.
        ForbiddenError: the caller's role does not permit that.
        InvalidInputError: it would resume before it pauses.
        NotFoundError: no such product or agreement.
    """
    if resumes_at is not None and resumes_at <= at:
        raise InvalidInputError("A plan cannot resume before it is paused. Correct the date.")
    agreement = agreements.own_agreement(session, caller, product_id)
    agreements.require(session, agreement, Trigger.PAUSE, at)
    agreements.require_settled(session, agreement)
    dates = {"paused_at": at, "resumes_at": resumes_at}
    agreements.set_dates(session, agreement, at, **dates)
    if resumes_at is None:
        agreement.next_at = None
        session.flush()
    else:
        _move(session, agreement, resumes_at - at, at)
    _record(session, caller, agreement, "pause", at, resumes_at=resumes_at)
    return agreement


def resume(session: Session, caller: Caller, product_id: str, at: int) -> Agreement:
    """Let a paused plan go on now.

    Raises:
        ConflictError: it is not paused.
        ForbiddenError: the caller's role does not permit that.
        NotFoundError: no such product or agreement.
    """
    agreement = agreements.own_agreement(session, caller, product_id)
    agreements.require(session, agreement, Trigger.RESUME, at)
    _resume(session, agreement, at)
    _record(session, caller, agreement, "resume", at)
    return agreement


def cancel(
    session: Session,
    caller: Caller,
    product_id: str,
    at: int,
    tokens: Tokens,
    *,
    when: Literal["period_end", "now"] = "period_end",
) -> Agreement:
    """Cancel a plan with its add-ons.

    Args:
        session: a writing session.
        caller: who may pay for the product, or staff.
        product_id: which product.
        at: now, ns.
        tokens: source of ids.
        when: at the end of what is covered, or now.

    Raises:
        ConflictError: the state does not permit it.
        ForbiddenError: the caller's role does not permit that.
        NotFoundError: no such product or agreement.
    """
    agreement = agreements.own_agreement(session, caller, product_id)
    if when == "now":
        agreements.require(session, agreement, Trigger.CANCEL_NOW, at)
        _end(session, tokens, agreement, at)
    else:
        agreements.require(session, agreement, Trigger.CANCEL, at)
        agreements.drop_bill(session, agreement, at)
        agreement.next_version_id = None
        agreements.set_dates(session, agreement, at, cancelled_at=at)
        _close_if_over(session, agreement, at)
    _record(session, caller, agreement, "cancel", at, when=when)
    return agreement


def undo_cancel(session: Session, caller: Caller, product_id: str, at: int) -> Agreement:
    """Let a plan that was cancelled, and still runs, go on.

    Raises:
        ConflictError: it is not cancelled, or over already.
        ForbiddenError: the caller's role does not permit that.
        NotFoundError: no such product or agreement.
    """
    agreement = agreements.own_agreement(session, caller, product_id)
    agreements.require(session, agreement, Trigger.UNDO_CANCEL, at)
    agreements.set_dates(session, agreement, at, cancelled_at=None)
    _record(session, caller, agreement, "undo_cancel", at)
    return agreement


def withdrawal_until(session: Session, agreement: Agreement) -> int:
    """Return until when (ns) the household can withdraw from the contract."""
    version = session.get_one(PlanVersion, agreements.base(session, agreement).plan_version_id)
    return agreement.concluded_at + agreements.terms_of(version).withdrawal_days * DAY


def withdraw(
    session: Session, caller: Caller, product_id: str, at: int, tokens: Tokens
) -> Agreement:
    """Withdraw from the contract: over at once, and paid back as the plan says.

    Raises:
        ConflictError: the time for it is over, or the state does not permit it.
        ForbiddenError: the caller's role does not permit that.
        NotFoundError: no such product or agreement.
    """
    agreement = agreements.own_agreement(session, caller, product_id)
    agreements.require(session, agreement, Trigger.WITHDRAW, at)
    if at >= withdrawal_until(session, agreement):
        raise ConflictError(
            "The time to withdraw from the contract is over. Cancel the plan instead.",
            agreement=agreement.id,
        )
    version = agreements.live(session, agreement)[0].version
    agreements.drop_bill(session, agreement, at)
    full = agreements.terms_of(version).withdrawal_refund == "full"
    lines = list(_all_paid(session, agreement) if full else _unused(session, agreement, at))
    agreements.set_dates(session, agreement, at, withdrawn_at=at)
    cause = f"withdrawal:{agreement.id}"
    settlements.give_back(session, tokens, agreement, lines, at, cause=cause)
    agreements.close(session, agreement, at)
    _record(session, caller, agreement, "withdraw", at, refund="full" if full else "unused")
    return agreement


def _end(session: Session, tokens: Tokens, agreement: Agreement, at: int) -> None:
    """End an agreement now."""
    agreements.drop_bill(session, agreement, at)
    version = agreements.live(session, agreement)[0].version
    lines: list[Line] = []
    if agreements.terms_of(version).cancel_refund == "unused":
        lines = list(_unused(session, agreement, at))
    base = agreements.base(session, agreement)
    agreements.set_dates(
        session,
        agreement,
        at,
        cancelled_at=at if base.cancelled_at is None else base.cancelled_at,
        ends_at=max(at, base.starts_at),
    )
    cause = f"cancellation:{agreement.id}"
    settlements.give_back(session, tokens, agreement, lines, at, cause=cause)
    agreements.close(session, agreement, at)


def _close_if_over(session: Session, agreement: Agreement, at: int) -> None:
    """Close an agreement of which nothing is covered; else the clock does it at the end."""
    waiting = agreements.waiting_bill(session, agreement)
    if agreements.state(session, agreement, at) is Status.ENDED and waiting is None:
        agreements.close(session, agreement, at)
    elif agreement.next_at is None and waiting is None:
        agreement.next_at = at
        session.flush()


def _resume(session: Session, agreement: Agreement, at: int) -> None:
    base = agreements.base(session, agreement)
    paused_at = at if base.paused_at is None else base.paused_at
    planned = paused_at if base.resumes_at is None else base.resumes_at
    agreements.set_dates(session, agreement, at, resumes_at=at)
    _move(session, agreement, at - planned, at)


def _move(session: Session, agreement: Agreement, by: int, at: int) -> None:
    """Move the end of what is paid for."""
    period = agreements.period_of(agreement)
    if period is None:
        return
    moved = period.moved(by)
    agreements.set_period(agreement, moved)
    agreements.set_dates(session, agreement, at, paid_until=moved.end)


def _unused(session: Session, agreement: Agreement, at: int) -> Iterator[Line]:
    """Yield the lines that give back what is paid for and not used."""
    items = [
        (one.row.id, one.priced(agreement.currency)) for one in agreements.live(session, agreement)
    ]
    yield from unused(session, agreement, items, at)


def unused(
    session: Session, agreement: Agreement, items: Sequence[tuple[str, Item]], at: int
) -> Iterator[Line]:
    """Yield the lines that give back what is paid for and not used from an instant on.

    Args:
        session: any session.
        agreement: which.
        items: of it, with the ids of their subscriptions.
        at: ns.
    """
    period = agreements.period_of(agreement)
    base = agreements.base(session, agreement)
    if period is None or base.paid_until is None:
        return
    if agreements.state(session, agreement, at) is Status.PAUSED and base.paused_at is not None:
        # While it is paused time stands still: what was unused then is unused now.
        planned = 0 if base.resumes_at is None else base.resumes_at - base.paused_at
        at, period = base.paused_at, period.moved(-planned)
    yield from agreement_lines.of_rest(agreement, items, at, period)


def _all_paid(session: Session, agreement: Agreement) -> Iterator[Line]:
    """Yield the lines that give back all that was paid."""
    for _, invoice in agreements.bills(session, agreement):
        if invoice.state == "paid":
            lines = invoice_book.lines(session, invoice)
            yield from agreement_lines.reversing(agreement, invoice, lines)


def _record(
    session: Session, caller: Caller, agreement: Agreement, what: str, at: int, **details: object
) -> None:
    object_ = f"agreement:{agreement.id}"
    details["product"] = agreement.product_id
    audit.record(session, at, caller.actor, f"agreement.{what}", object_, details)
