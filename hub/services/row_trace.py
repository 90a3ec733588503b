"""The way of one row: when it came, where it is kept, what was found in it, and who was told.

1. Everything is read from what is there: journals, Parquet files, database. Nothing is kept for this.
2. What is gone is said to be gone: the time of receipt goes with the journal segment that held it.
3. A row is named by (device, stream, seq), and its trace id follows from these (`device_sdk.wire.trace`); logs of the
   device and of the hub have it.
What must never live here: who may ask. It is for operators, who have the hub's files.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from device_sdk.wire import cbor
from device_sdk.wire.codes import QuarantineReason, RejectCode
from device_sdk.wire.trace import trace_id
from hub.errors import InvalidInputError, NotFoundError
from hub.ports.database.alert_tables import Alert, Finding, Notice
from hub.ports.database.product_tables import Device, Product
from hub.ports.database.record_tables import DeadLetter
from hub.ports.journal.block import Block, Kind
from hub.ports.journal.reader import JournalReader
from hub.ports.journal.segments import list_segments
from hub.ports.journal.telemetry import HISTORICAL, REASON_MASK, REASON_SHIFT, decode
from hub.ports.store.manifest import Manifest
from hub.ports.store.parquet import ParquetSource
from hub.services.alert_kinds import kind_word

_STREAM_BYTES: Final = 8
_LARGEST: Final = 1 << 28


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened to a row.

    Args:
        stage: `journalled`, `settled`, `dead_letter`, `stored`, `finding`, `alert` or `notice`.
        at: when, ns; None: that is not kept.
        facts: what is known of it; JSON values.
    """

    stage: str
    at: int | None
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Way:
    """A row's name, and what happened to it in the order of the hub's stages."""

    trace: str
    device_id: str
    steps: tuple[Step, ...]


def follow(
    session: Session,
    journals: Mapping[str, Path],
    store: Path,
    device: str,
    stream: str,
    seq: int,
) -> Way:
    """Follow a row.

    Args:
        session: any session.
        journals: folders of the telemetry journals, by name.
        store: folder of the embedded store.
        device: device id, or serial number of its product.
        stream: 16 hexadecimal digits, as logs show it.
        seq: number of the row in the stream.

    Raises:
        InvalidInputError: the stream is not one.
        NotFoundError: no such device.
    """
    octets = _octets(stream)
    found = _device(session, device)
    wanted = _Wanted(found.slot, int.from_bytes(octets, "big"), octets, seq)
    steps = [*_journalled(journals, wanted), *_letters(session, wanted)]
    stored = list(_stored(store, wanted))
    times = {step.facts["time"] for step in (*steps, *stored) if "time" in step.facts}
    return Way(
        trace_id(found.device_id, octets, seq),
        found.device_id,
        (*steps, *stored, *(step for at in sorted(times) for step in _told(session, wanted, at))),
    )


@dataclass(frozen=True, slots=True)
class _Wanted:
    slot: int
    stream: int
    octets: bytes
    seq: int


def _octets(stream: str) -> bytes:
    try:
        octets = bytes.fromhex(stream)
    except ValueError:
        octets = b""
    if len(octets) != _STREAM_BYTES:
        raise InvalidInputError(
            f"{stream!r} is no stream: it is 16 hexadecimal digits, as receipts and logs show it."
        )
    return octets


def _device(session: Session, name: str) -> Device:
    query = (
        select(Device)
        .join(Product, Product.id == Device.product_id)
        .where(or_(Device.device_id == name, Product.serial == name))
        .limit(2)
    )
    found = session.scalars(query).all()
    if len(found) != 1:
        how = "No device has" if not found else "More than one device has"
        raise NotFoundError(f"{how} the id or serial number {name}. Give the device id.")
    return found[0]


def _journalled(journals: Mapping[str, Path], wanted: _Wanted) -> Iterator[Step]:
    for name, folder in journals.items():
        segments = list_segments(folder)
        if not segments:
            continue
        for block in JournalReader(folder, segments[0].first).blocks():
            if block.kind == Kind.TELEMETRY:
                yield from _rows(name, block, wanted)
            elif block.kind == Kind.SETTLEMENTS:
                yield from _settled(name, block, wanted)


