"""What became of a micro-batch, as later stages need to know it.

1. Small, rare things (rejections, lost ranges) are objects; everything frequent stays in columns.
2. A stage takes these from the runner, never from another stage.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from analytics.findings import FINDING
from device_sdk.wire.codes import RejectCode
from hub.pipeline.frames import U16, U32
from hub.ports.journal.block import Buffer
from hub.ports.journal.telemetry import U64, TelemetryBatch


@dataclass(frozen=True, slots=True)
class Rejection:
    """Something a device sent that will never be accepted.

    Attributes:
        slot: device slot; 0 when the topic did not authenticate.
        topic: as received.
        code: reject code of docs/wire.md.
        detail: what is wrong, for people.
        payload: the bytes of the message.
        stream: identity of the rejected rows, or None when none could be read (then there is no receipt).
        start, end: their seqs, `end` exclusive.
    """

    slot: int
    topic: str
    code: RejectCode
    detail: str
    payload: bytes
    stream: int | None = None
    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class Lost:
    """Rows that a device says will never come, because its spool was full."""

    slot: int
    stream: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Conflict:
    """Rows of one stream that came again with other content than what is stored.

    Attributes:
        slot: of the device whose identity two use, or whose spool was restored.
        stream: the stream they both hold.
        start, end: the first and, exclusive, the last of their seqs.
        rows: how many there were.
    """

    slot: int
    stream: int
    start: int
    end: int
    rows: int


@dataclass(frozen=True, slots=True)
class OlderCopy:
    """A device that knows less of a stream than the hub.

    Attributes:
        slot: of the device whose spool was restored, or whose identity two use.
        stream: the stream.
        sent: it has sent no row from this seq on, as far as it knows.
        settled: end of what is settled.
    """

    slot: int
    stream: int
    sent: int
    settled: int


@dataclass(frozen=True, slots=True)
class Stored:
    """What this micro-batch left behind.

    Attributes:
        batch: the rows that were new; views, valid until the next decode.
        offset: of their block in the journal; -1 if there were none.
        synced: journal offset below which everything is on disk.
        rejected: (entry in the stream table, start, end, code) to be told in receipts.
        duplicates, beyond: rows dropped because they were settled, or could not be remembered.
        unverified: duplicates whose stored content is forgotten, so that it was not compared.
        dead_letters: messages kept as dead letters.
        conflicts: rows dropped because something else is stored under their identity; one entry a stream.
    """

    batch: TelemetryBatch
    offset: int
    synced: int
    rejected: list[tuple[int, int, int, int]]
    duplicates: int
    unverified: int
    beyond: int
    dead_letters: int
    conflicts: list[Conflict]


@dataclass(frozen=True, slots=True)
class FoundIn:
    """Findings of one batch with what they are about.

    Attributes:
        findings: analytics' FINDING[F].
        slot: u32[F]. metric: u16[F].
        historical: bool[F], about rows recorded earlier and sent in bulk, or quarantined: worth knowing, not worth
            waking anybody.
        hidden: bool[F], about rows that were quarantined: for staff only.
        cohort: u32[F], for findings about many products (their slot is 0), 0 for all products.
        members: u32[F], how many products such a finding is about.
        stream: u64[F]. seq: u64[F]. The row that completed the evidence; zero where no row did.
    """

    findings: NDArray[np.void]
    slot: U32
    metric: U16
    historical: NDArray[np.bool_]
    hidden: NDArray[np.bool_]
    cohort: U32
    members: U32
    stream: U64
    seq: U64

    @classmethod
    def of(cls, findings: NDArray[np.void], **columns: NDArray[Any]) -> "FoundIn":
        """Findings with the columns that are not zero."""
        dtypes = {
            "slot": np.uint32,
            "metric": np.uint16,
            "historical": np.bool_,
            "hidden": np.bool_,
            "cohort": np.uint32,
            "members": np.uint32,
            "stream": np.uint64,
            "seq": np.uint64,
        }
        zeros: dict[str, NDArray[Any]] = {
            name: np.zeros(len(findings), dtype) for name, dtype in dtypes.items()
        }
        given: dict[str, NDArray[Any]] = {
            name: column.astype(dtypes[name]) for name, column in columns.items()
        }
        return cls(findings, **{**zeros, **given})

    @classmethod
    def joined(cls, *parts: "FoundIn") -> "FoundIn":
        """All findings of several."""
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))


NOTHING = FoundIn.of(np.empty(0, FINDING))

NO_METRIC = 0xFFFF
"""In place of a metric index: the finding is about the whole device."""


class Journal(Protocol):
    """The part of a journal writer that the pipeline uses."""

    def append(self, kind: int, parts: Sequence[Buffer], received_ns: int) -> int:
        """Append a block; returns its offset."""
        ...

    def sync(self) -> int:
        """Make everything appended durable."""
        ...
