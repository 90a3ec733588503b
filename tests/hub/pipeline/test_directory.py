"""A directory that follows patches and new whole versions, against what was published."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_sdk.wire.topics import ROOT, shard_of
from entitlements.facts import Metric, Model
from entitlements.gate import FOREVER_AGO, gate_table, verdict_at
from entitlements.gate_table import Entry, GateSpan
from hub.pipeline.directory import Directory
from hub.services.snapshot_file import publish_patch, publish_snapshot
from tests.hub.pipeline.frame_bench import Bench, gate_arrays, publish

STRANGER = "stranger00000000"


def device(slot: int) -> str:
    return f"device{slot * 7919:010d}"


def topic(name: str) -> str:
    return f"{ROOT}/{shard_of(name)}/{name}/up/t"


changes = st.lists(
    st.tuples(st.integers(1, 40), st.integers(0, 3), st.integers(-5, 5)), min_size=1, max_size=6,
    unique_by=lambda change: change[0],
)  # fmt: skip


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(changes, st.booleans(), st.booleans()), max_size=8), st.data())
def test_a_directory_that_follows_knows_every_device_and_verdict(
    tmp_path: Path, steps: list[tuple[list[tuple[int, int, int]], bool, bool]], data: st.DataObject
) -> None:
    table = gate_table()
    table.describe([Model(1, "m", {}, (Metric(0, "temp_c"),))])
    base = publish_snapshot(tmp_path, table.whole())
    directory = Directory.read(tmp_path, ROOT)
    known: set[int] = set()
    for change, whole, skipped in steps:
        table.put(
            [
                Entry(
                    slot,
                    device(slot),
                    1,
                    1,
                    "",
                    (GateSpan(FOREVER_AGO, verdict, verdict), GateSpan(at, 1, 4)),
                )
                for slot, verdict, at in change
            ]
        )
        known |= {slot for slot, _, _ in change}
        patch = table.patch()
        if whole or patch is None:
            base = publish_snapshot(tmp_path, table.whole())
        else:
            publish_patch(tmp_path, base, patch)
        if skipped:  # a worker need not see every version
            continue
        directory = Directory.read(tmp_path, ROOT, directory)
        names = [*map(device, sorted(known)), STRANGER]
        frames = Bench(directory).frames(*(publish(topic(name), b"") for name in names))
        assert frames.slot[: len(names)].tolist() == [*sorted(known), 0]
        at = data.draw(st.integers(-6, 6))
        directory.gate.gate(frames, at)
        verdict, reason = verdict_at(table.exact(), np.array(sorted(known), np.uint32), at)
        assert frames.verdict[: len(names)].tolist() == [*verdict.tolist(), 3]
        assert frames.reason[: len(names)].tolist() == [*reason.tolist(), 7]


def test_a_patch_is_taken_in_place(tmp_path: Path) -> None:
    table = gate_table()
    base = publish_snapshot(tmp_path, table.whole())
    first = Directory.read(tmp_path, ROOT)
    table.put([Entry(3, device(3), 1, 1, "", (GateSpan(FOREVER_AGO, 0, 0),))])
    patch = table.patch()
    assert patch is not None
    publish_patch(tmp_path, base, patch)
    second = Directory.read(tmp_path, ROOT, first)
    assert second.version == first.version + 1
    assert second.authenticator is first.authenticator
    assert second.decoder is first.decoder
    assert second.device_id is first.device_id


def test_another_whole_version_takes_over_the_table_of_devices(tmp_path: Path) -> None:
    table = gate_table()
    table.put([Entry(3, device(3), 1, 1, "", (GateSpan(FOREVER_AGO, 0, 0),))])
    publish_snapshot(tmp_path, table.whole())
    first = Directory.read(tmp_path, ROOT)
    publish_snapshot(tmp_path, table.whole())
    second = Directory.read(tmp_path, ROOT, first)
    assert second.authenticator._table is first.authenticator._table


@pytest.mark.parametrize("gone", [False, True])
def test_the_snapshot_of_another_hub_shares_nothing(*, gone: bool) -> None:
    first = Directory.build(1, gate_arrays(), ROOT)
    arrays = gate_arrays()
    name = np.frombuffer(device(2).encode(), np.uint8)
    arrays["device_id"][2] = 0 if gone else name
    before = arrays["device_id"].copy()
    second = Directory.build(2, arrays, ROOT, first)
    frames = Bench(second).frames(
        publish(topic("device0000000002"), b""), publish(topic(device(2)), b"")
    )
    assert frames.slot[:2].tolist() == [0, 0 if gone else 2]
    np.testing.assert_array_equal(second.device_id, before)
