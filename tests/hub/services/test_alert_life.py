"""How alerts end, grow, are muted and judged; incidents of cohorts; what faulty products have in common."""

import hashlib
from dataclasses import replace

import pytest
from sqlalchemy import select, update

from analytics.findings import OVER, Kind, Severity
from device_sdk.wire.codes import ClockState
from device_sdk.wire.messages import Birth, Presence
from hub.errors import ConflictError, ForbiddenError, NotFoundError
from hub.ports.database.alert_tables import Alert, Finding, Incident
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.product_tables import Cohort, Device, Product
from hub.services import alert_desk, alert_sweep, alerts, causes, cohorts, contacts, incidents
from hub.services.alerts import AlertChange, Change
from hub.services.caller import HUB
from hub.services.found import NO_METRIC, Found
from tests.hub.services.service_world import DAY, T0, S, World

HOUR = 3600 * S


def found(
    slot: int,
    number: int,
    kind: Kind = Kind.SPIKE,
    severity: int = Severity.NOTICE,
    metric: int = 0,
    cohort: int = 0,
) -> Found:
    identity = hashlib.sha256(f"{slot}/{number}/{kind}/{metric}/{cohort}".encode()).digest()[:16]
    at = T0 + number * S
    return Found(
        identity,
        slot,
        metric,
        kind,
        severity,
        at,
        at,
        9.5,
        80.0,
        20.0,
        25.0,
        cohort=cohort,
        members=12,
    )


def apply(world: World, *findings: Found, at: int = T0) -> list[AlertChange]:
    with write_session(world.engine) as session:
        return alerts.apply_findings(session, findings, at)


def sweep(world: World, at: int, since: int = T0 - 365 * DAY) -> list[AlertChange]:
    with write_session(world.engine) as session:
        return alert_sweep.sweep(session, at, since)


def one(world: World) -> Alert:
    with read_session(world.engine) as session:
        return session.scalars(select(Alert)).one()


def birth(world: World, device_id: str, firmware: str) -> None:
    said = Birth(b"s" * 8, b"b" * 8, firmware, "1", (), 0, 0, ClockState.SYNCED, T0)
    message = Presence(said)
    with write_session(world.engine) as session:
        contacts.presence(session, device_id, message, T0)


def fleet(world: World, firmwares: list[str]) -> list[int]:
    """Enrolled products with the given firmware; returns their slots."""
    slots = []
    for firmware in firmwares:
        slot = world.enrol(world.product()).slot
        with write_session(world.engine) as session:
            device = session.get_one(Device, slot)
            device.firmware = firmware
            cohorts.place(session, device)
        slots.append(slot)
    return slots


def test_quiet_alerts_are_resolved_and_reopen_if_it_returns(world: World) -> None:
    (slot,) = fleet(world, ["1"])
    apply(world, found(slot, 1))
    assert sweep(world, T0 + 6 * HOUR - 1) == []
    (change,) = sweep(world, T0 + 6 * HOUR)
    assert (change.change, change.alert.resolution) == (Change.RESOLVED, "quiet")
    assert sweep(world, T0 + 7 * HOUR) == []
    (again,) = apply(world, found(slot, 2), at=T0 + DAY)
    assert (again.change, again.alert.reopened, again.alert.resolution) == (
        Change.REOPENED,
        1,
        None,
    )


def test_nothing_is_well_because_nobody_looked(world: World) -> None:
    (slot,) = fleet(world, ["1"])
    apply(world, found(slot, 1))
    late = T0 + 30 * DAY
    assert sweep(world, late, since=late - HOUR) == []  # the hub was down
    apply(world, found(slot, 2, Kind.SILENCE, metric=NO_METRIC))
    assert [c.change for c in sweep(world, late)] == [Change.GREW, Change.GREW]  # it is silent
    over = found(slot, 3, Kind.SILENCE, OVER, NO_METRIC)
    (change,) = apply(world, over, at=late)
    assert (change.change, change.alert.resolution) == (Change.RESOLVED, "over")
    assert [c.change for c in sweep(world, late)] == [Change.RESOLVED]