def _rows(name: str, block: Block, wanted: _Wanted) -> Iterator[Step]:
    batch = decode(block.payload)
    here = (batch.slot == wanted.slot) & (batch.stream == wanted.stream) & (batch.seq == wanted.seq)
    for row in np.flatnonzero(here).tolist():
        facts = {"journal": name, "offset": block.offset, "samples": int(batch.count[row])}
        facts |= _row_facts(
            int(batch.time[row]),
            int(batch.raw_time[row]),
            int(batch.epoch[row]),
            int(batch.flags[row]),
        )
        yield Step("journalled", block.received_ns, facts)


def _settled(name: str, block: Block, wanted: _Wanted) -> Iterator[Step]:
    for slot, stream, start, end in cbor.decode(bytes(block.payload), max_bytes=_LARGEST):
        if (slot, stream) == (wanted.slot, wanted.stream) and start <= wanted.seq < end:
            facts = {"journal": name, "offset": block.offset, "why": "rejected, or reported lost"}
            yield Step("settled", block.received_ns, facts)


def _letters(session: Session, wanted: _Wanted) -> Iterator[Step]:
    query = select(DeadLetter).where(DeadLetter.slot == wanted.slot).order_by(DeadLetter.at)
    for letter in session.scalars(query):
        rows = letter.rows or {"stream": "", "ranges": []}
        ranges = [(start, end) for start, end in rows["ranges"] if start <= wanted.seq < end]
        if rows["stream"] == wanted.octets.hex() and ranges:
            reason = RejectCode(letter.reason).name.lower()
            facts = {"letter": f"{letter.log}/{letter.offset}/{letter.position}", "reason": reason}
            yield Step("dead_letter", letter.at, {**facts, "replayed_at": letter.replayed_at})


def _stored(store: Path, wanted: _Wanted) -> Iterator[Step]:
    names = ("slot", "stream", "seq", "time", "raw_time", "epoch", "flags")
    for file in Manifest.read(store).files:
        if not file.min_slot <= wanted.slot <= file.max_slot:
            continue
        source = ParquetSource(store / file.name)
        for group in source.groups((wanted.slot, wanted.slot)):
            columns = source.read(group, names)
            here = (columns["slot"] == wanted.slot) & (columns["stream"] == wanted.stream)
            at = np.flatnonzero(here & (columns["seq"] == wanted.seq))
            if at.size:
                row = {name: int(column[at[0]]) for name, column in columns.items()}
                facts = _row_facts(row["time"], row["raw_time"], row["epoch"], row["flags"])
                yield Step("stored", None, {"file": file.name, **facts})
                return


def _row_facts(time: int, raw_time: int, epoch: int, flags: int) -> dict[str, Any]:
    reason = (flags & REASON_MASK) >> REASON_SHIFT
    return {
        "time": time,
        "raw_time": raw_time,
        "owner_epoch": epoch,
        "historical": bool(flags & HISTORICAL),
        "quarantined": QuarantineReason(reason).name.lower() if reason else None,
    }


def _told(session: Session, wanted: _Wanted, time: int) -> Iterator[Step]:
    """Yield what was found at the row's time, and what came of it."""
    query = select(Finding).where(Finding.slot == wanted.slot, Finding.at == time)
    alerts: dict[str, None] = {}
    for finding in session.scalars(query.order_by(Finding.metric, Finding.kind)):
        about = {"kind": kind_word(finding.kind), "metric_index": finding.metric}
        facts = {"finding": finding.id.hex(), **about}
        yield Step("finding", None, {**facts, "alert": finding.alert_id})
        if finding.alert_id is not None:
            alerts[finding.alert_id] = None
    for alert in session.scalars(select(Alert).where(Alert.id.in_(alerts))):
        facts = {"alert": alert.id, "code": alert.code, "resolved_at": alert.resolved_at}
        yield Step("alert", alert.opened_at, facts)
    for notice in session.scalars(select(Notice).where(Notice.slot == wanted.slot)):
        if notice.arguments.get("alert") in alerts:
            facts = {"notice": notice.id.hex(), "code": notice.code}
            yield Step("notice", notice.created_at, {**facts, "sent_again_at": notice.told_at})
