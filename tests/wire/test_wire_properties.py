"""Round trips, and mutations that may fail only with WireError."""

import math
import random
import runpy
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_sdk.wire import cbor, instants, topics
from device_sdk.wire.codes import ClockState, RejectCode
from device_sdk.wire.errors import WireError
from device_sdk.wire.flat import FlatRow
from device_sdk.wire.pack import FLOAT32, INT16, INT32, Pack, decode_pack, encode_pack, open_pack
from device_sdk.wire.receipt import Receipt, StreamReceipt
from device_sdk.wire.senml import decode_senml
from device_sdk.wire.units import unit_matches

FOLDER = Path(__file__).parent / "vectors"
READERS: dict[str, Any] = runpy.run_path(str(FOLDER.parent / "make_vectors.py"))["READERS"]
BYTES = [path.read_bytes() for path in sorted(FOLDER.glob("*.bin"))]
SMALL = [data for data in BYTES if len(data) < 5_000]

times = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(width=64, allow_nan=False, allow_infinity=False)
names = st.from_regex(r"[a-z][a-z0-9_]{1,47}", fullmatch=True)
scalars = (
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | floats | st.text() | st.binary()
)
items = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)


@st.composite
def packs(draw: st.DrawFn) -> Pack:
    rows = draw(st.integers(1, 20))
    columns: dict[str, list[float | None]] = {}
    for name in draw(st.lists(names, min_size=1, max_size=4, unique=True)):
        kind = draw(st.sampled_from([floats, st.integers(-40_000, 40_000).map(float)]))
        columns[name] = draw(st.lists(st.none() | kind, min_size=rows, max_size=rows))
    bare = [i for i in range(rows) if all(values[i] is None for values in columns.values())]
    for i in bare:
        next(iter(columns.values()))[i] = draw(floats)
    near = draw(st.integers(0, 10**12))
    instant = draw(st.sampled_from([times, st.integers(near, near + 10**6)]))
    return Pack(
        stream=draw(st.binary(min_size=8, max_size=8)),
        first_seq=draw(st.integers(0, 2**63 - 30)),
        owner_epoch=draw(st.integers(0, 2**32 - 1)),
        boot=draw(st.binary(min_size=8, max_size=8)),
        clock=draw(st.sampled_from(ClockState)),
        historical=draw(st.booleans()),
        times=draw(st.lists(instant, min_size=rows, max_size=rows)),
        metrics=columns,
    )


def bits(pack: Pack) -> list[Any]:
    """What must survive to the last bit, the sign of zero included."""
    return [
        [name, [None if v is None else (v, math.copysign(1, v)) for v in values]]
        for name, values in pack.metrics.items()
    ]


@given(packs())
def test_a_pack_comes_back_exactly(pack: Pack) -> None:
    back = decode_pack(encode_pack(pack))
    assert back == pack
    assert bits(back) == bits(pack)


@given(packs())
def test_a_pack_is_canonical_cbor(pack: Pack) -> None:
    data = encode_pack(pack)
    assert cbor2.dumps(cbor2.loads(data), canonical=True) == data


def pack_of(times: list[int], values: list[float | None]) -> Pack:
    return Pack(b"s" * 8, 0, 0, b"b" * 8, ClockState.SYNCED, False, times, {"temp_c": values})


@pytest.mark.parametrize(
    ("values", "tag"),
    [
        ([1.0, -5.0], INT16),
        ([1.0, 1e6], FLOAT32),
        ([1.0, 2.0**25 + 1], INT32),
        ([0.5], FLOAT32),
        ([-0.0], FLOAT32),
    ],
)
def test_values_take_the_smallest_exact_type(values: list[float | None], tag: int) -> None:
    opened = open_pack(encode_pack(pack_of([0] * len(values), values)))
    assert opened.columns[0].values.tag == tag


