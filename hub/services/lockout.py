"""Brakes on guessing passwords, for each account and each address; they survive a restart.

1. A try counts before its password is checked, so tries at the same time cannot slip through; a right
   password takes it back.
2. Accounts are counted by the hash of what was typed, whether there is such an account or not: nobody
   learns from a wait who exists.
3. After a few failures in a row each further one doubles the wait, up to a quarter of an hour: who
   guesses gets some hundred tries a day, whose account it is waits at most that long. Passkeys and
   identity providers are not slowed down.
"""

from dataclasses import dataclass

from sqlalchemy import delete
from sqlalchemy.orm import Session

from hub.errors import RateLimitedError
from hub.ports.database.sign_in_tables import SignInFailure
from hub.services.tokens import secret_hash

_S = 1_000_000_000
FIRST_WAIT_NS = 30 * _S
MOST_WAIT_NS = 900 * _S
FORGET_NS = 86_400 * _S
"""Failures so long ago are forgotten."""


@dataclass(frozen=True, slots=True)
class Brake:
    """What is counted: `free` failures in a row cost nothing."""

    key: str
    free: int


def of_account(name: str) -> Brake:
    """Return the brake of an account, by e-mail address or person id."""
    return Brake(secret_hash(f"account/{name}"), 5)


def of_address(address: str) -> Brake:
    """Return the brake of a network address; offices and homes share one."""
    return Brake(secret_hash(f"address/{address}"), 50)


def take(session: Session, brakes: list[Brake], at: int) -> int:
    """Count a try that may fail.

    Args:
        session: a writing session, committed before the password is checked.
        brakes: of the account and the address.
        at: now, ns.

    Returns:
        The most failures in a row of any of them, this one included, beyond those that are free.

    Raises:
        RateLimitedError: one of them is closed; the try was not counted.
    """
    session.execute(delete(SignInFailure).where(SignInFailure.last_at < at - FORGET_NS))
    rows = {brake: session.get(SignInFailure, brake.key) for brake in brakes}
    wait_ns = max((row.closed_until - at for row in rows.values() if row is not None), default=0)
    if wait_ns > 0:
        wait_s = -(-wait_ns // _S)
        raise RateLimitedError(
            f"Too many attempts to sign in. Try again in {wait_s} s.", retry_after_s=wait_s
        )
    beyond = 0
    for brake, row in rows.items():
        count = 1 if row is None else row.count + 1
        past = count - brake.free
        beyond = max(beyond, past + 1)
        closed = at + min(FIRST_WAIT_NS << min(past, 16), MOST_WAIT_NS) if past >= 0 else 0
        session.merge(SignInFailure(key=brake.key, count=count, last_at=at, closed_until=closed))
    session.flush()
    return max(beyond, 0)


def give_back(session: Session, account: Brake, address: Brake) -> None:
    """Forget an account's failures, and this try of the address: the password was right."""
    session.execute(delete(SignInFailure).where(SignInFailure.key == account.key))
    row = session.get(SignInFailure, address.key)
    if row is not None:
        row.count = max(0, row.count - 1)
        if row.count < address.free:
            row.closed_until = 0
    session.flush()
