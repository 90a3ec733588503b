"""The kernels against the reference decoders, bit for bit, and what is rejected."""

import json
import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from device_sdk.wire.codes import ClockState, RejectCode
from device_sdk.wire.errors import WireError
from device_sdk.wire.flat import FlatRow
from device_sdk.wire.pack import Pack, decode_pack, encode_pack
from device_sdk.wire.topics import ROOT
from hub.pipeline.decode_kernels import DONE, FALLBACK
from hub.pipeline.directory import Directory
from hub.pipeline.frames import Rows
from tests.hub.pipeline.frame_bench import (
    DEVICES,
    METRICS,
    NOW,
    Bench,
    gate_arrays,
    publish,
    topic_of,
)

STREAM = bytes(range(8))
BENCH = Bench(Directory.build(1, gate_arrays(), ROOT))
DAY = 86_400_000_000_000


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


def rows_of(rows: Rows) -> list[tuple[Any, ...]]:
    """Every row as (slot, epoch, stream, seq, raw time, {metric: bits})."""
    out = []
    at = 0
    for i in range(rows.rows):
        n = int(rows.width[i])
        samples = {int(rows.metric[at + k]): bits(float(rows.value[at + k])) for k in range(n)}
        assert len(samples) == n
        at += n
        out.append(
            (
                int(rows.slot[i]),
                int(rows.epoch[i]),
                int(rows.stream[i]),
                int(rows.seq[i]),
                int(rows.raw_time[i]),
                samples,
            )
        )
    assert at == rows.samples
    return out


def expected_json(slot: int, epoch: int, payload: bytes) -> list[tuple[Any, ...]]:
    row = FlatRow.decode(payload)
    samples = {METRICS.index(name): bits(value) for name, value in row.values.items()}
    stream = int.from_bytes(row.stream or b"", "big")
    return [(slot, epoch, stream, row.seq or 0, NOW if row.time is None else row.time, samples)]


def expected_pack(slot: int, payload: bytes) -> list[tuple[Any, ...]]:
    pack = decode_pack(payload)
    out = []
    for i, time in enumerate(pack.times):
        samples = {}
        for name, values in pack.metrics.items():
            value = values[i]
            if value is not None:
                samples[METRICS.index(name)] = bits(value)
        if all(math.isfinite(struct.unpack("<d", v)[0]) for v in samples.values()):
            stream = int.from_bytes(pack.stream, "big")
            out.append((slot, pack.owner_epoch, stream, pack.first_seq + i, time, samples))
    return out


# Numbers as people and devices write them: short decimals, long ones, exponents, edges of the exact path.
number_texts = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(10**20), 10**20).map(str),
    st.from_regex(r"-?(0|[1-9][0-9]{0,18})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.sampled_from(
        [
            "-0",
            "-0.0",
            "0e5",
            "1e22",
            "1e23",
            "9007199254740993",
            "9007199254740992",
            "1e-22",
            "5e-324",
        ]
    ),
)
flat_texts = st.builds(
    lambda values, time, identity, pad: (
        "{" + pad + f",{pad}".join(
            [f'"{k}"{pad}:{pad}{v}' for k, v in values.items()]
            + ([f'"t":{time}'] if time is not None else [])
            + ([f'"s":"{identity[0]:016x}"', f'"q":{identity[1]}'] if identity else [])
        ) + pad + "}"
    ).encode(),
    st.dictionaries(st.sampled_from(METRICS), number_texts, min_size=1),
    st.none() | st.from_regex(r"[0-9]{1,12}(\.[0-9]{1,11})?", fullmatch=True) | st.just('"2026-11-22T10:00:00.5Z"'),
    st.none() | st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**53)),
    st.sampled_from(["", " ", "\n\t"]),
)  # fmt: skip


