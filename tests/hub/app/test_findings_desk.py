"""From a worker's findings log to the alert, the notice and the live event, on real files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from analytics.findings import Kind as Fault
from device_sdk.wire import cbor
from device_sdk.wire.messages import Notice
from device_sdk.wire.topics import Down
from device_sdk.wire.trace import trace_id
from hub.app.findings_desk import FindingsDesk
from hub.app.reactor import Follower, Reactor
from hub.app.tracing import TURN, TracedFindings, span_id
from hub.metrics import Metrics
from hub.ports.database import alert_tables as tables
from hub.ports.database.engine import read_session, write_session
from hub.ports.journal.block import Kind
from hub.ports.journal.writer import JournalWriter
from hub.services import alert_desk, events
from tests.hub.collector.span_list import Spans
from tests.hub.services.service_world import T0, S, World


class Scene:
    """A findings log, the reactor behind it, and an owned device."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.at = T0
        self.broken = False
        self.caller, self.made = world.customer(), world.product()
        enrolled = world.enrol(self.made)
        self.device_id, self.slot = enrolled.device_id, enrolled.slot
        world.claim(self.made, self.caller)
        self.sent: list[tuple[str, Down, bytes]] = []
        self.told: list[events.Event] = []
        self.metrics = Metrics("control")
        self.log = JournalWriter.open(folder, now_ns=T0)
        desk = FindingsDesk(self.send, self.told.append)
        follower = Follower("findings/0", folder, Kind.FINDINGS, desk.apply, desk.publish)
        self.reactor = Reactor(world.engine, [follower], self.metrics, lambda: self.at)

    def send(self, device_id: str, channel: Down, payload: bytes) -> bool:
        if self.broken:
            raise OSError(9, "Bad file descriptor")
        self.sent.append((device_id, channel, payload))
        return True

    def finding(self, number: int, **other: Any) -> dict[str, Any]:
        return {
            "id": number.to_bytes(16, "big"),
            "slot": self.slot,
            "metric": 0,
            "kind": int(Fault.SPIKE),
            "severity": 2,
            "time": T0 + number * S,
            "since": T0,
            "surprise": 17.5,
            "observed": 80.25,
            "low": 20.0,
            "high": 60.0,
            "offset": 64,
            "historical": False,
        } | other

    def find(self, *findings: dict[str, Any]) -> None:
        """The worker logs findings and the reactor takes them."""
        self.log.append(Kind.FINDINGS, [cbor.encode(list(findings))], self.at)
        self.log.sync()
        assert self.reactor.step() == len(findings)

    def alerts(self) -> list[tables.Alert]:
        with read_session(self.world.engine) as session:
            return list(session.scalars(select(tables.Alert)))

    def kept(self) -> int | None:
        with read_session(self.world.engine) as session:
            return session.scalar(select(func.count()).select_from(tables.Finding))

    def passed_over(self) -> float | None:
        return self.metrics.registry.get_sample_value(
            "homeport_dropped_frames_total", {"reason": "reactor_record"}
        )


@pytest.fixture
def scene(world: World, tmp_path: Path) -> Iterator[Scene]:
    made = Scene(world, tmp_path / "findings" / "0")
    yield made
    made.log.close()


def test_a_finding_becomes_an_alert_a_notice_and_a_live_event(scene: Scene) -> None:
    scene.at = T0 + 5 * S
    scene.find(scene.finding(1), scene.finding(2))
    (alert,) = scene.alerts()
    assert (alert.slot, alert.count, alert.epoch, scene.kept()) == (scene.slot, 2, 1, 2)
    ((device_id, channel, payload),) = scene.sent
    assert (device_id, channel) == (scene.device_id, Down.NOTICE)
    notice = Notice.decode(payload)
    assert (notice.code, notice.severity, notice.time) == ("finding.spike.above", 1, T0 + 5 * S)
    assert notice.arguments["alert"] == alert.id
    assert notice.arguments["observed"] == 80.25
    (event,) = scene.told
    assert (event.kind, event.product_id) == ("alert", scene.made.product_id)
    assert (event.owner_id, event.at) == (scene.caller.owner_id, T0 + 5 * S)
    sentence = "Flow temperature jumped to 80.2 °C; 60 °C or less was expected."
    assert event.data == {
        "change": "opened",
        "alert_id": alert.id,
        "device_id": scene.device_id,
        "metric": "temp_c",
        "severity": "warning",
        "status": "open",
        "sentence": sentence,
    }


