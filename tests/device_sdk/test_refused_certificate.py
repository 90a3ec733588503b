"""A broker that refuses a device's certificate: the device gets another, and asks for it sparingly."""

import itertools
from pathlib import Path

import pytest

from device_sdk import enrol
from device_sdk.keys import DeviceKey
from tests.device_sdk.device_bench import Bench
from tests.device_sdk.test_enrolment_https import Hub, hub, key

__all__ = ["hub", "key"]  # fixtures


class Asked:
    """What the device wanted of its hub."""

    def __init__(self) -> None:
        self.forced: list[bool] = []

    def __call__(self, now_ns: int, forced: bool) -> bool:
        self.forced.append(forced)
        return forced


@pytest.fixture
def asked(tmp_path: Path) -> tuple[Bench, Asked]:
    bench, asked = Bench(tmp_path), Asked()
    bench.engine.upkeep._renew = lambda forced: asked(0, forced)
    bench.step()
    asked.forced.clear()
    return bench, asked


def later(bench: Bench, seconds: float) -> None:
    bench.time.now += seconds
    bench.engine.step()


def test_three_refusals_in_a_row_make_it_ask_and_connect_anew(
    asked: tuple[Bench, Asked],
) -> None:
    bench, renewals = asked
    for _ in range(2):
        bench.engine.upkeep.refused()
        later(bench, 400)
    assert renewals.forced == []
    bench.engine.upkeep.refused()
    later(bench, 400)
    assert renewals.forced == [True]


def test_refusals_that_are_not_in_a_row_do_not_count(asked: tuple[Bench, Asked]) -> None:
    bench, renewals = asked
    for _ in range(4):
        bench.engine.upkeep.refused()
        bench.engine.upkeep.refused()
        bench.connect()
        bench.disconnect()
        later(bench, 400)
    assert True not in renewals.forced


def test_what_does_not_help_is_tried_ever_more_rarely(asked: tuple[Bench, Asked]) -> None:
    bench, renewals = asked
    times = []
    for minute in range(0, 3 * 24 * 60, 5):
        before = renewals.forced.count(True)
        bench.engine.upkeep.refused()
        later(bench, 300)
        if renewals.forced.count(True) > before:
            times.append(minute)
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert 10 <= len(times) <= 20
    assert pauses == sorted(pauses)
    assert pauses[-1] >= 360


def test_a_clock_that_differs_from_the_hubs_gives_way_to_it(
    hub: Hub, key: DeviceKey, tmp_path: Path
) -> None:
    api = enrol.HubApi(hub.address, hub.ca_file)
    renewal = enrol.Renewal(tmp_path, api, key, api.enrol("HP-1", "heat-pump", "s", key))
    due = int(renewal.enrolment.renewal_due_s())
    present = due - 1_000

    def judge(answer: dict[str, object]) -> tuple[int, object]:
        said = int(hub.requests[-1][1]["time"])
        if abs(said - present) > 300:
            return 422, {"detail": "too far off", "hub_time_s": present}
        return 201, answer

    hub.change = judge
    before = renewal.enrolment
    # Its own clock is years ahead: by the hub's, renewal is not due.
    assert not renewal.renew_if_due((due + 10**8) * 10**9)
    assert renewal.enrolment is before
    # The broker refuses it: it signs again with the hub's time.
    assert renewal.renew_if_due(0, forced=True)
    assert renewal.enrolment is not before
    present = due + 1_000
    assert renewal.renew_if_due((due + 10**8) * 10**9)