@settings(max_examples=600)
@given(flat_texts)
@example(b'{"temp_c":21.4,"power_w":900,"t":1700000000.123456789,"s":"00000000000000ff","q":17}')
@example(b'{"temp_c":1,"q":1e0,"s":"00000000000000ff"}')
@example(b'{"temp_c":1,"temp_c":2}')
def test_flat_json_equals_the_reference(payload: bytes) -> None:
    rows, rejections, _, _ = BENCH.decode(publish(topic_of(1, "json"), payload))
    code = None
    try:
        if not set(FlatRow.decode(payload).values) <= set(METRICS):
            code = RejectCode.UNKNOWN_METRIC
    except WireError as error:
        code = error.code
    if code is None:
        assert rows_of(rows) == expected_json(1, 7, payload)
        assert not rejections
    else:
        assert rows.rows == 0
        assert [r.code for r in rejections] == [code]


@settings(max_examples=600)
@given(flat_texts, st.data())
def test_mutated_flat_json_equals_the_reference(payload: bytes, data: st.DataObject) -> None:
    changed = bytearray(payload)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(changed) - 1))
        action = data.draw(st.integers(0, 2))
        if action == 0:
            changed[at] = data.draw(
                st.sampled_from(list(b'{}[]":,.0123456789eE+-abctsq \\\x00\xc3'))
            )
        elif action == 1:
            del changed[at]
            if not changed:
                changed += b"{"
        else:
            changed.insert(at, data.draw(st.integers(0, 255)))
    test_flat_json_equals_the_reference.hypothesis.inner_test(bytes(changed))  # type: ignore[attr-defined]


def test_the_kernel_itself_decodes_ordinary_json() -> None:
    """Otherwise the tests above would compare the reference with itself."""
    payload = b'{"temp_c":21.4,"power_w":-900.25,"t":1700000000.5,"s":"00ff00ff00ff00ff","q":17}'
    frames = BENCH.frames(publish(topic_of(1, "json"), payload))
    rows = Rows(8, 256)
    status, _ = BENCH.directory.decoder._run_kernel(frames, rows, NOW, 0)
    assert status == DONE
    assert rows_of(rows) == expected_json(1, 7, payload)


finite = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-40_000, 40_000).map(float)


@st.composite
def packs(draw: st.DrawFn, values: st.SearchStrategy[float] = finite) -> bytes:
    count = draw(st.integers(1, 20))
    start = draw(st.integers(-(2**62), 2**62))
    steps = draw(
        st.lists(st.integers(-(2**31), 2**31) | st.just(10**9), min_size=count, max_size=count)
    )
    names = draw(st.lists(st.sampled_from(METRICS), min_size=1, unique=True))
    metrics: dict[str, list[float | None]] = {
        name: draw(st.lists(st.none() | values, min_size=count, max_size=count)) for name in names
    }
    full = draw(st.lists(values, min_size=count, max_size=count))
    metrics[names[0]] = list(full)
    return encode_pack(
        Pack(
            stream=STREAM,
            first_seq=draw(st.integers(0, 2**40)),
            owner_epoch=draw(st.integers(0, 2**32 - 1)),
            boot=b"bootboot",
            clock=draw(st.sampled_from(list(ClockState))),
            historical=draw(st.booleans()),
            times=[start + sum(steps[: i + 1]) for i in range(count)],
            metrics=metrics,
        )
    )


@settings(max_examples=400)
@given(packs())
def test_packs_equal_the_reference(payload: bytes) -> None:
    rows, rejections, _, _ = BENCH.decode(publish(topic_of(2, "t"), payload))
    assert rows_of(rows) == expected_pack(2, payload)
    assert not rejections