def test_regular_times_take_32_bits_whatever_their_distance() -> None:
    opened = open_pack(encode_pack(pack_of([i * 300 * 10**9 for i in range(8_000)], [1.0] * 8_000)))
    assert (opened.offsets.tag, opened.unit) == (INT32, 300 * 10**9)


def test_times_from_one_end_of_int64_to_the_other_fit_one_pack() -> None:
    ends = [-(2**63), 2**63 - 1, 0]
    assert list(decode_pack(encode_pack(pack_of(ends, [1.0, 2.0, 3.0]))).times) == ends


@given(items)
def test_cbor_agrees_with_another_library(item: Any) -> None:
    data = cbor.encode(item)
    assert cbor2.loads(data) == item
    assert cbor.decode(data) == item


@given(st.binary(max_size=64))
def test_cbor_that_is_read_is_read_as_the_other_library_does(data: bytes) -> None:
    try:
        value = cbor.decode(data)
    except WireError:
        return
    if "CBORTag" not in repr(value):
        assert repr(cbor2.loads(data)) == repr(value)


@pytest.mark.parametrize(
    "item",
    [
        object(),
        2**64,
        {1.5: 0},
        {None: 0},
        {True: 0},
        [[[[[[[[[]]]]]]]]],
        dict.fromkeys(range(1025)),
    ],
)
def test_cbor_that_no_reader_takes_is_not_written(item: Any) -> None:
    with pytest.raises(WireError):
        cbor.encode(item)


def test_tags_are_never_run() -> None:
    assert cbor.decode(bytes.fromhex("d8236161")) == cbor2.CBORTag(35, "a")
    assert cbor.decode(bytes.fromhex("c249010000000000000000")).tag == 2


def test_a_huge_claimed_length_costs_nothing() -> None:
    for head in ("9b7fffffffffffffff", "bb7fffffffffffffff", "5b7fffffffffffffff", "9a7fffffff"):
        with pytest.raises(WireError):
            cbor.decode(bytes.fromhex(head))


@settings(max_examples=300)
@given(st.integers(0, 2**32), st.sampled_from(sorted(READERS)))
def test_mutated_messages_fail_only_with_wire_errors(seed: int, reader: str) -> None:
    chance = random.Random(seed)  # noqa: S311  seeded, so that failures repeat
    data = bytearray(chance.choice(SMALL))
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(4):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del data[at : at + chance.randint(1, 4)]
            case 2:
                data[at:at] = chance.randbytes(chance.randint(1, 4))
            case _:
                data[at:at] = data[: chance.randint(1, 20)]
    try:
        READERS[reader](bytes(data))
    except WireError:
        return


@given(st.binary(max_size=200), st.sampled_from(sorted(READERS)))
def test_noise_fails_only_with_wire_errors(data: bytes, reader: str) -> None:
    try:
        READERS[reader](data)
    except WireError:
        return


@given(st.text(max_size=200), st.sampled_from(["flat", "senml"]))
def test_text_noise_fails_only_with_wire_errors(text: str, reader: str) -> None:
    for data in (
        text,
        f'{{"temp_c":{text}}}',
        f'[{{"n":"temp_c","v":{text}}}]',
        f'{{"t":{text},"ab":1}}',
    ):
        try:
            READERS[reader](data.encode("utf-8", "surrogatepass"))
        except WireError:
            continue


rows = st.builds(
    FlatRow,
    st.dictionaries(names, floats, min_size=1, max_size=8),
    st.none() | times,
)


@given(rows, st.none() | st.tuples(st.binary(min_size=8, max_size=8), st.integers(0, 2**63 - 1)))
def test_flat_rows_come_back_exactly(row: FlatRow, identity: tuple[bytes, int] | None) -> None:
    full = FlatRow(row.values, row.time, *(identity or (None, None)))
    assert FlatRow.decode(full.encode()) == full


