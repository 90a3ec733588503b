"""Stage 9, react: hand findings on, durably, to whoever turns them into alerts and pushes.

1. A finding's id follows from its place in the journal: after a replay it is the same finding, not another.
2. Findings are appended to a log of their own and synced; the reactor follows it with a cursor in the database.
3. No SQL and no network here.
"""

import hashlib
import math
from collections import Counter

from analytics.findings import Severity
from device_sdk.wire import cbor
from hub.pipeline.outcome import Conflict, FoundIn, Journal, OlderCopy
from hub.ports.journal.block import Kind
from hub.services.alert_kinds import IDENTITY_CONFLICT, OLDER_COPY

_BLOCK = 512  # findings in one block, so that the reactor's transactions stay small


def finding_id(worker: int, offset: int, place: int | str, kind: int) -> bytes:
    """16 bytes that name a finding: worker, journal offset of its block, sample (or subject) in it, kind."""
    return hashlib.sha256(f"{worker}/{offset}/{place}/{kind}".encode()).digest()[:16]


class ReactStage:
    """Appends findings to the findings log.

    Args:
        log: the findings log.
        worker: number of this worker.
    """

    def __init__(self, log: Journal, worker: int) -> None:
        self._log = log
        self._worker = worker

    def react(self, found: FoundIn, offset: int, received: int) -> Counter[int]:
        """Log the findings of the block at `offset`; returns how many there were, by kind."""
        count = len(found.findings)
        for start in range(0, count, _BLOCK):
            block = [
                self._record(found, i, offset) for i in range(start, min(start + _BLOCK, count))
            ]
            self._log.append(Kind.FINDINGS, [cbor.encode(block)], received)
        if count:
            self._log.sync()
        return Counter(found.findings["kind"].tolist())

    def raise_conflicts(self, conflicts: list[Conflict], received: int) -> None:
        """Log that devices sent other content under a known identity: one finding for a stream and its first seq."""
        self._log_all(
            [
                self._of_hub(
                    IDENTITY_CONFLICT, "conflict", c.slot, c.stream, c.start, c.rows, received
                )
                for c in conflicts
            ],
            received,
        )

    def raise_older_copies(self, older: list[OlderCopy], received: int) -> None:
        """Log that devices know less than the hub: one finding for a stream and what the device knows."""
        self._log_all(
            [
                self._of_hub(
                    OLDER_COPY, "older", o.slot, o.stream, o.sent, o.settled - o.sent, received
                )
                for o in older
            ],
            received,
        )

    def _log_all(self, block: list[dict[str, object]], received: int) -> None:
        if block:
            self._log.append(Kind.FINDINGS, [cbor.encode(block)], received)
            self._log.sync()

    def _of_hub(
        self, kind: int, word: str, slot: int, stream: int, seq: int, rows: int, received: int
    ) -> dict[str, object]:
        """A finding of the hub itself about `rows` rows of a stream from `seq` on; the same again has the same id."""
        about = f"{word}/{self._worker}/{slot}/{stream}/{seq}"
        return {
            "id": hashlib.sha256(about.encode()).digest()[:16],
            "slot": slot,
            "metric": 0,
            "kind": kind,
            "severity": int(Severity.WARNING),
            "time": received,
            "since": received,
            "surprise": 0.0,
            "observed": float(rows),
            "low": math.nan,
            "high": math.nan,
            "offset": 0,
            "historical": False,
            "stream": stream.to_bytes(8, "big"),
            "seq": seq,
        }

    def _record(self, found: FoundIn, i: int, offset: int) -> dict[str, object]:
        f = found.findings[i]
        return {
            "id": self._identity(found, i, offset),
            "slot": int(found.slot[i]),
            "metric": int(found.metric[i]),
            "kind": int(f["kind"]),
            "severity": int(f["severity"]),
            "time": int(f["time"]),
            "since": int(f["since"]),
            "surprise": float(f["surprise"]),
            "observed": float(f["observed"]),
            "low": float(f["expected_low"]),
            "high": float(f["expected_high"]),
            "offset": offset,
            "historical": bool(found.historical[i]),
            "hidden": bool(found.hidden[i]),
            "cohort": int(found.cohort[i]),
            "members": int(found.members[i]),
            # Anonymous rows have no stream, and no name.
            "stream": int(found.stream[i]).to_bytes(8, "big") if found.stream[i] else b"",
            "seq": int(found.seq[i]),
        }

    def _identity(self, found: FoundIn, i: int, offset: int) -> bytes:
        f = found.findings[i]
        place: int | str = int(f["sample"])
        if (
            f["sample"] < 0
        ):  # not caused by a sample: what it is about tells it from others of the block
            about = (found.slot[i], found.cohort[i], found.metric[i], f["time"], f["severity"])
            place = ".".join(str(int(part)) for part in about)
        return finding_id(self._worker, offset, place, int(f["kind"]))
