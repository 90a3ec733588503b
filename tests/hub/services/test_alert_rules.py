import hashlib
from dataclasses import replace

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from analytics.findings import Kind, Severity
from hub.errors import ConflictError, NotFoundError
from hub.ports.database.alert_tables import Alert, Finding, Notice
from hub.ports.database.engine import read_session, write_session
from hub.services import alert_desk, alerts, audit, ownership, pushes
from hub.services.alert_kinds import IDENTITY_CONFLICT, OLDER_COPY, TWO_COPIES
from hub.services.alerts import AlertChange, Change
from hub.services.caller import HUB, Caller
from hub.services.deadletters import listed as dead_letters
from hub.services.found import Found
from tests.hub.services.service_world import DAY, T0, S, World


def found(
    slot: int,
    number: int,
    *,
    kind: Kind = Kind.SPIKE,
    severity: Severity = Severity.WARNING,
    metric: int = 0,
) -> Found:
    identity = hashlib.sha256(f"{slot}/{number}/{kind}/{metric}".encode()).digest()[:16]
    return Found(identity, slot, metric, kind, severity, T0 + number * S, T0, 9.5, 80.0, 20.0, 25.0)


def apply(world: World, *findings: Found, at: int = T0) -> list[AlertChange]:
    with write_session(world.engine) as session:
        return alerts.apply_findings(session, findings, at)


def owned(world: World) -> tuple[Caller, str, int]:
    caller, made = world.customer(), world.product()
    slot = world.enrol(made).slot
    world.claim(made, caller)
    return caller, made.product_id, slot


def test_one_open_alert_per_device_metric_and_kind(world: World) -> None:
    caller, product_id, slot = owned(world)
    first, drift, other = apply(
        world,
        found(slot, 1),
        found(slot, 2),
        found(slot, 3, kind=Kind.DRIFT),
        found(slot, 4, metric=1),
    )
    assert [change.change for change in (first, drift, other)] == [Change.OPENED] * 3
    assert (first.alert.count, first.product_id, first.owner_id) == (2, product_id, caller.owner_id)
    (later,) = apply(world, found(slot, 5), at=T0 + S)
    assert (later.change, later.alert.id, later.alert.count) == (Change.UPDATED, first.alert.id, 3)
    with write_session(world.engine) as session:
        double = Alert(
            **{
                column.name: getattr(first.alert, column.name)
                for column in Alert.__table__.c
                if column.name != "id"
            },
            id="another",
        )
        session.add(double)
        with pytest.raises(IntegrityError):
            session.flush()
        session.rollback()


def test_a_finding_counts_once(world: World) -> None:
    _, _, slot = owned(world)
    batch = [found(slot, 1), found(slot, 2)]
    apply(world, *batch, *batch)
    assert apply(world, *batch) == []
    with read_session(world.engine) as session:
        assert session.scalar(select(func.count()).select_from(Finding)) == 2
        assert session.scalars(select(Alert.count)).one() == 2
        assert session.scalar(select(func.count()).select_from(Notice)) == 1


def test_after_resolving_a_new_finding_reopens_and_after_a_week_opens_anew(world: World) -> None:
    caller, _, slot = owned(world)
    (opened,) = apply(world, found(slot, 1))
    with write_session(world.engine) as session:
        alert_desk.acknowledge(session, caller, opened.alert.id, T0 + S)
        alert_desk.resolve(session, caller, opened.alert.id, T0 + 2 * S)
        with pytest.raises(ConflictError):
            alert_desk.acknowledge(session, caller, opened.alert.id, T0 + 3 * S)
    (again,) = apply(world, found(slot, 2), at=T0 + DAY)
    assert (again.change, again.alert.id, again.alert.reopened) == (
        Change.REOPENED,
        opened.alert.id,
        1,
    )
    assert again.alert.acknowledged_at is None
    assert again.notice is not None
    assert opened.notice is not None
    assert again.notice.id != opened.notice.id
    with write_session(world.engine) as session:
        alert_desk.resolve(session, caller, opened.alert.id, T0 + 2 * DAY)
    (anew,) = apply(world, found(slot, 3), at=T0 + 30 * DAY)
    assert (anew.change, anew.alert.reopened) == (Change.OPENED, 0)


def test_a_finding_in_a_recording_is_kept_but_wakes_nobody(world: World) -> None:
    caller, product_id, slot = owned(world)
    stranger = world.customer()
    old = replace(found(slot, 1, severity=Severity.CRITICAL), historical=True)
    assert apply(world, old) == []
    assert apply(world, old) == []
    with read_session(world.engine) as session:
        (kept,) = session.scalars(select(Finding)).all()
        assert (kept.id, kept.alert_id) == (old.id, None)
        assert session.scalar(select(func.count()).select_from(Alert)) == 0
        (seen,) = alert_desk.findings(session, caller, at=T0, product_id=product_id)
        assert (seen.id, seen.alert_id) == (old.id, None)
        assert alert_desk.findings(session, stranger, at=T0) == []
    (live,) = apply(world, found(slot, 2))
    assert live.change is Change.OPENED


def test_a_finding_on_rows_that_the_owner_cannot_see_is_for_staff(world: World) -> None:
    caller, product_id, slot = owned(world)
    quiet = replace(found(slot, 1), historical=True, hidden=True)
    assert apply(world, quiet) == []
    with read_session(world.engine) as session:
        assert alert_desk.findings(session, caller, at=T0, product_id=product_id) == []
        (seen,) = alert_desk.findings(session, HUB, at=T0, product_id=product_id)
        assert seen.id == quiet.id