@given(times)
def test_seconds_are_exact_to_the_nanosecond(ns: int) -> None:
    row = FlatRow.decode(b'{"ab":1,"t":' + instants.to_seconds(ns).encode() + b"}")
    assert row.time == ns


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31t23:59:59.999999999z", -1),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:30:00-00:30", 0),
        ("2016-12-31T23:59:60Z", 1_483_228_800 * 10**9),
        ("2262-04-11T23:47:16.854775807Z", 2**63 - 1),
        ("1677-09-21T00:12:43.145224192Z", -(2**63)),
    ],
)
def test_rfc3339_is_exact(text: str, ns: int) -> None:
    assert instants.from_rfc3339(text) == ns


@pytest.mark.parametrize(
    "text",
    ["", "now", "2023-01-01", "2023-01-01T00:00:00", "2023-13-01T00:00:00Z", "2023-01-01T24:00:00Z",
     "2023-01-01T00:00:00+24:00", "2023-01-01T00:00:00.Z", "٢٠٢٣-01-01T00:00:00Z"],
)  # fmt: skip
def test_what_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(WireError):
        instants.from_rfc3339(text)


@st.composite
def receipts(draw: st.DrawFn) -> Receipt:
    entries = []
    for stream in draw(st.lists(st.binary(min_size=8, max_size=8), max_size=3, unique=True)):
        bounds = sorted(draw(st.sets(st.integers(0, 2**40), max_size=7)))
        watermark, rest = (bounds[0], bounds[1:]) if bounds else (0, [])
        pairs = tuple(zip(rest[::2], rest[1::2], strict=False))
        bad = tuple((a, b, draw(st.integers(1, 300))) for a, b in pairs[:1])
        entries.append(StreamReceipt(stream, watermark, pairs, bad))
    wait = draw(st.none() | st.integers(0, 2**32 - 1))
    return Receipt(b"12345678", draw(times), tuple(entries), 4096, 1000, wait, (b"87654321",))


@given(receipts())
def test_receipts_come_back_exactly(receipt: Receipt) -> None:
    assert Receipt.decode(receipt.encode()) == receipt


@given(st.from_regex(r"[a-z0-9]{16}", fullmatch=True), st.sampled_from([*topics.Up]))
def test_topics_come_back(device: str, channel: str) -> None:
    topic = topics.parse(topics.up("hp/1", device, channel), "hp/1")
    assert (topic.device, topic.direction, topic.channel) == (device, "up", channel)
    assert topic.shard == topics.shard_of(device)


def test_a_wrong_shard_is_refused() -> None:
    good = topics.up("hp/1", "abcdefgh01234567", "t")
    wrong = good.replace(f"/{topics.shard_of('abcdefgh01234567')}/", "/zz/")
    with pytest.raises(WireError, match="shard") as caught:
        topics.parse(wrong, "hp/1")
    assert caught.value.code is RejectCode.REFUSED


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "hp/1",
        "hp/1/00/x/up/t",
        "hp/2/47/abcdefgh01234567/up/t",
        "hp/1/47/abcdefgh01234567/up/state",
        "hp/1/47/abcdefgh01234567/down/t",
        "hp/1/47/abcdefgh01234567/up/t/x",
        "hp/1/47/ABCDEFGH01234567/up/t",
    ],
)
def test_foreign_topics_are_refused(topic: str) -> None:
    with pytest.raises(WireError):
        topics.parse(topic, "hp/1")


def test_units_match_by_ucum_code_or_senml_symbol() -> None:
    assert unit_matches("Cel", "Cel")
    assert unit_matches("Wh", "W.h")
    assert unit_matches("l", "L")
    assert unit_matches("%RH", "%")
    assert not unit_matches("K", "Cel")


def test_senml_keeps_the_precision_of_decimal_times() -> None:
    data = b'[{"bt":1700000000.123456789,"n":"temp_c","v":1,"t":0.000000001}]'
    assert decode_senml(data, 0)[0].time == 1_700_000_000_123_456_790
