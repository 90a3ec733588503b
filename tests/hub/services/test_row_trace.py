"""The way of one row, told from a journal, Parquet files and a database that hold it."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analytics.findings import Kind as FindingKind
from device_sdk.wire import cbor
from device_sdk.wire.trace import trace_id
from hub.errors import InvalidInputError, NotFoundError
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.product_tables import Device
from hub.ports.database.record_tables import DeadLetter
from hub.ports.journal.block import Kind
from hub.ports.journal.telemetry import REASON_SHIFT, TelemetryBatch, encode
from hub.ports.journal.writer import JournalWriter, Rotation
from hub.ports.store.compaction import CompactionPolicy, Compactor
from hub.services import alerts
from hub.services.found import Found
from hub.services.row_trace import Way, follow
from tests.hub.services.service_world import T0, S, World

STREAM = 0xA1B2C3D4E5F60718
HEX = f"{STREAM:016x}"


def rows(slot: int, *seqs: int) -> TelemetryBatch:
    seq = np.array(seqs, np.uint64)
    time = T0 + seq.astype(np.int64) * S
    return TelemetryBatch(
        slot=np.full(seq.size, slot, np.uint32),
        epoch=np.ones(seq.size, np.uint32),
        flags=np.where(seq == 2, 2 << REASON_SHIFT, 0).astype(np.uint32),
        count=np.ones(seq.size, np.uint32),
        stream=np.full(seq.size, STREAM, np.uint64),
        seq=seq,
        raw_time=time - S,
        time=time,
        metric=np.zeros(seq.size, np.uint16),
        value=np.full(seq.size, 80.0),
    )


class Filled:
    """A hub's folders: rows 0 to 2 journalled, 5 and 6 rejected; row 1 made somebody worry."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.folder = world, folder
        caller, made = world.customer(), world.product()
        self.slot = world.enrol(made).slot
        world.claim(made, caller)
        with read_session(world.engine) as session:
            self.device_id = session.get_one(Device, self.slot).device_id
        self.serial = made.serial
        with JournalWriter.open(
            folder / "journal", now_ns=T0, rotation=Rotation(size=1)
        ) as journal:
            journal.append(Kind.TELEMETRY, encode(rows(self.slot, 0, 1, 2)), T0 + 9)
            settled = cbor.encode([[self.slot, STREAM, 5, 7]])
            journal.append(Kind.SETTLEMENTS, [settled], T0 + 10)
            journal.append(Kind.TELEMETRY, encode(rows(self.slot + 1, 1)), T0 + 11)

    def follow(self, seq: int, device: str = "", stream: str = HEX) -> Way:
        with read_session(self.world.engine) as session:
            return follow(
                session,
                {"0": self.folder / "journal"},
                self.folder / "store",
                device or self.device_id,
                stream,
                seq,
            )


@pytest.fixture
def filled(world: World, tmp_path: Path) -> Filled:
    return Filled(world, tmp_path)


def test_a_row_is_followed_from_the_journal_to_the_people_who_were_told(filled: Filled) -> None:
    found = Found(
        bytes(16), filled.slot, 0, FindingKind.SPIKE, 2, T0 + S, T0, 9.5, 80.0, 20.0, 25.0
    )
    found = replace(found, stream=STREAM.to_bytes(8, "big"), seq=1)
    with write_session(filled.world.engine) as session:
        (change,) = alerts.apply_findings(session, [found], T0 + 2 * S)
    way = filled.follow(1)
    assert change.trace == way.trace == trace_id(filled.device_id, STREAM.to_bytes(8, "big"), 1)
    assert [step.stage for step in way.steps] == ["journalled", "finding", "alert", "notice"]
    journalled, finding, alert, notice = way.steps
    assert journalled.at == T0 + 9
    assert journalled.facts["time"] == T0 + S
    assert journalled.facts["raw_time"] == T0
    assert (finding.facts["kind"], finding.facts["alert"]) == ("spike", alert.facts["alert"])
    assert (alert.at, notice.at) == (T0 + 2 * S, T0 + 2 * S)


def test_what_was_not_accepted_says_why(filled: Filled) -> None:
    with write_session(filled.world.engine) as session:
        session.add(
            DeadLetter(
                log="deadletters/0",
                offset=0,
                position=3,
                at=T0 + 10,
                slot=filled.slot,
                channel="pack",
                reason=6,
                hash=hashlib.sha256(b"").digest(),
                size=0,
                sample=b"",
                detail="",
                rows={"stream": HEX, "ranges": [[5, 6]]},
            )
        )
    assert filled.follow(2).steps[0].facts["quarantined"] == "unclaimed"
    settled, letter = filled.follow(5).steps
    assert (settled.stage, settled.at) == ("settled", T0 + 10)
    assert (letter.facts["letter"], letter.facts["reason"]) == ("deadletters/0/0/3", "wrong_unit")
    assert [step.stage for step in filled.follow(6).steps] == ["settled"]
    assert filled.follow(4).steps == ()


def test_a_row_outlives_its_journal_segment(filled: Filled) -> None:
    eager = CompactionPolicy(run_bytes=1, grace_ns=0, fanout=2)
    folders = filled.folder / "store", {"0": filled.folder / "journal"}
    with Compactor(*folders, eager) as compactor:
        compactor.run(T0 + 20, {"0": 1 << 60})
    (stored,) = filled.follow(1, filled.serial).steps
    assert (stored.stage, stored.at, stored.facts["time"]) == ("stored", None, T0 + S)


def test_what_does_not_exist_is_said(filled: Filled) -> None:
    with pytest.raises(NotFoundError, match="No device has the id or serial number nobody"):
        filled.follow(1, "nobody")
    for stream in ("zz", "a1b2", HEX + "00"):
        with pytest.raises(InvalidInputError, match="16 hexadecimal digits"):
            filled.follow(1, stream=stream)
