"""Deals the products of a hub to its lanes, before any worker runs.

1. Lanes are a power of two, so that each new one takes its products from one old lane; lanes are never taken away.
2. A new lane begins with the state that the old one has of its products: what is settled stays settled, and detectors
   go on. The old lane leaves them out whenever it starts.
3. The folders of the journals say how many lanes there are; they are made last, so a crash leaves the old number.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from hub.config import Settings
from hub.errors import ConflictError
from hub.ports.journal.durability import make_folder
from hub.ports.journal.segments import list_segments
from hub.services.snapshot_file import current_version

if TYPE_CHECKING:
    from hub.app.ingest import IngestConfig
    from hub.ports.journal.block import Buffer

log = logging.getLogger(__name__)


def deal(settings: Settings, config: Callable[[int], "IngestConfig"]) -> None:
    """Make the lanes that are missing.

    Args:
        settings: of the hub.
        config: what a worker works with for a lane.

    Raises:
        ConflictError: there is telemetry, but no gate snapshot that tells whose it is.
        StorageError: a journal is damaged.
    """
    before = _made(settings)
    for lane in range(before, settings.lanes) if before else ():
        parent = lane % before
        if list_segments(settings.journal_dir(parent)):
            _inherit(config(parent), config(lane))
            log.info("lane dealt", extra={"lane": lane, "from": parent})
    for lane in range(before, settings.lanes):
        make_folder(settings.journal_dir(lane))


def _made(settings: Settings) -> int:
    lanes = 0
    while settings.journal_dir(lanes).is_dir():
        lanes += 1
    return lanes


def _inherit(parent: "IngestConfig", child: "IngestConfig") -> None:
    """Write the first checkpoint of a lane: what another one knows of its products."""
    from device_sdk.wire.topics import ROOT  # noqa: PLC0415  heavy, and few starts deal
    from hub.app.lane_state import restored  # noqa: PLC0415  as above
    from hub.pipeline.attempts import Attempts  # noqa: PLC0415  as above
    from hub.pipeline.checkpoint import save_checkpoint  # noqa: PLC0415  as above
    from hub.pipeline.directory import Directory  # noqa: PLC0415  as above
    from hub.pipeline.react import ReactStage  # noqa: PLC0415  as above

    if current_version(parent.gate) is None:
        raise ConflictError(
            "Products cannot be dealt to more lanes yet: no gate snapshot tells which they are. Start the hub "
            "once with as many workers as before, stop it, and start it with more."
        )
    directory = Directory.read(parent.gate, ROOT)
    place = replace(parent, worker=child.worker, lanes=child.lanes)
    with closing(Attempts(child.checkpoints)) as attempts:
        streams, detector, _ = restored(place, directory, ReactStage(_Silent(), 0), attempts)
    streams.move()
    save_checkpoint(child.checkpoints, 0, {**streams.arrays(), **detector.arrays()})


class _Silent:
    """A log that keeps nothing: the old lane logs its findings itself."""

    def append(self, _kind: int, _parts: "Sequence[Buffer]", _received_ns: int) -> int:
        return 0

    def sync(self) -> int:
        return 0
