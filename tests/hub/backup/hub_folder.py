"""A data folder with something in every part of it, made without any process."""

import threading
from contextlib import suppress
from pathlib import Path

import numpy as np

from hub.app.backup.take import Source
from hub.config import Settings
from hub.pipeline.checkpoint import save_checkpoint
from hub.ports.database.engine import write_session
from hub.ports.database.record_tables import Cursor
from hub.ports.journal.block import Kind
from hub.ports.journal.segments import prune
from hub.ports.journal.telemetry import TelemetryBatch, encode
from hub.ports.journal.writer import JournalWriter, Rotation
from hub.ports.store.compaction import CompactionPolicy, Compactor
from hub.services.identity import incarnation
from hub.services.pki import CertificateAuthority
from hub.services.signing_keys import SigningKeys, load_pepper
from hub.services.tokens import Tokens
from tests.hub.database.sqlite_template import open_migrated

NOW = 1_800_000_000_000_000_000
EAGER = CompactionPolicy(run_bytes=1, grace_ns=0, fanout=3)
SMALL = Rotation(size=4_000)


def octets(count: int) -> bytes:
    return bytes(range(count))


def rows(first: int, count: int) -> TelemetryBatch:
    """Rows of one device, one a second."""
    seq = np.arange(first, first + count, dtype=np.uint64)
    time = NOW + seq.astype(np.int64) * 1_000_000_000
    return TelemetryBatch(
        slot=np.ones(count, np.uint32),
        epoch=np.ones(count, np.uint32),
        flags=np.zeros(count, np.uint32),
        count=np.ones(count, np.uint32),
        stream=np.full(count, 7, np.uint64),
        seq=seq,
        raw_time=time,
        time=time,
        metric=np.zeros(count, np.uint16),
        value=seq.astype(np.float64),
    )


class HubFolder:
    """A hub without processes: `live` does what they do, step by step.

    Args:
        folder: becomes the data folder.
        url: of the database; empty for SQLite in the folder.
    """

    def __init__(self, folder: Path, url: str = "") -> None:
        database = {"url": url} if url else {}
        self.settings = Settings(data_dir=folder, database=database)
        CertificateAuthority.load_or_create(self.settings.pki_dir, NOW)
        SigningKeys.load_or_create(self.settings.keys_dir)
        self.tokens = Tokens(load_pepper(self.settings.keys_dir))
        self.engine = open_migrated(self.settings.database_url.get_secret_value())
        with write_session(self.engine) as session:
            self.incarnation = incarnation(session, self.tokens)
        self.source = Source(self.settings, self.engine, "0.1.0", octets)
        self.journal = JournalWriter.open(self.settings.journal_dir(0), now_ns=NOW, rotation=SMALL)
        self.findings = JournalWriter.open(
            self.settings.findings_dir(0), now_ns=NOW, rotation=SMALL
        )
        self.seq = 0

    def live(self, steps: int) -> None:
        """Take rows, log findings, checkpoint, follow the log, compact, prune: as the processes do."""
        settings = self.settings
        with Compactor(settings.store_dir, {"0": settings.journal_dir(0)}, EAGER) as compactor:
            for _ in range(steps):
                offset = self.journal.append(Kind.TELEMETRY, encode(rows(self.seq, 20)), NOW)
                self.seq += 20
                self.journal.sync()
                self.findings.append(Kind.FINDINGS, [offset.to_bytes(8, "little") * 40], NOW)
                self.findings.sync()
                checkpoint = 0
                if self.seq % 100 == 0:
                    state = {"state": np.arange(3)}
                    checkpoint = save_checkpoint(
                        settings.detector_dir(0), self.journal.synced, state
                    )
                with write_session(self.engine) as session:
                    session.merge(Cursor(name="findings/0", offset=self.findings.synced))
                prune(settings.findings_dir(0), self.findings.synced)
                compactor.run(NOW + 10**12, {"0": checkpoint})

    def live_until(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self.live(5)

    def close(self) -> None:
        self.journal.close()
        self.findings.close()
        with suppress(Exception):
            self.engine.dispose()
