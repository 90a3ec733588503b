"""The stage that detects, with cohorts and silence: restarts and replays find the same."""

import numpy as np

from analytics.findings import OVER, Kind, SeriesKind
from hub.pipeline.detect import DetectStage
from hub.pipeline.directory import Directory
from hub.pipeline.outcome import NO_METRIC, FoundIn
from hub.pipeline.react import ReactStage
from hub.pipeline.run import fresh_detector
from hub.ports.journal.telemetry import TelemetryBatch
from tests.hub.pipeline.frame_bench import NOW, gate_arrays

S = 1_000_000_000
DEVICES = 14
DIRECTORY = Directory.build(1, gate_arrays(), "hp/1")
Said = list[tuple[bytes, int, int, int, int]]


class Log:
    """Takes what is logged."""

    def append(self, _kind: int, _parts: object, _received_ns: int) -> int:
        return 0

    def sync(self) -> int:
        return 0


REACT = ReactStage(Log(), 0)


def stage() -> DetectStage:
    made = fresh_detector()
    made.use(np.ones(DEVICES + 1, np.uint16), DIRECTORY.metrics, np.full(DEVICES + 1, 5, np.uint32))
    return made


def batch(slots: list[int], value: list[float], time: int) -> TelemetryBatch:
    n = len(slots)
    zeros = np.zeros(n, np.int64)
    return TelemetryBatch(
        slot=np.array(slots, np.uint32),
        epoch=np.ones(n, np.uint32),
        flags=np.zeros(n, np.uint32),
        count=np.ones(n, np.uint32),
        stream=np.ones(n, np.uint64),
        seq=np.arange(n, dtype=np.uint64),
        raw_time=zeros + time,
        time=zeros + time,
        metric=np.zeros(n, np.uint16),
        value=np.array(value),
    )


def said(found: FoundIn, offset: int) -> Said:
    return [
        (
            REACT._identity(found, i, offset),
            int(found.slot[i]),
            int(found.metric[i]),
            int(f["kind"]),
            int(f["severity"]),
        )
        for i, f in enumerate(found.findings)
    ]


def live(detector: DetectStage, begin: int, end: int) -> Said:
    """Minutes of a fleet: device 3 deviates from the 100th, device 7 is silent from the 150th to the 170th."""
    heard: Said = []
    for minute in range(begin, end):
        now = NOW + minute * 60 * S
        present = [s for s in range(1, DEVICES + 1) if s != 7 or not 150 <= minute < 170]
        rng = np.random.default_rng(minute)
        values = [
            50 + rng.standard_normal() + (9.0 if s == 3 and minute >= 100 else 0.0) for s in present
        ]
        heard += said(detector.detect(batch(present, values, now), now), 1000 * minute)
        for beat in range(1, 4):
            heard += said(detector.beat(now + beat * 15 * S), 1000 * minute + beat)
    return heard


def test_deviation_and_silence_come_from_the_journal_alone() -> None:
    whole = live(stage(), 0, 200)
    of_device = {(slot, metric, kind, severity > OVER) for _, slot, metric, kind, severity in whole}
    assert (3, 0, Kind.COHORT, True) in of_device
    assert (7, NO_METRIC, Kind.SILENCE, True) in of_device
    assert (7, NO_METRIC, Kind.SILENCE, False) in of_device
    assert len({identity for identity, *_ in whole}) == len(whole)
    # Killed twice, once while silent; what lies behind the checkpoint is replayed.
    one = stage()
    first = live(one, 0, 120)
    kept = {name: array.copy() for name, array in one.arrays().items()}
    lost = live(one, 120, 160)
    two = DetectStage.restore(kept)
    two.use(np.ones(DEVICES + 1, np.uint16), DIRECTORY.metrics, np.full(DEVICES + 1, 5, np.uint32))
    again = live(two, 120, 200)
    assert again[: len(lost)] == lost
    assert first + again == whole


def test_a_state_is_not_compared() -> None:
    arrays = gate_arrays()
    arrays["metric_kind"] = np.full_like(arrays["metric_kind"], SeriesKind.STATE)
    one = stage()
    live(one, 0, 50)
    states = Directory.build(2, arrays, "hp/1").metrics
    one.use(np.ones(DEVICES + 1, np.uint16), states, np.full(DEVICES + 1, 5, np.uint32))
    assert {kind for *_, kind, _ in live(one, 50, 200)} == {Kind.SILENCE}


def test_a_checkpoint_of_a_version_without_cohorts_is_taken() -> None:
    one = stage()
    live(one, 0, 30)
    names = ("series_base", "series_room", "detector")
    two = DetectStage.restore({name: one.arrays()[name] for name in names})
    two.use(np.ones(DEVICES + 1, np.uint16), DIRECTORY.metrics, np.full(DEVICES + 1, 5, np.uint32))
    found = live(two, 30, 200)
    assert {3, 7} <= {slot for _, slot, *_ in found}
