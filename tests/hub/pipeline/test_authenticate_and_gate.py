"""Topics to slots, slots to verdicts."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_sdk.wire.topics import ROOT, shard_of
from entitlements.gate import limits_at, verdict_at
from hub.pipeline.authenticate import Authenticator
from hub.pipeline.directory import Directory
from hub.pipeline.frames import AUTH_MALFORMED, AUTH_OK, AUTH_UNKNOWN_DEVICE, AUTH_WRONG_SHARD
from hub.pipeline.gate import Gate
from tests.hub.pipeline.frame_bench import DEVICES, NOW, Bench, gate_arrays, publish, topic_of


@pytest.mark.parametrize(("channel", "number"), [("t", 1), ("json", 2), ("senml", 3)])
def test_each_device_on_each_channel_finds_its_slot(
    bench: Bench, channel: str, number: int
) -> None:
    frames = bench.frames(*(publish(topic_of(slot, channel), b"") for slot in range(1, 6)))
    assert frames.slot[:5].tolist() == [1, 2, 3, 4, 5]
    assert frames.auth[:5].tolist() == [AUTH_OK] * 5
    assert frames.channel[:5].tolist() == [number] * 5


@pytest.mark.parametrize(
    ("topic", "outcome"),
    [
        (topic_of(1, "t")[:-1], AUTH_MALFORMED),
        (topic_of(1, "event"), AUTH_MALFORMED),
        (topic_of(1, "jsox"), AUTH_MALFORMED),
        (topic_of(1, "senmx"), AUTH_MALFORMED),
        (topic_of(1, "t") + "/x", AUTH_MALFORMED),
        (topic_of(1, "t").replace("/up/", "/dn/"), AUTH_MALFORMED),
        (topic_of(1, "t").replace("hp/1", "hp/2"), AUTH_MALFORMED),
        ("", AUTH_MALFORMED),
        ("hp/1", AUTH_MALFORMED),
        (f"{ROOT}/{shard_of('nobody0000000000')}/nobody0000000000/up/t", AUTH_UNKNOWN_DEVICE),
        (f"{ROOT}/00/\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0/up/t", AUTH_UNKNOWN_DEVICE),
        (f"{ROOT}/{shard_of(DEVICES[2])}/{DEVICES[1]}/up/t", AUTH_WRONG_SHARD),
    ],
)
def test_a_forged_topic_gets_no_slot_and_is_refused(bench: Bench, topic: str, outcome: int) -> None:
    frames = bench.frames(publish(topic, b"x"))
    assert (frames.slot[0], frames.auth[0], frames.verdict[0]) == (0, outcome, 3)


@given(st.binary(max_size=60))
def test_any_topic_is_handled(topic: bytes) -> None:
    bench = Bench(Directory.build(1, gate_arrays(), ROOT))
    body = len(topic).to_bytes(2, "big") + topic
    frames = bench.frames(bytes([0x30, len(body)]) + body)
    assert frames.auth[0] != AUTH_OK


def test_devices_whose_hashes_collide_are_never_mixed() -> None:
    """A table of 16 places with 8 devices has collisions; each still finds itself, strangers find nobody."""
    rng = np.random.default_rng(7)
    letters = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz0123456789", np.uint8)
    for _ in range(50):
        ids = letters[rng.integers(0, 36, (9, 16))]
        ids[0] = 0
        names = ["", *(row.tobytes().decode() for row in ids[1:])]
        shards = np.array([[48, 48], *(list(shard_of(n).encode()) for n in names[1:])], np.uint8)
        table = Authenticator(ids, shards, ROOT)
        bench = Bench(Directory.build(1, gate_arrays(), ROOT))
        stranger = letters[rng.integers(0, 36, 16)].tobytes().decode()
        asked = [*names[1:], stranger]
        frames = bench.frames(*(publish(f"{ROOT}/{shard_of(n)}/{n}/up/t", b"") for n in asked))
        table.authenticate(frames)
        assert frames.slot[:9].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 0]


def test_verdict_reason_and_epoch_come_from_the_snapshot(bench: Bench) -> None:
    frames = bench.frames(*(publish(topic_of(slot, "t"), b"") for slot in range(1, 6)))
    assert frames.verdict[:5].tolist() == [0, 0, 0, 1, 3]
    assert frames.reason[:5].tolist() == [0, 0, 0, 1, 7]
    assert frames.epoch[:5].tolist() == [7, 1, 1, 2, 1]


@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(-10, 10), st.integers(0, 3), st.integers(0, 7)),
            min_size=1,
            max_size=4,
            unique_by=lambda s: s[0],
        ),
        min_size=5,
        max_size=5,
    ),
    st.integers(-12, 12),
)
def test_the_gate_equals_the_reference_lookup(
    spans: list[list[tuple[int, int, int]]], at: int
) -> None:
    always = -(1 << 63)  # a compiled snapshot's first span has always begun
    by_slot = [
        [(always, 3, 7)],
        *([(always, v, r), *rest] for (_, v, r), *rest in map(sorted, spans)),
    ]
    flat = [s for device in by_slot for s in device]
    arrays = gate_arrays()
    ends = np.cumsum([len(d) for d in by_slot])
    arrays["span"] = np.stack((ends - [len(d) for d in by_slot], ends), axis=1).astype(np.uint32)
    arrays["span_from"] = np.array([s[0] for s in flat], np.int64)
    arrays["span_verdict"] = np.array([s[1] for s in flat], np.uint8)
    arrays["span_reason"] = np.array([s[2] for s in flat], np.uint8)
    arrays["span_budget"] = np.arange(len(flat)).astype(np.uint16)
    bench = Bench(Directory.build(1, gate_arrays(), ROOT))
    frames = bench.frames(*(publish(topic_of(slot, "t"), b"") for slot in range(1, 6)))
    Gate(
        arrays["epoch"],
        arrays["span"],
        arrays["span_from"],
        arrays["span_verdict"],
        arrays["span_reason"],
        arrays["span_budget"],
    ).gate(frames, at)
    verdict, reason = verdict_at(arrays, np.arange(1, 6, dtype=np.uint32), at)
    assert frames.verdict[:5].tolist() == verdict.tolist()
    assert frames.reason[:5].tolist() == reason.tolist()
    arrays["budget"] = np.tile(np.arange(len(flat))[:, None], 5)
    limits = limits_at(arrays, np.arange(1, 6, dtype=np.uint32), at)
    assert frames.budget[:5].tolist() == limits[:, 0].tolist()


def test_a_decision_changes_at_its_instant_without_a_new_snapshot(
    bench: Bench, message: Callable[[int, str, bytes], bytes]
) -> None:
    arrays = gate_arrays()
    ends = np.array([1, 3, 4, 5, 6, 7])
    arrays["span"] = np.stack((ends - [1, 2, 1, 1, 1, 1], ends), axis=1).astype(np.uint32)
    arrays["span_from"] = np.array([0, 0, NOW, 0, 0, 0, 0], np.int64)
    arrays["span_verdict"] = np.array([3, 0, 1, 0, 0, 1, 3], np.uint8)
    arrays["span_reason"] = np.array([7, 0, 1, 0, 0, 1, 7], np.uint8)
    arrays["span_budget"] = np.zeros(7, np.uint16)
    gate = Directory.build(2, arrays, ROOT).gate
    frames = bench.frames(message(1, "t", b""))
    gate.gate(frames, NOW - 1)
    assert frames.verdict[0] == 0
    gate.gate(frames, NOW)
    assert (frames.verdict[0], frames.reason[0]) == (1, 1)
