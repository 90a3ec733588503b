"""What the worker was at when it died: so that nothing it is fed can kill it again and again.

1. The mark is set before the work and taken away after it, in a mapped file that outlives the process. An error of the
   disk, or a broken connection, is no death: whoever meets it takes the mark away.
2. After `DEATHS` deaths in a row the worker is careful: few messages in a turn, each noted by its hash. Those of a turn
   that killed it are tried alone; one that kills it `DEATHS` times alone is poison and set aside from then on.
3. A journalled block that killed the worker `DEATHS` times is not given to the detector again; its rows are stored.
4. What is counted is on disk before the work is tried once more. All of it is bounded.
Must never live here: what is done with what is set aside.
"""

import hashlib
import json
import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hub.pipeline.frames import Frames
from hub.ports.journal.durability import make_folder, write_whole

DEATHS = 2
CAREFUL_MESSAGES = 32
_KEPT = 256
_IDLE, _TURN, _BLOCK = 0, 1, 2
_MARK = struct.Struct("<IIQ")  # what, notes that follow, offset of the block
_NOTE = struct.Struct("<32sQ")  # SHA-256 of a message, size of its payload
_SIZE = 4096


class Attempts:
    """The mark of one worker, and what earlier marks have taught.

    Args:
        folder: of this worker alone; made if missing.

    Raises:
        OSError: the disk failed or is full.
    """

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self._ledger = folder / "attempts.json"
        self._mark = _mapped(folder / "attempt")
        self.deaths = 0
        self._suspects: dict[str, int] = {}
        self._alone: dict[str, int] = {}
        self._sizes: dict[str, int] = {}
        self._blocks: dict[str, int] = {}
        self._load()
        self._learn()

    @property
    def careful(self) -> bool:
        """Whether turns are small and noted, because the worker has died in some."""
        return self.deaths >= DEATHS

    def parts(self, frames: Frames) -> Iterator[tuple[Frames, int]]:
        """Split a micro-batch into what can be tried together, in order.

        Yields:
            Messages, and how often they killed the worker when tried alone: to be set aside from `DEATHS` on.
        """
        if frames.count == 0 or not (self.careful or self._sizes):
            yield frames, 0
            return
        # The size tells most messages apart without a hash; alike in size are many, and only a suspect goes alone.
        sizes = list(self._sizes.values())
        alike = np.flatnonzero(np.isin(frames.payload_size[: frames.count], sizes)).tolist()
        start = 0
        for i in [*(i for i in alike if _name(frames, i) in self._sizes), frames.count]:
            yield from ((part, 0) for part in self._runs(frames, start, i))
            if i < frames.count:
                yield frames.part(i, i + 1), self._alone.get(_name(frames, i), 0)
            start = i + 1

    def begin(self, frames: Frames) -> None:
        """Mark a turn before it is tried."""
        noted = 0
        one = frames.count == 1 and int(frames.payload_size[0]) in self._sizes.values()
        if one or (self.careful and frames.count <= CAREFUL_MESSAGES):
            noted = frames.count
            for i in range(noted):
                size = int(frames.payload_size[i])
                _NOTE.pack_into(
                    self._mark, _MARK.size + i * _NOTE.size, bytes.fromhex(_name(frames, i)), size
                )
        self._mark[: _MARK.size] = _MARK.pack(_TURN, noted, 0)

    def block(self, offset: int) -> bool:
        """Mark a journalled block before it is tried again; False if it has killed the worker too often."""
        self._mark[: _MARK.size] = _MARK.pack(_BLOCK, 0, offset)
        return self._blocks.get(str(offset), 0) < DEATHS

    def done(self) -> None:
        """Take the mark away."""
        self._mark[: _MARK.size] = _MARK.pack(_IDLE, 0, 0)

    def survived(self) -> None:
        """The worker has run well for a while: forget suspicions, keep what is proven."""
        if self.deaths == 0:
            return
        self.deaths = 0
        self._suspects.clear()
        self._alone = {name: n for name, n in self._alone.items() if n >= DEATHS}
        self._save()

    def close(self) -> None:
        """Let go of the mark's file."""
        self._mark.close()

    def _runs(self, frames: Frames, start: int, stop: int) -> Iterator[Frames]:
        step = CAREFUL_MESSAGES if self.careful else max(1, stop - start)
        for first in range(start, stop, step):
            yield frames.part(first, min(first + step, stop))

    def _learn(self) -> None:
        """Count what the process before this one died of, if it died at work."""
        what, count, offset = _MARK.unpack_from(self._mark)
        if what == _BLOCK:
            self._blocks[str(offset)] = self._blocks.get(str(offset), 0) + 1
        elif what == _TURN:
            self.deaths += 1
            for i in range(count):
                digest, size = _NOTE.unpack_from(self._mark, _MARK.size + i * _NOTE.size)
                name = digest.hex()
                self._sizes[name] = size
                self._suspects[name] = self._suspects.get(name, 0) + 1
                if count == 1:
                    self._alone[name] = self._alone.get(name, 0) + 1
        if what != _IDLE:
            self._save()
        self.done()

    def _load(self) -> None:
        try:
            kept: dict[str, Any] = json.loads(self._ledger.read_text(encoding="ascii"))
            self.deaths = int(kept["deaths"])
            self._suspects, self._alone = dict(kept["suspects"]), dict(kept["alone"])
            self._sizes, self._blocks = dict(kept["sizes"]), dict(kept["blocks"])
        except (FileNotFoundError, ValueError, LookupError, TypeError):
            return  # there is none, or it was damaged: it is only learned again

    def _save(self) -> None:
        self._suspects, self._alone = _newest(self._suspects), _newest(self._alone)
        self._blocks = _newest(self._blocks)
        named = {*self._suspects, *self._alone}
        self._sizes = {name: size for name, size in self._sizes.items() if name in named}
        kept = {
            "deaths": self.deaths,
            "suspects": self._suspects,
            "alone": self._alone,
            "sizes": self._sizes,
            "blocks": self._blocks,
        }
        write_whole(self._ledger, json.dumps(kept).encode())


def _newest(counts: dict[str, int]) -> dict[str, int]:
    return dict(list(counts.items())[-_KEPT:])


def _name(frames: Frames, i: int) -> str:
    """Hash of the message: topic and payload."""
    digest = hashlib.sha256(frames.topic_text(i).encode() + b"\n")
    digest.update(frames.payload_bytes(i))
    return digest.hexdigest()


def _mapped(path: Path) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(descriptor).st_size != _SIZE:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, bytes(_SIZE), 0)  # written: see the progress file
        return mmap.mmap(descriptor, _SIZE)
    finally:
        os.close(descriptor)
