"""Writes that happen once however often they are asked for: answers kept by key.

1. A key belongs to one caller, who makes it up. The same key with the same request gets the first answer again, byte
   for byte; with another request it is refused.
2. The answer is kept in the transaction of the write: a crash leaves both or none.
3. While a wish is being answered, who asks again is told to wait; that is known to the one process that serves the API.
4. A request that failed changed nothing and leaves no answer, so it may be sent again with its key.
See https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/. Nothing here knows of HTTP but that
answers have a status, headers and a body.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import delete
from sqlalchemy.orm import Session

from hub.errors import KeyInUseError, KeyReusedError
from hub.ports.database.idempotency_tables import KeptAnswer

KEPT_NS = 2 * 86_400_000_000_000
"""How long answers are kept."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A write that somebody wants once.

    Args:
        actor: who wants it (`Caller.actor`).
        key: the key they made up for it.
        digest: SHA-256 of the request, hex.
    """

    actor: str
    key: str
    digest: str


@dataclass(frozen=True, slots=True)
class Given:
    """An answer as it was given."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Running:
    """The wishes that are being answered at the moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wishes: set[tuple[str, str]] = set()

    @contextmanager
    def alone(self, wish: Wish | None) -> Iterator[None]:
        """Hold a key while its request runs.

        Raises:
            KeyInUseError: another request with it runs.
        """
        if wish is None:
            yield
            return
        name = (wish.actor, wish.key)
        with self._lock:
            if name in self._wishes:
                raise KeyInUseError(
                    "A request with this Idempotency-Key is still running. Wait a second and send it again; it will "
                    "get the answer of the first."
                )
            self._wishes.add(name)
        try:
            yield
        finally:
            with self._lock:
                self._wishes.discard(name)


def answered(session: Session, wish: Wish, at: int) -> Given | None:
    """Return what a wish was answered before; None if it is new.

    Raises:
        KeyReusedError: the key stands for another request.
    """
    row = session.get(KeptAnswer, (wish.actor, wish.key))
    if row is None or row.at <= at - KEPT_NS:
        return None
    if row.digest != wish.digest:
        raise KeyReusedError(
            "This Idempotency-Key was sent before with another request. Make up a new key for a new wish, and repeat "
            "a request exactly as it was."
        )
    return Given(row.status, row.headers, row.body)


def keep(session: Session, wish: Wish, given: Given, at: int) -> None:
    """Keep an answer in the transaction of its write, and forget those that are too old."""
    forget(session, at)
    session.add(
        KeptAnswer(
            actor=wish.actor,
            key=wish.key,
            digest=wish.digest,
            status=given.status,
            headers=dict(given.headers),
            body=given.body,
            at=at,
        )
    )
    session.flush()


def forget(session: Session, at: int) -> None:
    """Remove the answers that are too old at an instant."""
    session.execute(delete(KeptAnswer).where(KeptAnswer.at <= at - KEPT_NS))
