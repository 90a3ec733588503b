"""Payments without a provider: a signed journal of what would have been collected and paid back.

1. Every answer is a signed line in a file, synced before it is given. The same attempt again gets the
   same answer, also after a restart. A line that others wrote or changed is an error.
2. The means of payment says what happens, for demos and rehearsals:
   `local:ok` pays; `local:declines` never does; `local:declines:2` not the first two times;
   `local:unreachable:2` gives no answer the first two times that an attempt is asked for.
What must never live here: real money. Who collects by other means (a bank, a partner) reads the file.
"""

import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.errors import ConflictError, StorageError
from hub.ports.journal.durability import make_folder, sync_file
from hub.ports.payment.port import (
    Answer,
    Charge,
    Event,
    Outcome,
    Payer,
    PaymentUnreachableError,
    Refund,
    Removal,
    Setup,
)

METHODS = ("ok", "declines", "unreachable")
_CONTEXT = b"homeport-local-payments-1\0"


REHEARSED: Final = ("local:ok", "local:declines:2", "local:declines")


class LocalPayments:
    """The journal as a payment provider. Any thread may use it; calls queue.

    Args:
        path: of the journal; made with mode 0600.
        key: signs its lines.
        rehearses: customers may choose how their payments turn out, as on a hub for demos.

    Raises:
        StorageError: a line is damaged or was not written with this key.
    """

    has_page = False
    choices: Sequence[str]

    def __init__(self, path: Path, key: Ed25519PrivateKey, *, rehearses: bool = False) -> None:
        self.choices = REHEARSED if rehearses else ()
        self._path = path
        self._key = key
        self._lock = threading.Lock()
        self._previous = ""
        self._answers: dict[str, Answer] = {}
        self._declined: dict[str, int] = {}
        self._asked: dict[str, int] = {}
        make_folder(path.parent)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._load()

    def close(self) -> None:
        """Close the journal."""
        os.close(self._descriptor)

    def charge(self, charge: Charge) -> Answer:
        """Collect nothing, and say what the means of payment says."""
        with self._lock:
            if charge.attempt_id in self._answers:
                return self._answers[charge.attempt_id]
            outcome, code = self._outcome(charge)
            return self._write(
                charge.attempt_id,
                Answer(outcome, f"local-{charge.attempt_id}", code),
                {
                    "kind": "charge",
                    "payer": _key(charge.payer),
                    "amount": str(charge.amount),
                    "text": charge.text,
                    "at": charge.at,
                },
            )

    def refund(self, refund: Refund) -> Answer:
        """Pay nothing back, and say that it was done."""
        with self._lock:
            if refund.attempt_id in self._answers:
                return self._answers[refund.attempt_id]
            return self._write(
                refund.attempt_id,
                Answer(Outcome.PAID, f"local-{refund.attempt_id}"),
                {
                    "kind": "refund",
                    "of": refund.charge_reference,
                    "amount": str(refund.amount),
                    "at": refund.at,
                },
            )

    def setup(self, payer: Payer, name: str, return_url: str, at: int) -> Setup:
        """Refuse: there is no page to go to."""
        del payer, name, return_url, at
        raise ConflictError(
            "This hub collects no money by itself, so there is no page for means of payment. Support "
            "can set one for rehearsals, such as local:ok."
        )

    def title(self, method: str) -> str:
        """Return nothing: a means of payment of the journal is its own title."""
        del method
        return ""

    def events(self, since: int, until: int) -> Sequence[Event]:
        """Return nothing: the journal says nothing by itself."""
        del since, until
        return ()

    def remove(self, removal: Removal) -> None:
        """Do nothing: nothing is known of customers, and lines of the journal stay as they are signed."""
        del removal

    def _outcome(self, charge: Charge) -> tuple[Outcome, str]:
        scheme, _, rest = charge.payer.method.partition(":")
        behaviour, _, times = rest.partition(":")
        if scheme != "local" or behaviour not in METHODS or not (times or "0").isdecimal():
            return Outcome.FAILED, "no_payment_method"
        if behaviour == "unreachable":
            asked = self._asked.get(charge.attempt_id, 0)
            self._asked[charge.attempt_id] = asked + 1
            if not times or asked < int(times):
                raise PaymentUnreachableError("The local journal was told to give no answer.")
        if behaviour == "declines":
            key = _key(charge.payer)
            declined = self._declined.get(key, 0)
            if not times or declined < int(times):
                self._declined[key] = declined + 1
                return Outcome.FAILED, "card_declined"
        return Outcome.PAID, ""

    def _write(self, attempt_id: str, answer: Answer, about: dict[str, Any]) -> Answer:
        line = about | {
            "attempt": attempt_id,
            "outcome": str(answer.outcome),
            "reference": answer.reference,
            "code": answer.code,
        }
        text = json.dumps(line, sort_keys=True, separators=(",", ":"))
        signature = self._key.sign(_CONTEXT + f"{self._previous}\n{text}".encode()).hex()
        os.write(self._descriptor, f"{signature} {text}\n".encode())
        sync_file(self._descriptor)
        self._previous = signature
        self._answers[attempt_id] = answer
        return answer

    def _load(self) -> None:
        data = self._path.read_bytes()
        whole, _, torn = data.rpartition(b"\n")
        if torn:  # cut off by a crash before its answer was given
            os.truncate(self._path, len(data) - len(torn))
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                signature, text = line.decode().split(" ", 1)
                self._key.public_key().verify(
                    bytes.fromhex(signature), _CONTEXT + f"{self._previous}\n{text}".encode()
                )
                found = json.loads(text)
            except (ValueError, InvalidSignature) as error:
                raise StorageError(
                    f"Line {number} of {self._path} is damaged or was not written by this hub. Put "
                    "the file back from a backup, with keys/ledger.key of the same backup.",
                    path=str(self._path),
                ) from error
            self._previous = signature
            answer = Answer(Outcome(found["outcome"]), found["reference"], found["code"])
            self._answers[found["attempt"]] = answer
            if answer.code == "card_declined":
                self._declined[found["payer"]] = self._declined.get(found["payer"], 0) + 1


def _key(payer: Payer) -> str:
    return f"{payer.owner_id} {payer.method}"
