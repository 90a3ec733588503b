"""The state of a lane: settled streams and detectors, as they are at the end of its journal.

1. It is the newest checkpoint that counts, and a replay of what the journal holds behind it, through the same code.
2. Products that are dealt to another lane now are left out.
What must never live here: what is done with the state.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from analytics.snapshot import SnapshotError
from hub.errors import StorageError
from hub.pipeline.attempts import Attempts
from hub.pipeline.checkpoint import load_checkpoint
from hub.pipeline.detect import DetectStage
from hub.pipeline.directory import Directory
from hub.pipeline.identity import StreamTable
from hub.pipeline.react import ReactStage
from hub.pipeline.run import fresh_detector, replay_block
from hub.ports.journal.block import Kind as BlockKind
from hub.ports.journal.reader import JournalReader
from hub.ports.journal.segments import list_segments
from hub.ports.journal.telemetry import decode

if TYPE_CHECKING:
    from hub.app.ingest import IngestConfig

log = logging.getLogger(__name__)


def restored(
    config: "IngestConfig", directory: Directory, reactions: ReactStage, attempts: Attempts
) -> tuple[StreamTable, DetectStage, int]:
    """Restore the state of a lane.

    Args:
        config: of the lane.
        directory: the gate snapshot at hand.
        reactions: log the findings of the replay again, under the same ids.
        attempts: know what killed the worker in the replay.

    Returns:
        Streams, detectors, and the offset of the checkpoint that was used.

    Raises:
        StorageError: the journal is damaged, or no checkpoint reaches it.
    """
    segments = list_segments(config.journal)
    first = segments[0].first if segments else 0
    loaded = load_checkpoint(config.checkpoints, segments)
    if loaded is not None and loaded[0] >= first:
        offset, arrays = loaded
        streams, detector = StreamTable.restore(config.window, arrays), _detector(arrays)
    elif first == 0:
        offset = 0
        streams, detector = StreamTable(config.window), fresh_detector()
    else:
        raise StorageError(
            f"The journal of worker {config.worker} begins at {first} and no checkpoint reaches it, so what devices "
            "were told cannot be known. Restore the checkpoint folder from a backup."
        )
    detector.use(directory.model, directory.metrics, directory.cohort)
    _remember(config.journal, streams, first, offset)
    blocks = 0
    for block in JournalReader(config.journal, offset).blocks():
        detect = attempts.block(block.offset)
        if not detect:
            log.error(
                "a block that killed the worker is passed over", extra={"offset": block.offset}
            )
        try:
            replay_block(block, streams, detector, reactions, detect=detect)
        except (StorageError, OSError):
            attempts.done()
            raise
        blocks += 1
    attempts.done()
    foreign = directory.foreign(config.worker, config.lanes)
    detector.forget(foreign)
    log.info("replayed %d blocks from offset %d", blocks, offset)
    return streams.without(foreign), detector, offset


def _remember(folder: Path, streams: StreamTable, first: int, until: int) -> None:
    """Take the fingerprints of the rows journalled last before the checkpoint, as far as the journal reaches."""
    start = streams.trail.start
    if start is None or start >= until:
        return
    for block in JournalReader(folder, max(start, first)).blocks(until):
        if block.kind == BlockKind.TELEMETRY:
            streams.remember(decode(bytearray(block.payload)), block.received_ns)


def _detector(arrays: dict[str, NDArray[Any]]) -> DetectStage:
    """The detector of a checkpoint; a fresh one if another version wrote it (it learns again from here)."""
    try:
        return DetectStage.restore(arrays)
    except SnapshotError as error:
        log.warning("%s Detection starts afresh.", error)
        return fresh_detector()
