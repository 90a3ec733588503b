"""A long comparison of the decoding kernels with the reference decoders: `python -m tests.hub.pipeline.fuzz_decode`.

1. Half of the messages are right, the others are right ones with one to four bytes changed, taken out, put in or moved.
2. All that comes out is compared, bit for bit and in order: rows, and which message was rejected with which code.
3. A case that differs is printed with the seed; the same seed makes the same cases.
`test_decode.py` does the same with fewer and smaller cases, found by hypothesis.
"""

import argparse
import math
import random
import struct
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from device_sdk.wire.codes import ClockState, RejectCode
from device_sdk.wire.errors import WireError
from device_sdk.wire.flat import FlatRow
from device_sdk.wire.pack import Pack, decode_pack, encode_pack
from device_sdk.wire.topics import ROOT
from hub.pipeline.directory import Directory
from hub.pipeline.frames import Rows
from tests.hub.pipeline.frame_bench import METRICS, NOW, Bench, gate_arrays, publish, topic_of

Row = tuple[Any, ...]
BATCH = 256
SLOT, EPOCH = 1, 7
_MOST_BAD_RUNS = 8
_JSON_BYTES = b'{}[]":,.0123456789eE+-abctsq \\\x00\xc3'
_PACK_POOL = 400


class DifferenceError(Exception):
    """Kernel and reference differ; the message holds all that is needed to see it again."""


def number(rng: random.Random) -> str:
    """A number as somebody may write it in JSON."""
    kind = rng.randrange(6)
    if kind == 0:
        return f"{rng.uniform(-1000, 1000):.{rng.randrange(0, 6)}f}"
    if kind == 1:
        return str(rng.randrange(-(10 ** rng.randrange(1, 22)), 10 ** rng.randrange(1, 22)))
    if kind == 2:
        return repr(finite(rng))
    if kind == 3:
        digits = "".join(rng.choices("0123456789", k=rng.randrange(1, 30)))
        return f"{rng.randrange(10)}.{digits}e{rng.randrange(-330, 330)}"
    if kind == 4:
        return f"{rng.randrange(2**53)}e{rng.choice('+-')}{rng.randrange(25)}"
    return rng.choice(["0", "-0", "-0.0", "1e22", "1e23", "9007199254740993", "5e-324", "1E5"])


def finite(rng: random.Random) -> float:
    """A number of any size, by its bits."""
    while True:
        (value,) = struct.unpack("<d", rng.randbytes(8))
        if math.isfinite(value):
            return float(value)


def flat_json(rng: random.Random) -> bytes:
    """A row of flat JSON that is right."""
    names = rng.sample(METRICS, rng.randrange(1, len(METRICS) + 1))
    fields = [f'"{name}":{number(rng)}' for name in names]
    if rng.random() < 0.8:
        fraction = f".{rng.randrange(10 ** rng.randrange(1, 12))}" if rng.random() < 0.5 else ""
        fields.append(f'"t":{rng.randrange(10 ** rng.randrange(1, 11))}{fraction}')
    if rng.random() < 0.7:
        fields += [f'"s":"{rng.randrange(2**64):016x}"', f'"q":{rng.randrange(2**53)}']
    rng.shuffle(fields)
    gap = rng.choice(["", "", " ", "\n\t"])
    return f"{{{gap}{f',{gap}'.join(fields)}{gap}}}".encode()


def pack(rng: random.Random) -> bytes:
    """A pack that is right but for values that are not finite."""
    count = rng.randrange(1, 25)
    steps = [
        rng.choice([10**9, rng.randrange(-(2**31), 2**31), rng.randrange(2**40)])
        for _ in range(count)
    ]
    start = rng.randrange(-(2**62), 2**62)
    names = rng.sample(METRICS, rng.randrange(1, len(METRICS) + 1))
    value: Callable[[], float] = rng.choice(
        [
            lambda: float(rng.randrange(-40_000, 40_000)),
            lambda: rng.uniform(-1e3, 1e3),
            lambda: finite(rng),
            lambda: float(np.float32(rng.uniform(-50, 50))),
            lambda: math.nan if rng.random() < 0.2 else 1.5,
        ]
    )
    metrics: dict[str, list[float | None]] = {
        name: [value() if i == 0 or rng.random() < 0.8 else None for _ in range(count)]
        for i, name in enumerate(names)
    }
    metrics[names[0]] = [value() for _ in range(count)]
    return encode_pack(
        Pack(
            stream=rng.randbytes(8),
            first_seq=rng.randrange(2**40),
            owner_epoch=rng.randrange(2**32),
            boot=b"bootboot",
            clock=rng.choice(list(ClockState)),
            historical=rng.random() < 0.5,
            times=[start + sum(steps[: i + 1]) for i in range(count)],
            metrics=metrics,
        )
    )


def mutated(rng: random.Random, payload: bytes, likely: bytes) -> bytes:
    """The payload with one to four changes."""
    changed = bytearray(payload)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(changed)) if changed else 0
        kind = rng.randrange(6)
        if kind <= 1 and changed:
            changed[at] = rng.choice(likely) if kind else rng.randrange(256)
        elif kind == 2:
            changed.insert(at, rng.choice(likely))
        elif kind == 3:
            del changed[at : at + rng.randrange(1, 4)]
        elif kind == 4 and changed:
            changed[at] ^= 1 << rng.randrange(8)
        else:
            piece = changed[at : at + rng.randrange(1, 9)]
            place = rng.randrange(len(changed) + 1)
            changed[place:place] = piece
    return bytes(changed)