def test_a_silence_grows_and_ends_once(world: World) -> None:
    (slot,) = fleet(world, ["1"])
    begin, over = (found(slot, n, Kind.SILENCE, s, NO_METRIC) for n, s in ((1, 1), (9, OVER)))
    apply(world, begin)
    assert sweep(world, T0 + 6 * HOUR - 1) == []
    (grown,) = sweep(world, T0 + 6 * HOUR)
    assert (grown.change, grown.alert.severity, grown.notice) == (Change.GREW, 2, None)
    assert sweep(world, T0 + 7 * HOUR) == []
    assert len(apply(world, over, at=T0 + DAY)) == 1
    assert one(world).resolved_at == T0 + DAY
    later = found(slot, 20, Kind.SILENCE, metric=NO_METRIC)
    apply(world, later, at=T0 + DAY + S)
    # A replay of the log changes nothing, least of all ends what began later.
    assert apply(world, begin, over, later, at=T0 + DAY + 2 * S) == []
    assert one(world).resolved_at is None
    with read_session(world.engine) as session:
        (view,) = alert_desk.listed(session, HUB)
    assert (view.metric, view.unit, view.kind, view.count) == ("", "s", "silence", 2)
    assert view.sentence.startswith("Nothing was heard of it for 80 s")


def test_the_same_again_and_again_is_worth_a_warning(world: World) -> None:
    (slot,) = fleet(world, ["1"])
    severities = []
    for number in range(4):
        (change,) = apply(world, found(slot, number))
        severities.append((change.alert.severity, change.notice is not None))
    assert severities == [(1, False), (1, False), (1, False), (2, True)]


def test_a_muted_alert_is_kept_up_to_date_and_tells_nobody(world: World) -> None:
    (slot,) = fleet(world, ["1"])
    (opened,) = apply(world, found(slot, 1))
    alert_id = opened.alert.id
    with write_session(world.engine) as session:
        with pytest.raises(ConflictError, match="a year at most"):
            alert_desk.mute(session, HUB, alert_id, T0 + 400 * DAY, T0)
        alert_desk.mute(session, HUB, alert_id, T0 + 30 * DAY, T0)
    (worse,) = apply(world, found(slot, 2, severity=Severity.CRITICAL))
    assert (worse.alert.severity, worse.notice) == (3, None)
    assert sweep(world, T0 + DAY)[0].change == Change.RESOLVED
    (back,) = apply(world, found(slot, 3, severity=Severity.CRITICAL), at=T0 + 20 * DAY)
    assert (back.alert.id, back.notice) == (alert_id, None)  # though more than a week is past
    with write_session(world.engine) as session:
        alert_desk.resolve(session, HUB, alert_id, T0 + 29 * DAY)
    (told,) = apply(world, found(slot, 4, severity=Severity.CRITICAL), at=T0 + 31 * DAY)
    assert told.notice is not None


def test_feedback_is_counted_by_model_and_kind(world: World) -> None:
    caller, made = world.customer(), world.product()
    slot = world.enrol(made).slot
    world.claim(made, caller)
    (opened,) = apply(world, found(slot, 1))
    stranger = world.customer()
    with write_session(world.engine) as session:
        for useful in (True, False):
            alert_desk.give_feedback(session, caller, opened.alert.id, T0, useful=useful)
        alert_desk.give_feedback(session, HUB, opened.alert.id, T0, useful=True)
        with pytest.raises(NotFoundError):
            alert_desk.give_feedback(session, stranger, opened.alert.id, T0, useful=True)
        with pytest.raises(ForbiddenError):
            alert_desk.feedback(session, caller)
        (count,) = alert_desk.feedback(session, HUB)
    assert (count.kind, count.alerts, count.useful, count.useless) == ("spike", 1, 1, 1)