@settings(max_examples=600)
@given(packs(), st.data())
def test_mutated_packs_equal_the_reference(payload: bytes, data: st.DataObject) -> None:
    changed = bytearray(payload)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del changed[data.draw(st.integers(1, len(changed))) :]
    rows, rejections, _, _ = BENCH.decode(publish(topic_of(2, "t"), bytes(changed)))
    try:
        names = set(decode_pack(bytes(changed)).metrics)
    except WireError as error:
        assert [r.code for r in rejections] == [error.code]
        assert rows.rows == 0
        return
    if names <= set(METRICS):
        assert rows_of(rows) == expected_pack(2, bytes(changed))
        assert {r.code for r in rejections} <= {RejectCode.NOT_FINITE}
    else:
        assert [r.code for r in rejections] == [RejectCode.UNKNOWN_METRIC]
        assert rows.rows == 0


def test_the_kernel_itself_decodes_ordinary_packs() -> None:
    times = [NOW + i * 10**9 for i in range(50)]
    metrics: dict[str, list[float | None]] = {name: [i / 3 for i in range(50)] for name in METRICS}
    metrics["flow_c"] = [None if i % 3 else float(i) for i in range(50)]
    payload = encode_pack(Pack(STREAM, 5, 1, b"bootboot", ClockState.SYNCED, False, times, metrics))
    frames = BENCH.frames(publish(topic_of(2, "t"), payload))
    rows = Rows(64, 256)
    status, _ = BENCH.directory.decoder._run_kernel(frames, rows, NOW, 0)
    assert status == DONE
    assert rows_of(rows) == expected_pack(2, payload)


def pack_of(
    values: list[float], *, first: int = 0, clock: ClockState = ClockState.SYNCED, historical: bool = False,
    times: list[int] | None = None, name: str = "temp_c", lost: tuple[tuple[int, int], ...] = (),
) -> bytes:  # fmt: skip
    times = times or [NOW + i * 10**9 for i in range(len(values))]
    return encode_pack(
        Pack(STREAM, first, 1, b"bootboot", clock, historical, times, {name: values}, lost)
    )


def test_rows_that_are_not_finite_are_rejected_by_themselves() -> None:
    payload = pack_of([1.0, math.nan, 3.0, math.inf], first=10)
    rows, rejections, _, _ = BENCH.decode(publish(topic_of(1, "t"), payload))
    assert [r[3] for r in rows_of(rows)] == [10, 12]
    assert [(r.code, r.start, r.end) for r in rejections] == [
        (RejectCode.NOT_FINITE, 11, 12),
        (RejectCode.NOT_FINITE, 13, 14),
    ]
    assert {r.stream for r in rejections} == {int.from_bytes(STREAM, "big")}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("value", "signalling"),
    [
        (struct.pack("<f", 0.625), struct.pack("<I", 0x7F80_0001)),
        (struct.pack("<f", 0.625), struct.pack("<I", 0xFFA0_0000)),
        (struct.pack("<d", 0.1), struct.pack("<Q", 0x7FF0_0000_0000_0001)),
    ],
)
def test_a_signalling_nan_is_rejected_like_any_other(value: bytes, signalling: bytes) -> None:
    (number,) = struct.unpack("<f" if len(value) == 4 else "<d", value)
    payload = pack_of([1.5, number, 2.5], first=10)
    assert payload.count(value) == 1
    rows, rejections, _, _ = BENCH.decode(
        publish(topic_of(1, "t"), payload.replace(value, signalling))
    )
    assert [r[3] for r in rows_of(rows)] == [10, 12]
    assert [(r.code, r.start, r.end) for r in rejections] == [(RejectCode.NOT_FINITE, 11, 12)]


def test_a_pack_full_of_scattered_bad_rows_is_rejected_as_a_whole() -> None:
    payload = pack_of([math.nan if i % 2 else 1.0 for i in range(40)])
    rows, rejections, _, _ = BENCH.decode(publish(topic_of(1, "t"), payload))
    assert rows.rows == 0
    assert [(r.code, r.start, r.end) for r in rejections] == [(RejectCode.NOT_FINITE, 0, 40)]