def test_notices_go_out_when_it_matters_and_when_it_gets_worse(world: World) -> None:
    _, _, slot = owned(world)
    (mild,) = apply(world, found(slot, 1, severity=Severity.NOTICE))
    assert mild.notice is None
    (same,) = apply(world, found(slot, 2, severity=Severity.NOTICE))
    assert same.notice is None
    (worse,) = apply(world, found(slot, 3, severity=Severity.CRITICAL))
    assert worse.notice is not None
    assert worse.notice.severity == 2
    assert worse.notice.arguments["metric"] == "temp_c"
    assert pushes.notice_payload(worse.notice)
    (calmer,) = apply(world, found(slot, 4, severity=Severity.WARNING))
    assert calmer.notice is None
    assert calmer.alert.severity == Severity.CRITICAL


def test_alerts_of_others_do_not_exist(world: World) -> None:
    caller, product_id, slot = owned(world)
    stranger, _, other = owned(world)
    apply(world, found(slot, 1), found(other, 2))
    with write_session(world.engine) as session:
        (own,) = alert_desk.listed(session, caller)
        assert own.product_id == product_id
        assert own.sentence == ("Flow temperature jumped to 80 °C; 25 °C or less was expected.")
        for act in (alert_desk.acknowledge, alert_desk.resolve):
            with pytest.raises(NotFoundError):
                act(session, stranger, own.id, T0)
        with pytest.raises(NotFoundError):
            alert_desk.view(session, stranger, own.id)
        assert alert_desk.listed(session, stranger, product_id=product_id) == []
        assert alert_desk.findings(session, stranger, at=T0, product_id=product_id) == []
        assert len(alert_desk.findings(session, caller, at=T0)) == 1
        assert len(alert_desk.listed(session, HUB)) == 2


def test_a_new_owner_does_not_see_the_alerts_of_the_one_before(world: World) -> None:
    caller, made, second = world.customer(), world.product(), world.customer()
    slot = world.enrol(made).slot
    world.claim(made, caller)
    apply(world, found(slot, 1))
    with write_session(world.engine) as session:
        ownership.release(session, caller, made.product_id, T0 + S)
    world.claim(made, second, T0 + 2 * S)
    with read_session(world.engine) as session:
        assert alert_desk.listed(session, second) == []
        # Who owned it keeps what was theirs, closed.
        kept = alert_desk.listed(session, caller)
        assert [(one.status, one.resolution) for one in kept] == [("resolved", "owner")]
    apply(world, found(slot, 2, kind=Kind.DRIFT), at=T0 + 3 * S)
    with read_session(world.engine) as session:
        assert [alert.kind for alert in alert_desk.listed(session, second)] == ["drift"]


def test_lists_are_paged_and_filtered(world: World) -> None:
    caller, _, slot = owned(world)
    for number, kind in enumerate(Kind):
        apply(world, found(slot, number, kind=kind), at=T0 + number // 2)
    seen: list[str] = []
    after: tuple[int, str] | None = None
    with write_session(world.engine) as session:
        while page := alert_desk.listed(session, caller, after=after, limit=2):
            seen += [alert.id for alert in page]
            after = (page[-1].opened_at, page[-1].id)
        assert len(seen) == len(set(seen)) == len(Kind)
        alert_desk.acknowledge(session, caller, seen[0], T0)
        alert_desk.resolve(session, caller, seen[1], T0)
        for status, count in (("open", len(Kind) - 2), ("acknowledged", 1), ("resolved", 1)):
            listed = alert_desk.listed(session, caller, status=status)  # type: ignore[arg-type]
            assert [alert.status for alert in listed] == [status] * count
        before = audit.head(session)
        alert_desk.resolve(session, caller, seen[1], T0 + S)
        assert audit.head(session) == before


def test_bounds_that_do_not_exist_are_left_out(world: World) -> None:
    _, _, slot = owned(world)
    one = found(slot, 1, kind=Kind.OUT_OF_LIMITS)
    bare = Found(**{**{name: getattr(one, name) for name in Found.__slots__}, "low": None})
    (change,) = apply(world, bare)
    assert "expected_low" not in change.alert.arguments
    assert change.alert.code == "finding.out_of_limits.above"


def test_dead_letters_are_for_staff(world: World) -> None:
    with read_session(world.engine) as session:
        assert dead_letters(session, HUB) == []


@pytest.mark.parametrize(
    ("kind", "word", "begins"),
    [
        (IDENTITY_CONFLICT, "identity_conflict", "Another device uses this identity"),
        (OLDER_COPY, "older_copy", "It came back without knowing of rows"),
        (TWO_COPIES, "two_copies", "Two devices with this identity"),
    ],
)
def test_doubt_about_identity_is_an_alert_for_support_alone(
    world: World, kind: int, word: str, begins: str
) -> None:
    caller, product_id, slot = owned(world)
    clash = replace(found(slot, 1), kind=kind, low=None, high=None)
    (change,) = apply(world, clash)
    assert (change.change, change.product_id, change.owner_id) == (Change.OPENED, product_id, None)
    assert change.notice is None  # the device is told by its receipt
    with read_session(world.engine) as session:
        (seen,) = alert_desk.listed(session, HUB, product_id=product_id)
        assert alert_desk.listed(session, caller) == []
        assert alert_desk.findings(session, caller, at=T0) == []
        assert len(alert_desk.findings(session, HUB, at=T0)) == 1
    assert (seen.kind, seen.code) == (word, f"finding.{word}")
    assert seen.sentence.startswith(begins)
    assert apply(world, clash) == []
