"""What this hub is, as devices tell it from another or an older one.

1. The incarnation is made once and kept in the database. Restoring a backup must renew it, so that
   devices send again what they still hold.
"""

from sqlalchemy.orm import Session

from hub.ports.database.record_tables import Setting
from hub.services import audit, state
from hub.services.tokens import Tokens

_INCARNATION = "incarnation"


def incarnation(session: Session, tokens: Tokens) -> bytes:
    """Return the hub's incarnation, 8 bytes; makes it at first start.

    Args:
        session: a writing session, unless the hub has started before.
        tokens: source of a new one.
    """
    row = session.get(Setting, _INCARNATION)
    if row is None:
        row = Setting(name=_INCARNATION, value=tokens.octets(8).hex())
        session.add(row)
        session.flush()
    return bytes.fromhex(row.value)


def stored_incarnation(session: Session) -> bytes | None:
    """Return the hub's incarnation; None if it never started."""
    row = session.get(Setting, _INCARNATION)
    return None if row is None else bytes.fromhex(row.value)


def renew_incarnation(session: Session, at: int, tokens: Tokens) -> bytes:
    """Make this hub another incarnation, after a restore; returns it.

    States are numbered anew as well: devices may have had later ones than the backup knows.
    """
    value = tokens.octets(8)
    session.merge(Setting(name=_INCARNATION, value=value.hex()))
    session.flush()
    state.leap(session)
    audit.record(session, at, "hub", "hub.incarnation", "hub", {"incarnation": value.hex()})
    return value