def test_a_cohort_that_moved_explains_its_products(world: World) -> None:
    slots = fleet(world, ["2.4.1"] * 3 + ["2.4.0"])
    with read_session(world.engine) as session:
        cohort = session.get_one(Device, slots[0]).cohort
        other = session.get_one(Device, slots[3]).cohort
        assert cohort != other
        assert session.scalars(select(Cohort.firmware).order_by(Cohort.firmware)).all() == [
            "2.4.0",
            "2.4.1",
        ]
    assert cohort is not None
    quick, busy = apply(world, found(slots[0], 1, Kind.LEVEL_SHIFT), found(slots[1], 1, Kind.DRIFT))
    with write_session(world.engine) as session:
        alert_desk.acknowledge(session, HUB, busy.alert.id, T0)
    shift = found(0, 5, Kind.COHORT_SHIFT, Severity.WARNING, cohort=cohort)
    apply(world, shift, shift)
    apply(world, shift)
    # What single products add is kept with the incident; elsewhere and in other metrics it is not.
    late = [found(slots[2], 9, Kind.LEVEL_SHIFT), found(slots[2], 9, Kind.OUT_OF_LIMITS)]
    late += [found(slots[3], 9, Kind.LEVEL_SHIFT), found(slots[2], 9, Kind.LEVEL_SHIFT, metric=1)]
    opened = apply(world, *late)
    assert {(c.alert.slot, c.alert.kind, c.alert.metric) for c in opened} == {
        (slots[2], Kind.OUT_OF_LIMITS, 0),
        (slots[3], Kind.LEVEL_SHIFT, 0),
        (slots[2], Kind.LEVEL_SHIFT, 1),
    }
    with read_session(world.engine) as session:
        (incident,) = session.scalars(select(Incident)).all()
        resolved = session.get_one(Alert, quick.alert.id)
        assert (resolved.resolution, resolved.incident_id) == ("incident", incident.id)
        assert session.get_one(Alert, busy.alert.id).resolved_at is None
        explained = session.scalars(select(Finding).where(Finding.incident_id.is_not(None))).all()
        assert [(f.slot, f.alert_id) for f in explained] == [(slots[2], None)]
        (view,) = incidents.listed(session, HUB)
        assert (view.firmware, view.members, view.code) == (
            "2.4.1",
            12,
            "finding.cohort_shift.above",
        )
    sweep(world, T0 + DAY)
    with read_session(world.engine) as session:
        assert incidents.listed(session, HUB) == []
        assert len(incidents.listed(session, HUB, ended=True)) == 1


def test_all_silent_is_one_incident_and_keeps_alerts_open(world: World) -> None:
    (slot,) = fleet(world, ["1"])
    apply(world, found(slot, 1), found(0, 2, Kind.SILENCE, Severity.WARNING, NO_METRIC))
    assert sweep(world, T0 + DAY) == []
    apply(world, found(0, 3, Kind.SILENCE, OVER, NO_METRIC), at=T0 + DAY)
    with read_session(world.engine) as session:
        (view,) = incidents.listed(session, HUB, ended=True)
    assert (view.model, view.code, view.ended_at) == (None, "finding.silence.all", T0 + DAY)
    assert len(sweep(world, T0 + DAY)) == 1


def test_the_common_cause_is_found_and_nothing_else(world: World) -> None:
    slots = fleet(world, ["2.4.1"] * 8 + ["2.4.0"] * 32)
    ill = [*slots[:7], slots[20]]
    apply(world, *(found(slot, 1, Kind.DRIFT) for slot in ill))
    apply(world, *(found(slot, 1, Kind.SPIKE) for slot in slots[::5]))  # spread evenly
    with write_session(world.engine) as session:
        session.execute(update(Product).values(hardware_lot="L1", region="north"))
    board = causes.CauseBoard()
    (cause,) = board.causes(world.engine, T0)
    assert (cause.kind, cause.property, cause.value) == ("drift", "firmware", "2.4.1")
    assert (cause.table.both, cause.table.fault, cause.table.having, cause.table.every) == (
        7,
        8,
        8,
        40,
    )
    assert cause.table.share_of_rest == pytest.approx(1 / 32)
    assert cause.chance == pytest.approx(3.342e-6, rel=1e-3)
    assert cause.false_share <= 0.05
    with write_session(world.engine) as session:
        session.execute(update(Alert).values(resolved_at=T0))
    assert board.causes(world.engine, T0 + 59 * S) == [cause]
    assert board.causes(world.engine, T0 + 60 * S) == []


def test_a_birth_places_a_device_in_its_cohort(world: World) -> None:
    made = world.product()
    device = world.enrol(made)
    birth(world, device.device_id, "1.0")
    with read_session(world.engine) as session:
        first = session.get_one(Device, device.slot).cohort
    birth(world, device.device_id, "1.1")
    with read_session(world.engine) as session:
        second = session.get_one(Device, device.slot).cohort
    assert None not in (first, second)
    assert first != second
    birth(world, device.device_id, "1.0")
    with read_session(world.engine) as session:
        assert session.get_one(Device, device.slot).cohort == first


def test_historical_findings_of_a_cohort_stay_findings(world: World) -> None:
    (slot,) = fleet(world, ["1"])
    assert apply(world, replace(found(slot, 1, Kind.COHORT), historical=True)) == []
