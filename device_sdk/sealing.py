"""Rows to packs: cuts runs into pieces, encodes them, and moves packs to another identity.

1. A pack's identity is `(stream, first seq, rows)`; seq goes on without gaps from pack to pack.
2. Bytes are made once; only packs that move to another stream are made again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from device_sdk.rows import Row, Run, columns
from device_sdk.wire.codes import RejectCode
from device_sdk.wire.errors import WireError
from device_sdk.wire.pack import MAX_BYTES, Pack, decode_pack, encode_pack

PACK_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class SealedPack:
    """A pack with its identity, ready to be kept and sent."""

    stream: bytes
    first: int
    rows: int
    data: bytes

    @property
    def end(self) -> int:
        """Seq after the last row."""
        return self.first + self.rows


def seal(runs: Sequence[Run], stream: bytes, first: int, boot: bytes) -> Iterator[SealedPack]:
    """Yield packs for `runs`, with seqs from `first` on."""
    for run in runs:
        for start in range(0, len(run.rows), PACK_ROWS):
            for sealed in _seal_rows(run, run.rows[start : start + PACK_ROWS], stream, first, boot):
                yield sealed
                first = sealed.end


def move(data: bytes, stream: bytes, first: int, settled: set[int]) -> SealedPack | None:
    """Give a pack another identity.

    Args:
        data: the pack as it was.
        stream: its new stream.
        first: its new first seq.
        settled: old seqs that the hub has settled; those rows are left out.

    Returns:
        The pack made again, or None if nothing of it is left.
    """
    pack = decode_pack(data)
    keep = [i for i in range(len(pack.times)) if pack.first_seq + i not in settled]
    if not keep:
        return None
    metrics = {name: [values[i] for i in keep] for name, values in pack.metrics.items()}
    moved = replace(
        pack,
        stream=stream,
        first_seq=first,
        times=[pack.times[i] for i in keep],
        metrics={
            name: values
            for name, values in metrics.items()
            if any(value is not None for value in values)
        },
    )
    return SealedPack(stream, first, len(keep), encode_pack(moved))


def declare_lost(data: bytes, gone: Sequence[tuple[int, int]]) -> bytes:
    """Return the pack with the ranges `gone` (end exclusive, below its first seq) declared lost."""
    return encode_pack(replace(decode_pack(data), lost=tuple(gone)))


def _seal_rows(
    run: Run, rows: Sequence[Row], stream: bytes, first: int, boot: bytes
) -> Iterator[SealedPack]:
    pack = Pack(
        stream=stream,
        first_seq=first,
        owner_epoch=run.stamp.owner_epoch,
        boot=boot,
        clock=run.stamp.clock,
        historical=run.stamp.historical,
        times=[time for time, _ in rows],
        metrics=columns(rows),
    )
    data = _encoded(pack)
    if data is not None:
        yield SealedPack(stream, first, len(rows), data)
    else:
        # Many metrics a row. Half as many rows fit sooner or later: `rows.check` limits one row.
        half = len(rows) // 2
        yield from _seal_rows(run, rows[:half], stream, first, boot)
        yield from _seal_rows(run, rows[half:], stream, first + half, boot)


def _encoded(pack: Pack) -> bytes | None:
    """Return the bytes of a pack, or None if it must be cut; there is room to declare rows lost."""
    try:
        data = encode_pack(pack)
    except WireError as error:
        if error.code is not RejectCode.TOO_LARGE:
            raise
        return None
    return data if len(data) <= MAX_BYTES - 1_024 else None