def cases(rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """Channel and payload, without end."""
    pool = [pack(rng) for _ in range(_PACK_POOL)]
    likely = bytes(sorted({byte for one in pool for byte in one[:40]}))
    while True:
        if rng.random() < 0.5:
            payload = flat_json(rng)
            yield "json", payload if rng.random() < 0.5 else mutated(rng, payload, _JSON_BYTES)
            continue
        place = rng.randrange(_PACK_POOL)
        payload = pool[place]
        if rng.random() < 0.5:
            pool[place] = pack(rng)
            yield "t", payload
        else:
            yield "t", mutated(rng, payload, likely)


def bits(value: float) -> bytes:
    """A value as it is stored, so that -0 is not 0."""
    return struct.pack("<d", value)


def expected(channel: str, payload: bytes) -> tuple[list[Row], RejectCode | None]:
    """What the reference decoders make of a message: its rows, and the code if it or some rows are rejected."""
    try:
        rows, names = _expected_flat(payload) if channel == "json" else _expected_pack(payload)
    except WireError as error:
        return [], error.code
    if not names <= set(METRICS):
        return [], RejectCode.UNKNOWN_METRIC
    good = [all(math.isfinite(value) for value in row[-1].values()) for row in rows]
    if sum(not one and (i == 0 or good[i - 1]) for i, one in enumerate(good)) > _MOST_BAD_RUNS:
        good = [False] * len(good)
    kept = [
        (*row[:-1], {METRICS.index(name): bits(value) for name, value in row[-1].items()})
        for row, one in zip(rows, good, strict=True)
        if one
    ]
    return kept, None if all(good) else RejectCode.NOT_FINITE


def _expected_flat(payload: bytes) -> tuple[list[Row], set[str]]:
    row = FlatRow.decode(payload)
    stream = int.from_bytes(row.stream or b"", "big")
    at = NOW if row.time is None else row.time
    return [(EPOCH, stream, row.seq or 0, at, dict(row.values))], set(row.values)


def _expected_pack(payload: bytes) -> tuple[list[Row], set[str]]:
    one = decode_pack(payload)
    stream = int.from_bytes(one.stream, "big")
    columns = one.metrics.items()
    rows = [
        (
            one.owner_epoch,
            stream,
            one.first_seq + i,
            at,
            {name: values[i] for name, values in columns if values[i] is not None},
        )
        for i, at in enumerate(one.times)
    ]
    return rows, set(one.metrics)


def decoded(rows: Rows) -> list[list[Row]]:
    """Rows by message, as `expected` gives them."""
    batch = rows.batch()
    widths = batch.count.tolist()
    metric, value = batch.metric.tolist(), batch.value.tolist()
    found: list[list[Row]] = [[] for _ in range(BATCH)]
    at = 0
    columns = (rows.frame[: rows.rows], batch.epoch, batch.stream, batch.seq, batch.raw_time)
    for (frame, *identity), width in zip(
        zip(*(column.tolist() for column in columns), strict=True), widths, strict=True
    ):
        samples = {metric[k]: bits(value[k]) for k in range(at, at + width)}
        found[frame].append((*identity, samples))
        at += width
    return found


def compare(bench: Bench, batch: list[tuple[str, bytes]], rows: Rows) -> None:
    """Decode a batch and compare it, message by message.

    Raises:
        DifferenceError: some message came out otherwise.
    """
    packets = (publish(topic_of(SLOT, channel), payload) for channel, payload in batch)
    rows, rejections, _, _ = bench.decode(*packets, rows=rows)
    found = decoded(rows)
    codes: list[tuple[bytes, int]] = []
    for rejection in rejections:
        one = rejection.payload, rejection.code
        # Rows that are not finite are rejected run by run.
        if rejection.code is not RejectCode.NOT_FINITE or codes[-1:] != [one]:
            codes.append(one)
    told = iter(codes)
    for i, (channel, payload) in enumerate(batch):
        wanted, code = expected(channel, payload)
        got = next(told, None) if code is not None else (payload, None)
        if found[i] != wanted or got != (payload, code):
            raise DifferenceError(
                f"{channel} {payload.hex()}\n  expected {code} {wanted}\n  got {got} {found[i]}"
            )
    if (left := next(told, None)) is not None:
        raise DifferenceError(f"rejected for nothing: {left}")


def run(count: int, seed: int, say: Callable[[str], None] = print) -> None:
    """Compare so many cases.

    Raises:
        DifferenceError: a message came out otherwise.
    """
    bench = Bench(Directory.build(1, gate_arrays(), ROOT))
    source = cases(random.Random(seed))  # noqa: S311  seeded, so that a failure can be repeated
    rows = Rows(1 << 14, 1 << 17)
    began = time.monotonic()
    for done in range(0, count, BATCH):
        batch = [next(source) for _ in range(min(BATCH, count - done))]
        try:
            compare(bench, batch, rows)
        except DifferenceError as error:
            raise DifferenceError(f"seed {seed}, cases from {done}: {error}") from None
        if done % (400 * BATCH) == 0 and done:
            say(f"{done:,} cases alike, {done / (time.monotonic() - began):,.0f} a second")
    say(f"{count:,} cases alike (seed {seed})")


def main() -> int:
    """Run from the command line; 0 if kernels and reference agree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    try:
        run(arguments.cases, arguments.seed)
    except DifferenceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
