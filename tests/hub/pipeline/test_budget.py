"""Budgets against plain token buckets, and what throttled products are told."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_sdk.wire.topics import ROOT
from hub.pipeline.budget import Buckets, Budgets
from hub.pipeline.directory import Directory
from hub.pipeline.frames import BY_LOAD, BY_OWNER, BY_PRODUCT, Frames
from tests.hub.pipeline.frame_bench import gate_arrays

S = 1_000_000_000
START = 5 * S
Message = tuple[int, int, int]
"""Slot, payload bytes, ns since the message before."""


def batch(messages: Sequence[tuple[int, int]], verdict: int = 0) -> Frames:
    frames = Frames(np.zeros(1, np.uint8), max(1, len(messages)))
    frames.count = len(messages)
    for i, (slot, size) in enumerate(messages):
        frames.slot[i], frames.payload_size[i], frames.verdict[i] = slot, size, verdict
    return frames


def budgets(*terms: tuple[int, int, int, int, int], owner: Sequence[int] = (0, 1, 1, 2)) -> Budgets:
    return Budgets(np.array(owner, np.uint32), np.array(terms, np.int64), Buckets())


class Bucket:
    """A token bucket in fractions: it may be overdrawn by the frame that empties it."""

    def __init__(self, rate: int, burst_s: int) -> None:
        self.rate, self.size = rate, Fraction(rate * burst_s)
        self.level, self.at = self.size, 0

    def fill(self, now: int) -> bool:
        self.level = min(self.size, self.level + Fraction(self.rate * (now - self.at), S))
        self.at = now
        return self.rate == 0 or self.level >= 0


@settings(max_examples=200)
@given(
    st.tuples(*(st.sampled_from([0, 1, 2, 4, 10, 100]),) * 4, st.integers(1, 5)),
    st.lists(
        st.tuples(st.integers(1, 3), st.integers(0, 40), st.sampled_from([0, 0, S // 8, S])),
        max_size=60,
    ),
)
def test_the_kernel_equals_token_buckets(
    terms: tuple[int, int, int, int, int], messages: list[Message]
) -> None:
    """Rates whose ns are whole numbers, so that both count alike."""
    kernel = budgets(terms)
    *rates, burst = terms
    products = {slot: [Bucket(rate, burst) for rate in rates[:2]] for slot in (1, 2, 3)}
    owners = {owner: [Bucket(rate, burst) for rate in rates[2:]] for owner in (1, 2)}
    now = START
    for slot, size, pause in messages:
        now += pause
        own = [*products[slot], *owners[1 if slot < 3 else 2]]
        filled = [bucket.fill(now) for bucket in own]  # each of them, also behind an empty one
        passes = all(filled)
        if passes:
            for bucket, cost in zip(own, (1, size, 1, size), strict=True):
                bucket.level -= cost
        frames = batch([(slot, size)])
        kernel.charge(frames, now)
        assert frames.verdict[0] == (0 if passes else 2)


def test_a_batch_is_charged_in_the_order_of_arrival() -> None:
    one = budgets((1, 0, 0, 0, 3))
    frames = batch([(1, 1)] * 6)
    one.charge(frames, START)
    # Three at once, and the one that overdraws.
    assert frames.verdict[:6].tolist() == [0, 0, 0, 0, 2, 2]
    assert set(frames.reason[4:6].tolist()) == {BY_PRODUCT}
    one.charge(other := batch([(1, 1)] * 3), START + 2 * S)
    assert other.verdict[:3].tolist() == [0, 0, 2]


def test_a_frame_larger_than_the_burst_passes_and_is_paid_for_later() -> None:
    one = budgets((0, 100, 0, 0, 1))
    one.charge(frames := batch([(1, 1000), (1, 1)]), START)
    assert frames.verdict[:2].tolist() == [0, 2]
    one.charge(frames := batch([(1, 1)]), START + 9 * S - 1)
    assert frames.verdict[0] == 2
    one.charge(frames := batch([(1, 1)]), START + 9 * S)
    assert frames.verdict[0] == 0


def test_many_products_of_one_owner_do_not_touch_another() -> None:
    owner = [0, *[1] * 1000, 2]
    one = budgets((10, 0, 100, 0, 1), owner=owner)
    crowd = batch([(slot, 100) for slot in range(1, 1001)] * 2 + [(1001, 100)] * 5)
    one.charge(crowd, START)
    assert np.count_nonzero(crowd.verdict[:2000] == 0) == 101
    assert set(crowd.reason[:2000][crowd.verdict[:2000] == 2].tolist()) == {BY_OWNER}
    assert crowd.verdict[2000:2005].tolist() == [0] * 5


def test_a_throttled_product_is_told_once_and_longer_each_time_until_something_passes() -> None:
    one = budgets((1, 0, 0, 0, 8))
    one.charge(batch([(1, 1)] * 9), START)
    told = []
    for second in range(300):
        at = START + second * S // 1000  # far too soon for anything to pass
        one.charge(frames := batch([(1, 1), (1, 1)]), at)
        told += [int(wait) for wait in frames.wait[:2] if wait]
    assert told == [2 * S]  # a quarter of the burst
    waits = []
    at = START
    for _ in range(7):
        at += 2 * S
        one.buckets.products[1, 0] = at + 100 * S  # something else keeps it from sending
        one.charge(frames := batch([(1, 1)]), at)
        at += int(frames.wait[0]) - 2 * S
        waits.append(int(frames.wait[0]) // S)
    assert waits == [60] * 7  # never longer than a minute
    one.buckets.products[1, 0] = at
    one.charge(frames := batch([(1, 1)] * 10), at + 60 * S)
    assert frames.wait[9] == 2 * S


def test_a_wait_doubles_and_starts_anew() -> None:
    one = budgets((1, 0, 4, 0, 4), owner=(0, 1, 1))
    one.charge(batch([(1, 1)] * 5), START)
    waits, at = [], START
    for _ in range(4):
        one.buckets.owners[1, 0] = at + 5 * S  # the other product of the owner takes all there is
        one.charge(frames := batch([(2, 1)]), at)
        waits.append(int(frames.wait[0]) / S)
        at += int(frames.wait[0])
    assert waits == [1, 2, 4, 8]
    one.charge(frames := batch([(2, 1)]), at + 5 * S)
    assert (frames.verdict[0], frames.wait[0]) == (0, 0)


@pytest.mark.parametrize("verdict", [1, 3])
def test_quarantined_frames_pay_and_refused_ones_do_not(verdict: int) -> None:
    one = budgets((1, 0, 0, 0, 1))
    frames = batch([(1, 1)] * 4, verdict)
    one.charge(frames, START)
    after = [1, 1, 2, 2] if verdict == 1 else [3] * 4
    assert frames.verdict[:4].tolist() == after


def test_what_was_paid_outlives_a_snapshot_of_another_size() -> None:
    arrays = gate_arrays()
    arrays["budget"] = np.array([[1, 0, 0, 0, 1]])
    first = Directory.build(1, arrays, ROOT)
    first.budgets.charge(batch([(1, 1)] * 3), START)
    larger = {**gate_arrays(), "budget": arrays["budget"]}
    for name in ("device_id", "model", "epoch", "owner", "span"):
        larger[name] = np.concatenate([larger[name], np.zeros_like(larger[name][:1])])
    second = Directory.build(2, larger, ROOT, first)
    second.budgets.charge(frames := batch([(1, 1), (2, 1)]), START)
    assert frames.verdict[:2].tolist() == [2, 0]


def test_a_share_throttles_only_its_owner_and_only_beyond_it() -> None:
    one = budgets((0, 0, 0, 0, 1))
    one.buckets.share[1] = S  # one frame a second for each product of owner 1
    frames = batch([(1, 9)] * 7 + [(2, 9)] + [(3, 9)] * 7)
    one.charge(frames, START)
    assert frames.verdict[:15].tolist() == [0] * 3 + [2] * 4 + [0] * 8
    assert set(frames.reason[3:7].tolist()) == {BY_LOAD}
    assert frames.wait[3:7].tolist() == [S, 0, 0, 0]
    demand = one.buckets.look(one.owner)
    assert demand.slot.tolist() == [1, 2, 3]
    assert demand.frames.tolist() == [7, 1, 7]
    assert demand.owner.tolist() == [1, 1, 2]
    assert demand.passed == 11
    assert one.buckets.look(one.owner).passed == 0