def test_a_metric_of_another_model_is_unknown_and_its_rows_are_named() -> None:
    rows, rejections, _, _ = BENCH.decode(publish(topic_of(3, "t"), pack_of([1.0, 2.0], first=4)))
    assert rows.rows == 0
    (rejection,) = rejections
    assert (rejection.code, rejection.start, rejection.end) == (RejectCode.UNKNOWN_METRIC, 4, 6)
    assert "temp_c" in rejection.detail


def test_the_same_name_in_two_models_finds_each_models_own_index() -> None:
    rows, _, _, _ = BENCH.decode(
        publish(topic_of(1, "t"), pack_of([1.0], name="power_w")),
        publish(topic_of(3, "t"), pack_of([1.0], name="power_w")),
    )
    assert rows.metric[:2].tolist() == [2, 0]


def test_an_oversized_pack_is_rejected_under_its_identity() -> None:
    payload = pack_of([float(i) / 7 for i in range(8000)])
    fat = payload.replace(b"\x66temp_c", b"\x66temp_c", 1) + b""
    big = encode_fat(fat, 300_000)
    rows, rejections, _, _ = BENCH.decode(publish(topic_of(1, "t"), big))
    assert rows.rows == 0
    (rejection,) = rejections
    assert (rejection.code, rejection.stream) == (
        RejectCode.TOO_LARGE,
        int.from_bytes(STREAM, "big"),
    )
    assert (rejection.start, rejection.end) == (0, 8000)


def encode_fat(payload: bytes, size: int) -> bytes:
    """The same pack with an unknown key that makes it too large."""
    fat = bytearray(payload)
    fat[0] += 1  # one more entry in the map
    filler = size - len(payload)
    return bytes(fat) + b"\x18\x63\x5a" + filler.to_bytes(4, "big") + bytes(filler)


@pytest.mark.parametrize("payload", [b"", b"\xff", b"garbage", b"\xa1\x00", pack_of([1.0])[:-3]])
def test_garbage_is_malformed_and_has_no_identity(payload: bytes) -> None:
    rows, rejections, _, _ = BENCH.decode(publish(topic_of(1, "t"), payload))
    assert rows.rows == 0
    assert [(r.code, r.stream) for r in rejections] == [(RejectCode.MALFORMED, None)]


def test_a_bad_message_between_good_ones_changes_nothing_for_them() -> None:
    good = [b'{"temp_c":%d,"s":"00000000000000ff","q":%d}' % (i, i) for i in range(4)]
    messages = [
        publish(topic_of(1, "json"), p)
        for p in (good[0], b"{", good[1], b"\xff" * 50, good[2], good[3])
    ]
    rows, rejections, _, _ = BENCH.decode(*messages)
    assert [r[3] for r in rows_of(rows)] == [0, 1, 2, 3]
    assert len(rejections) == 2


def test_forged_and_refused_messages_become_rejections_with_the_reason() -> None:
    payload = b'{"temp_c":1}'
    rows, rejections, _, _ = BENCH.decode(
        publish(topic_of(5, "json"), payload), publish(topic_of(1, "json")[:-1], payload)
    )
    assert rows.rows == 0
    assert [(r.slot, r.code) for r in rejections] == [
        (5, RejectCode.REFUSED),
        (0, RejectCode.REFUSED),
    ]
    assert "revoked" in rejections[0].detail


def test_a_lapsed_devices_rows_carry_the_reason() -> None:
    rows, _, _, _ = BENCH.decode(
        publish(topic_of(4, "t"), pack_of([1.0])), publish(topic_of(4, "json"), b'{"temp_c":1}')
    )
    assert [(int(f) >> 5) & 7 for f in rows.flags[:2]] == [1, 1]


def test_columns_grow_when_a_batch_does_not_fit() -> None:
    small = Rows(2, 64)
    payloads = [pack_of([float(k) for k in range(100)], first=100 * i) for i in range(5)]
    rows, _, _, _ = BENCH.decode(*(publish(topic_of(1, "t"), p) for p in payloads), rows=small)
    assert [r[3] for r in rows_of(rows)] == list(range(500))


