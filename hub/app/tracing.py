"""The ways of some rows as spans: through the stages of a worker, then through the reactor to alert and push.

1. Rows name themselves (`device_sdk.wire.trace`), and ids of spans follow from that name: processes tell one another
   nothing, and yet their spans make one trace. The device logs its packs under the same name.
2. A row in which something was found always has a trace; of others the first of a micro-batch, so many a second.
3. None of this runs, nor is loaded into a stage, where nobody collects.
Must never live here: how spans are sent.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from device_sdk.wire.trace import trace_id
from hub.app.tally import Laps
from hub.ports.collector.port import Collector, Span, Value
from hub.services.alert_kinds import kind_word

if TYPE_CHECKING:  # a worker must not carry what only the reactor needs: the database
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy.orm import Session

    from hub.app.findings_desk import Changes, FindingsDesk
    from hub.app.log_records import Entry
    from hub.metrics import Metrics
    from hub.pipeline.frames import U8
    from hub.pipeline.outcome import FoundIn
    from hub.pipeline.run import Turn

TURN: Final = "ingest"
_MOST: Final = 64
"""Rows with findings that one micro-batch has traced."""


def span_id(trace: str, name: str) -> str:
    """Return the id of a span: 16 hexadecimal digits, the same in each process."""
    return hashlib.sha256(f"homeport/span/{trace}/{name}".encode()).hexdigest()[:16]


class NotedLaps(Laps):
    """Laps that also keeps when each stage of the present turn ended.

    Args:
        metrics: of the worker.
        clock: seconds that only go forward.
        wall: the world's time, ns.
    """

    def __init__(
        self,
        metrics: Metrics,
        clock: Callable[[], float] = time.perf_counter,
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        super().__init__(metrics, clock)
        self._wall = wall
        self.ends: list[tuple[str, int]] = []
        """Stage and end (ns); the first is where the turn began."""

    def begin(self) -> None:
        """A turn begins."""
        super().begin()
        self.ends = [("", self._wall())]

    def __call__(self, stage: str) -> None:
        """A stage has ended."""
        super().__call__(stage)
        self.ends.append((stage, self._wall()))


class TurnTracer:
    """Hands over the ways of rows through a worker.

    Args:
        collector: takes them.
        laps: knows when the stages of the newest turn ended.
        per_s: traces a second of rows in which nothing was found; 0: none.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        collector: Collector,
        laps: NotedLaps,
        per_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._collector = collector
        self._laps = laps
        self._pause_s = 1 / per_s if per_s > 0 else None
        self._clock = clock
        self._sampled = -float("inf")

    def turn(self, turn: Turn, device_id: U8) -> None:
        """Hand over the spans of the newest turn, for the rows that are traced.

        Args:
            turn: what it did.
            device_id: u8[N, 16] by slot.
        """
        if turn.stored is None or turn.stored.offset < 0:
            return
        for (slot, stream, seq), kinds in self._rows(turn).items():
            octets = stream.to_bytes(8, "big")
            device = bytes(device_id[slot]).decode("ascii", "replace")
            facts: dict[str, Value] = {
                "homeport.device": device,
                "homeport.stream": octets.hex(),
                "homeport.seq": seq,
                "homeport.journal.offset": turn.stored.offset,
                "homeport.batch.frames": turn.messages,
                "homeport.batch.bytes": turn.bytes,
                "homeport.batch.rows": turn.stored.batch.rows,
                "homeport.batch.samples": turn.stored.batch.samples,
            }
            if kinds:
                facts["homeport.findings"] = ",".join(kinds)
            for span in self._spans(trace_id(device, octets, seq), facts):
                self._collector.span(span)

    def _rows(self, turn: Turn) -> dict[tuple[int, int, int], list[str]]:
        """Return the rows to trace (slot, stream, seq) with the kinds of what was found in them."""
        found = _evidence(turn.found)
        stored = turn.stored
        now = self._clock()
        due = self._pause_s is not None and now - self._sampled >= self._pause_s
        if due and stored is not None and stored.batch.rows and stored.batch.stream[0]:
            batch = stored.batch
            self._sampled = now
            found.setdefault((int(batch.slot[0]), int(batch.stream[0]), int(batch.seq[0])), [])
        return found

    def _spans(self, trace: str, facts: Mapping[str, Value]) -> Iterator[Span]:
        ends = self._laps.ends
        whole = span_id(trace, TURN)
        yield Span(TURN, trace, whole, "", ends[0][1], ends[-1][1], facts)
        for (_, start), (stage, end) in pairwise(ends):
            yield Span(f"{TURN} {stage}", trace, span_id(trace, stage), whole, start, end)


def _evidence(found: FoundIn) -> dict[tuple[int, int, int], list[str]]:
    """Return the rows that completed the evidence of findings, with the kinds of these."""
    rows: dict[tuple[int, int, int], list[str]] = {}
    for i in range(len(found.findings)):
        if not found.stream[i]:
            continue  # an anonymous row, or no row: it has no name
        name = (int(found.slot[i]), int(found.stream[i]), int(found.seq[i]))
        if name in rows or len(rows) < _MOST:
            rows.setdefault(name, []).append(kind_word(int(found.findings["kind"][i])))
    return rows


@dataclass(frozen=True, slots=True)
class _Traced:
    """What findings changed, and when (ns) they were taken up."""

    began: int
    changes: Changes


class TracedFindings:
    """A desk for findings whose work on alerts is handed over as spans.

    Args:
        desk: does the work.
        collector: takes the spans.
        clock: the world's time, ns.
    """

    def __init__(
        self, desk: FindingsDesk, collector: Collector, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self._desk = desk
        self._collector = collector
        self._clock = clock

    def apply(self, session: Session, entries: Sequence[Entry], at: int) -> _Traced:
        """See `FindingsDesk.apply`."""
        began = self._clock()
        return _Traced(began, self._desk.apply(session, entries, at))

    def publish(self, traced: _Traced) -> None:
        """See `FindingsDesk.publish`."""
        committed = self._clock()
        self._desk.publish(traced.changes)
        ended = self._clock()
        for change, _ in traced.changes:
            if not change.trace:
                continue
            trace, name = change.trace, f"alert/{change.alert.id}"
            whole = span_id(trace, name)
            facts: dict[str, Value] = {
                "homeport.alert": change.alert.id,
                "homeport.alert.kind": kind_word(change.alert.kind),
                "homeport.alert.change": change.change.value,
                "homeport.device": change.device_id,
                "homeport.notice": change.notice is not None,
            }
            turn = span_id(trace, TURN)
            self._collector.span(Span("alert", trace, whole, turn, traced.began, ended, facts))
            push = span_id(trace, f"{name}/push")
            self._collector.span(Span("alert push", trace, push, whole, committed, ended))