def test_more_of_the_same_is_told_but_not_to_the_device(scene: Scene) -> None:
    scene.find(scene.finding(1))
    scene.find(scene.finding(2))
    assert [event.data["change"] for event in scene.told] == ["opened", "updated"]
    assert len(scene.sent) == 1
    scene.find(scene.finding(3, severity=3))
    assert len(scene.sent) == 2
    assert Notice.decode(scene.sent[1][2]).severity == 2


def test_a_finding_that_is_logged_again_changes_nothing(scene: Scene) -> None:
    scene.find(scene.finding(1))
    scene.find(scene.finding(1))
    assert (scene.kept(), len(scene.sent), len(scene.told)) == (1, 1, 1)


def test_a_resolved_alert_comes_back_and_the_device_is_told_again(scene: Scene) -> None:
    scene.find(scene.finding(1))
    (alert,) = scene.alerts()
    with write_session(scene.world.engine) as session:
        alert_desk.resolve(session, scene.caller, alert.id, T0 + S)
    scene.at = T0 + 2 * S
    scene.find(scene.finding(2))
    (again,) = scene.alerts()
    assert (again.id, again.reopened, again.resolved_at) == (alert.id, 1, None)
    assert scene.told[-1].data["change"] == "reopened"
    assert scene.told[-1].data["status"] == "open"
    first, second = (Notice.decode(payload) for *_, payload in scene.sent)
    assert first.id != second.id


def test_a_poisoned_record_is_passed_over_alone(scene: Scene) -> None:
    nobody = scene.finding(2, slot=4_000)
    no_such_metric = scene.finding(3, metric=77)
    no_such_fault = scene.finding(4, kind=250)
    drift = scene.finding(5, kind=int(Fault.DRIFT))
    scene.find(scene.finding(1), nobody, no_such_metric, no_such_fault, drift)
    assert {alert.kind for alert in scene.alerts()} == {Fault.SPIKE, Fault.DRIFT}
    assert (scene.kept(), scene.passed_over()) == (2, 3)
    assert [event.data["change"] for event in scene.told] == ["opened", "opened"]
    assert len(scene.sent) == 2
    assert scene.reactor.step() == 0
    scene.find(scene.finding(6))
    assert scene.kept() == 3


def test_the_alert_stands_when_the_device_cannot_be_told(scene: Scene) -> None:
    scene.broken = True
    scene.find(scene.finding(1))
    assert len(scene.alerts()) == 1
    with read_session(scene.world.engine) as session:
        assert session.scalars(select(tables.Notice.slot)).all() == [scene.slot]


def test_what_becomes_of_a_row_is_traced_under_its_name(scene: Scene, tmp_path: Path) -> None:
    collector = Spans()
    desk = TracedFindings(FindingsDesk(scene.send, scene.told.append), collector, lambda: 5)
    follower = Follower(
        "findings/0", tmp_path / "findings" / "0", Kind.FINDINGS, desk.apply, desk.publish
    )
    scene.reactor = Reactor(scene.world.engine, [follower], scene.metrics, lambda: scene.at)
    row = {"stream": b"streamid", "seq": 9}
    scene.find(scene.finding(1, **row), scene.finding(2, metric=1, stream=b""))
    assert len(scene.sent) == 2  # the second is of no row
    alert, push = collector.spans
    trace = trace_id(scene.device_id, b"streamid", 9)
    assert (alert.name, alert.trace, alert.parent) == ("alert", trace, span_id(trace, TURN))
    assert (push.name, push.trace, push.parent) == ("alert push", trace, alert.id)
    assert alert.facts["homeport.alert.kind"] == "spike"
    assert alert.facts["homeport.notice"] is True