def test_senml_rows_resolve_names_and_check_units() -> None:
    good = [
        {"bn": "urn:dev:", "bt": 1.7e9, "n": "temp_c", "u": "Cel", "v": 20.5},
        {"n": "power_w", "u": "W", "v": 900},
    ]
    wrong = [{"n": "temp_c", "u": "K", "v": 293.0}]
    rows, rejections, _, _ = BENCH.decode(
        publish(topic_of(1, "senml"), json.dumps(good).encode()),
        publish(topic_of(1, "senml"), json.dumps(wrong).encode()),
    )
    assert rows_of(rows) == [
        (1, 7, 0, 0, 1_700_000_000_000_000_000, {0: bits(20.5), 2: bits(900.0)})
    ]
    assert int(rows.flags[0]) & (1 << 4)
    assert [r.code for r in rejections] == [RejectCode.WRONG_UNIT]


def test_lost_ranges_are_handed_on() -> None:
    _, _, lost, _ = BENCH.decode(
        publish(topic_of(1, "t"), pack_of([1.0], first=100, lost=((10, 40),)))
    )
    assert [(x.slot, x.stream, x.start, x.end) for x in lost] == [
        (1, int.from_bytes(STREAM, "big"), 10, 40)
    ]


@pytest.mark.parametrize(
    ("times", "clock", "historical", "corrected"),
    [
        ([NOW - DAY, NOW], ClockState.SYNCED, False, None),
        ([0, 10**9], ClockState.SYNCED, False, [NOW - 10**9, NOW]),  # a clock in 1970
        ([NOW, NOW + 2 * DAY], ClockState.SYNCED, False, [NOW - 2 * DAY, NOW]),  # ahead
        ([NOW - 5, NOW - 4], ClockState.UNSET, False, [NOW - 1, NOW]),
        ([0, 10**9], ClockState.UNSET, True, None),  # history keeps its times
        ([-(2**63), 2**63 - 1], ClockState.SYNCED, False, [NOW, NOW]),  # a span beyond int64
    ],
)
def test_implausible_live_clocks_are_corrected_and_the_raw_time_kept(
    times: list[int], clock: ClockState, historical: bool, corrected: list[int] | None
) -> None:
    payload = pack_of([1.0, 2.0], times=times, clock=clock, historical=historical)
    rows, rejections, _, _ = BENCH.decode(publish(topic_of(1, "t"), payload))
    assert not rejections
    assert rows.raw_time[:2].tolist() == times
    assert rows.time[:2].tolist() == (corrected or times)
    assert [bool(int(f) & 8) for f in rows.flags[:2]] == [corrected is not None] * 2


def test_unrepresentable_times_are_rejected() -> None:
    flat = b'{"temp_c":1,"t":1e30,"s":"00000000000000ff","q":3}'
    rows, rejections, _, _ = BENCH.decode(publish(topic_of(1, "json"), flat))
    assert rows.rows == 0
    assert [r.code for r in rejections] == [RejectCode.BAD_TIME]


def test_unusual_but_valid_input_takes_the_reference_path() -> None:
    frames = BENCH.frames(publish(topic_of(1, "json"), b'{"temp\\u005fc":1}'))
    status, at = BENCH.directory.decoder._run_kernel(frames, Rows(8, 256), NOW, 0)
    assert (status, at) == (FALLBACK, 0)
    rows, _, _, _ = BENCH.decode(publish(topic_of(1, "json"), b'{"temp\\u005fc":1}'))
    assert rows.rows == 1


def test_every_device_of_the_bench_has_its_own_place() -> None:
    assert len({d for d in DEVICES if d}) == len(DEVICES) - 1
    assert np.unique(gate_arrays()["device_id"], axis=0).shape[0] == len(DEVICES)
