"""Seals of the ledger: signatures over its newest hash, and the check of the whole.

1. Who can write the database but has not the key cannot make another past up to the newest seal.
2. What is later than that is chained only; the payment desk seals within a second of each posting.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import select
from sqlalchemy.orm import Session

from hub.ports.database.billing_tables import LedgerEntry, LedgerSeal
from hub.services.ledger import GENESIS, digest_of, head

_CONTEXT = b"homeport-ledger-1\0"


def seal(session: Session, key: Ed25519PrivateKey, at: int) -> int | None:
    """Sign the ledger as it stands, unless that was done.

    Args:
        session: a writing session.
        key: of the ledger, see `signing_keys.load_ledger_key`.
        at: now, ns.

    Returns:
        Id of the newest entry under the seal; None: nothing came since the last one.
    """
    id_, digest = head(session)
    if id_ == 0 or session.get(LedgerSeal, id_) is not None:
        return None
    signature = key.sign(_sealed(id_, digest, at))
    session.add(LedgerSeal(entry_id=id_, digest=digest, at=at, signature=signature))
    session.flush()
    return id_


def unsealed(session: Session) -> bool:
    """Say whether there are entries later than the newest seal."""
    newest = select(LedgerSeal.entry_id).order_by(LedgerSeal.entry_id.desc()).limit(1)
    return head(session)[0] != (session.scalar(newest) or 0)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check of the ledger found.

    Args:
        entries: how many were read.
        digest: of the newest; note it elsewhere to notice a ledger that was cut off.
        sealed: newest entry under a seal that is right; what is later is only chained. 0: none.
        wrong: what is not right, as sentences; empty: everything is.
    """

    entries: int
    digest: str
    sealed: int
    wrong: tuple[str, ...]


def verify(
    session: Session, key: Ed25519PublicKey, noted: tuple[int, str] | None = None
) -> Verdict:
    """Walk the whole chain: hashes, order, balanced postings, seals.

    Args:
        session: any session.
        key: with which seals are checked.
        noted: id and digest of an entry, kept elsewhere, that must still be there.
    """
    seals = {row.entry_id: row for row in session.scalars(select(LedgerSeal))}
    walk = _Walk()
    wrong: list[str] = []
    digests: dict[int, str] = {}
    query = select(LedgerEntry).order_by(LedgerEntry.id).execution_options(yield_per=1_000)
    for row in session.scalars(query):
        wrong += walk.step(row)
        if row.id in seals or (noted is not None and row.id == noted[0]):
            digests[row.id] = row.digest
    wrong += walk.unbalanced()
    if noted is not None and noted[0] and digests.get(noted[0]) != noted[1]:
        wrong.append(f"Entry {noted[0]} is not the one that was noted.")
    sealed = 0
    for entry_id in sorted(seals):
        if digests.get(entry_id) != seals[entry_id].digest:
            wrong.append(f"The ledger differs from its seal over entry {entry_id}.")
        elif not _signed(seals[entry_id], key):
            wrong.append(f"The signature of the seal over entry {entry_id} is not right.")
        else:
            sealed = entry_id
    return Verdict(walk.id, walk.digest, sealed, tuple(wrong))


@dataclass(slots=True)
class _Walk:
    """Where the walk along the chain stands."""

    id: int = 0
    digest: str = GENESIS
    posting: int = 0
    sums: dict[str, int] = field(default_factory=dict)

    def step(self, row: LedgerEntry) -> Iterator[str]:
        """Yield what is wrong with the next entry."""
        if row.posting != self.posting:
            yield from self.unbalanced()
            self.posting, self.sums = row.posting, {}
        self.sums[row.currency] = self.sums.get(row.currency, 0) + row.amount
        if row.id != self.id + 1:
            yield f"Entry {self.id + 1} is missing."
        elif row.previous != self.digest:
            yield f"Entry {row.id} does not follow from the one before."
        elif row.digest != digest_of(row):
            yield f"Entry {row.id} was changed."
        self.id, self.digest = row.id, row.digest

    def unbalanced(self) -> Iterator[str]:
        """Yield in which currencies the present posting does not add up to zero."""
        sums: Mapping[str, int] = self.sums
        for currency, sum_ in sums.items():
            if sum_:
                yield f"The posting at entry {self.posting} does not add up to zero in {currency}."


def _signed(row: LedgerSeal, key: Ed25519PublicKey) -> bool:
    try:
        key.verify(row.signature, _sealed(row.entry_id, row.digest, row.at))
    except InvalidSignature:
        return False
    return True


def _sealed(entry_id: int, digest: str, at: int) -> bytes:
    return _CONTEXT + f"{entry_id}:{digest}:{at}".encode()
