"""What the payment provider says unasked, taken once, in whatever order and by whichever way it came.

1. An event has an id; the first time counts. It comes by itself, and the hub asks for those that did not.
2. What an event leads to minds neither order nor delay: answers (`payments`), reversals (`reversals`) and
   means of payment (`means`) each know which word is the later one.
What must never live here: whether an event may be believed (the port does), or talk to the provider.
"""

from typing import Final

from sqlalchemy.orm import Session

from hub.ports.database.record_tables import Setting
from hub.ports.payment.port import Event
from hub.services import billing_accounts, means, payments, reversals
from hub.services.payments import Hooks

_ASKED: Final = "payments.asked_until"
_SECOND: Final = 1_000_000_000
_AGAIN: Final = 3_600 * _SECOND
"""So much is asked for twice, as an event may show late in the provider's list."""


def take(session: Session, event: Event, at: int, hooks: Hooks, title: str = "") -> bool:
    """Take an event; say whether it is the first time.

    Args:
        session: a writing session.
        event: what the provider said.
        at: now, ns.
        hooks: what follows from answers.
        title: what the customer knows the means of payment by that it gives.
    """
    if not payments.take_event(session, event.id, event.kind, at):
        return False
    if event.reversal is not None:
        reversals.heard(session, event.reversal, at)
    elif event.answer is not None:
        payments.record(session, event.attempt_id, event.answer, at, hooks)
    elif event.method and billing_accounts.knows(session, event.owner_id, event.customer):
        said_at = event.said_at * _SECOND or at
        actor = "provider:stripe"
        means.given(
            session,
            event.owner_id,
            event.customer,
            event.method,
            at,
            actor,
            title=title,
            said_at=said_at,
        )
    return True


def asks_since(session: Session, at: int) -> int:
    """Return the instant (ns) from which on the provider is to be asked for its events; at first, now (`at`)."""
    row = session.get(Setting, _ASKED)
    return (at if row is None else int(row.value)) - _AGAIN


def asked_until(session: Session, until: int) -> None:
    """Keep that all events before an instant (ns) were asked for."""
    session.merge(Setting(name=_ASKED, value=str(until)))
