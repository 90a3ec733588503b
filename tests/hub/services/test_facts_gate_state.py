import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import event, select

from device_sdk.wire import cose
from device_sdk.wire.state import decode_state, decode_token
from entitlements.facts import HoldKind
from entitlements.gate import Quarantine, Verdict, verdict_at
from hub.errors import ConflictError, NotFoundError, StorageError
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.record_tables import Audit
from hub.services import (
    enrolment,
    facts,
    feature_grants,
    gate,
    holds,
    ownership,
    pushes,
    snapshot_file,
    subscriptions,
)
from hub.services.caller import HUB, Caller
from hub.services.signing_keys import SigningKeys, load_pepper
from hub.services.state import Place, StateIssuer
from tests.hub.services.service_world import DAY, T0, S, World, all_enrolled

PLACE = Place((("hub.example.org", 8883),), "https://hub.example.org")


def subscribe(world: World, product_id: str, paid_until: int | None = None) -> str:
    with write_session(world.engine) as session:
        return subscriptions.start(
            session, HUB, product_id, "comfort", T0, world.tokens, paid_until=paid_until
        ).id


def populate(world: World, count: int) -> list[str]:
    ids = []
    for number in range(count):
        made = world.product()
        ids.append(made.product_id)
        if number % 4 != 3:
            world.enrol(made)
        if number % 3:
            world.claim(made, world.customer())
            subscribe(world, made.product_id, T0 + number * DAY)
            subscribe(world, made.product_id)
        if number % 5 == 0:
            with write_session(world.engine) as session:
                holds.place(
                    session, HUB, made.product_id, HoldKind.THEFT, "police", T0, world.tokens
                )
                feature_grants.give(
                    session, HUB, made.product_id, "boost_hours", "sorry", T0, world.tokens, value=3
                )
    return ids


def test_bulk_equals_one_by_one_and_the_number_of_statements_is_constant(world: World) -> None:
    statements: list[str] = []

    def count(*args: object) -> None:
        statements.append(str(args[2]))

    def loaded(ids: list[str]) -> int:
        statements.clear()
        event.listen(world.engine, "before_cursor_execute", count)
        with read_session(world.engine) as session:
            bulk = facts.load_some(session, ids)
        event.remove(world.engine, "before_cursor_execute", count)
        used = len(statements)
        with read_session(world.engine) as session:
            assert bulk == {one: facts.load_one(session, one) for one in ids}
            enrolled = all_enrolled(session)
            assert enrolled == {one: found for one, found in bulk.items() if found.device.slot}
        return used

    few = loaded(populate(world, 2))
    with read_session(world.engine) as session:
        everything = [*all_enrolled(session)]
    assert loaded(everything) == few
    with read_session(world.engine) as session, pytest.raises(NotFoundError):
        facts.load_one(session, "x")


def test_many_products_take_as_many_statements_as_few(world: World) -> None:
    counts = []
    for size in (1, 12):
        ids = populate(world, size)
        statements: list[object] = []

        def count(*_: object, into: list[object] = statements) -> None:
            into.append(None)

        event.listen(world.engine, "before_cursor_execute", count)
        with read_session(world.engine) as session:
            assert len(facts.load_some(session, ids)) == size
        event.remove(world.engine, "before_cursor_execute", count)
        counts.append(len(statements))
    assert counts[0] == counts[1]


def test_the_gate_follows_committed_changes(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "gate"
    publisher = gate.GatePublisher(world.engine, folder, lambda: T0)
    stop = threading.Event()
    thread = threading.Thread(target=publisher.run, args=(stop,))
    thread.start()
    try:
        caller, made = world.customer(), world.product()
        slot = world.enrol(made).slot

        def verdict(at: int) -> tuple[int, int]:
            assert publisher.settle(20)
            arrays = dict(snapshot_file.read_snapshot(folder).arrays)
            found, reason = verdict_at(arrays, np.array([slot], np.uint32), at)
            return int(found[0]), int(reason[0])

        assert verdict(T0) == (Verdict.QUARANTINE, Quarantine.UNCLAIMED)
        world.claim(made, caller)
        assert verdict(T0) == (Verdict.QUARANTINE, Quarantine.LAPSED)
        subscribe(world, made.product_id, T0 + DAY)
        assert verdict(T0) == (Verdict.ACCEPT, 0)
        # Midnight needs no recompile: paid a day, then the plan's grace of 14 days.
        assert verdict(T0 + 15 * DAY) == (Verdict.QUARANTINE, Quarantine.LAPSED)
        with write_session(world.engine) as session:
            enrolment.revoke(session, HUB, made.product_id, T0, "stolen")
        assert verdict(T0) == (Verdict.REFUSE, 7)
    finally:
        stop.set()
        thread.join()
    assert snapshot_file.current_version(folder) == publisher.version
    assert len(list(folder.glob("*.snap"))) <= snapshot_file.KEEP + 1


def test_a_change_that_fails_marks_nothing(world: World, tmp_path: Path) -> None:
    publisher = gate.GatePublisher(world.engine, tmp_path / "gate", lambda: T0)
    made, caller = world.product(), world.customer()
    world.claim(made, caller)
    publisher.step()
    with pytest.raises(ConflictError):
        world.claim(made, caller)
    assert publisher.settle(0)


def test_snapshots_are_read_whole_and_privately(tmp_path: Path) -> None:
    assert snapshot_file.current_version(tmp_path / "gate") is None
    with pytest.raises(StorageError, match="no snapshot"):
        snapshot_file.read_snapshot(tmp_path / "gate")
    arrays: dict[str, npt.NDArray[Any]] = {
        "empty": np.zeros((0, 48), np.uint8),
        "slots": np.arange(7, dtype=np.uint32),
        "table": np.arange(6, dtype=np.float64).reshape(2, 3),
    }
    for version in range(1, 7):
        assert snapshot_file.publish_snapshot(tmp_path / "gate", arrays) == version
    read = snapshot_file.read_snapshot(tmp_path / "gate")
    assert read.version == 6
    for name, array in arrays.items():
        assert read.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(read.arrays[name], array)
    read.arrays["slots"][:] = 0
    again = snapshot_file.read_snapshot(tmp_path / "gate")
    np.testing.assert_array_equal(again.arrays["slots"], arrays["slots"])


def test_a_damaged_snapshot_is_named(tmp_path: Path) -> None:
    snapshot_file.publish_snapshot(tmp_path, {"a": np.arange(3)})
    path = next(tmp_path.glob("*.snap"))
    whole = path.read_bytes()
    for damaged in (b"", whole[:40], whole[:20] + b"\xff" + whole[21:], whole[:-64]):
        path.write_bytes(damaged)
        with pytest.raises(StorageError, match="cannot be used"):
            snapshot_file.read_snapshot(tmp_path)


def test_a_damaged_patch_is_named(tmp_path: Path) -> None:
    base = snapshot_file.publish_snapshot(tmp_path, {"a": np.arange(3)})
    rows = np.array([1], np.int64)
    version = snapshot_file.publish_patch(tmp_path, base, {"a": (rows, np.array([7]))})
    read = snapshot_file.read_snapshot(tmp_path)
    assert (read.version, read.base) == (version, base)
    assert read.arrays["a"].tolist() == [0, 7, 2]
    assert read.changed["a"].tolist() == [1]
    path = max(tmp_path.glob("*.snap"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-64] + bytes(64))  # as if the disk had not got the end
    with pytest.raises(StorageError, match="checksum"):
        snapshot_file.read_snapshot(tmp_path, read)
    assert read.arrays["a"].tolist() == [0, 7, 2]


def test_a_link_to_nothing_is_no_snapshot(tmp_path: Path) -> None:
    snapshot_file.publish_snapshot(tmp_path, {"a": np.arange(3)})
    next(tmp_path.glob("*.snap")).unlink()
    with pytest.raises(StorageError, match="no snapshot"):
        snapshot_file.read_snapshot(tmp_path)


def test_readers_see_whole_versions_while_others_are_published(tmp_path: Path) -> None:
    """Version v holds, in `a`, v where rows were patched since its base, and the base elsewhere."""
    size, versions, every = 5000, 400, 9
    ready = threading.Event()
    stop = threading.Event()

    def publish() -> None:
        base = snapshot_file.publish_snapshot(tmp_path, {"a": np.ones(size), "b": np.ones(3)})
        ready.set()
        for version in range(2, versions):
            if version % every == 0:
                arrays = {"a": np.full(size, version), "b": np.full(3, version)}
                base = snapshot_file.publish_snapshot(tmp_path, arrays)
                assert base == version
                continue
            rows = np.arange(0, size, every)
            patch = {
                "a": (rows, np.full(rows.size, version)),
                "b": (np.array([0]), np.array([version])),
            }
            assert snapshot_file.publish_patch(tmp_path, base, patch) == version
        stop.set()

    thread = threading.Thread(target=publish)
    thread.start()
    assert ready.wait(120)
    following = snapshot_file.read_snapshot(tmp_path)
    seen = set()
    while not stop.is_set() or following.version < versions - 1:
        following = snapshot_file.read_snapshot(tmp_path, following)
        for read in (following, snapshot_file.read_snapshot(tmp_path)):
            expected = np.full(size, read.base, np.float64)
            expected[:: every if read.base < read.version else 1] = read.version
            np.testing.assert_array_equal(read.arrays["a"], expected)
            assert read.arrays["b"].tolist() == [read.version, read.base, read.base]
            seen.add(read.version)
    thread.join()
    assert len(seen) > 2


def test_state_versions_rise_with_content_only(world: World, tmp_path: Path) -> None:
    keys = SigningKeys.load_or_create(tmp_path / "keys")
    issuer = StateIssuer(world.engine, keys, PLACE, lambda: (b"der",))
    caller, made = world.customer(), world.product()
    device = world.enrol(made).device_id

    def issue(at: int) -> tuple[int, int]:
        issued = issuer.issue(device, at)
        trusted = {key.kid: Ed25519PublicKey.from_public_bytes(key.key) for key in keys.public(T0)}
        state = decode_state(cose.verify1(issued.payload, trusted, cose.STATE_EXTERNAL))
        token = decode_token(cose.verify1(state.entitlement, trusted, cose.ENTITLEMENT_EXTERNAL))
        assert (state.device, state.time, state.version) == (device, at, issued.version)
        assert (token.device, token.issued) == (device, at // S)
        assert token.version == issued.entitlement_version
        assert state.owner_epoch == token.owner_epoch
        assert token.features["frost_protection"].allowed
        return issued.version, issued.entitlement_version

    assert issue(T0) == (1, 1)
    assert issue(T0 + S) == (1, 1)
    world.claim(made, caller)
    assert issue(T0 + S) == (2, 2)
    with write_session(world.engine) as session:
        pushes.configure(session, caller, made.product_id, {"target_c": 21.5}, T0)
    assert issue(T0 + S) == (3, 2)
    subscribe(world, made.product_id, T0 + DAY)
    assert issue(T0 + S) == (4, 3)
    with pytest.raises(NotFoundError):
        issuer.issue("x" * 16, T0)


def test_keys_are_private_and_damage_is_told(tmp_path: Path) -> None:
    first = SigningKeys.load_or_create(tmp_path / "keys")
    assert SigningKeys.load_or_create(tmp_path / "keys").public(T0) == first.public(T0)
    assert load_pepper(tmp_path / "keys") == load_pepper(tmp_path / "keys")
    for path in (tmp_path / "keys").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    (tmp_path / "keys" / "state.key").write_bytes(b"short")
    with pytest.raises(StorageError, match=r"state\.key is damaged"):
        SigningKeys.load_or_create(tmp_path / "keys")


def test_the_audit_says_that_a_subscription_came_cancelled(world: World) -> None:
    made = world.product()
    world.claim(made, world.customer())
    with write_session(world.engine) as session:
        row = subscriptions.start(
            session,
            HUB,
            made.product_id,
            "comfort",
            T0,
            world.tokens,
            paid_until=T0 + DAY,
            cancelled_at=T0 - S,
        )
        object_ = f"subscription:{row.id}"
        details = session.scalars(select(Audit.details).where(Audit.object == object_)).one()
    assert row.cancelled_at == T0 - S
    assert details["cancelled_at"] == T0 - S


def test_subscriptions_change_and_end(world: World) -> None:
    made, caller = world.product(), world.customer()
    with write_session(world.engine) as session, pytest.raises(ConflictError, match="Nobody owns"):
        subscriptions.start(session, HUB, made.product_id, "comfort", T0, world.tokens)
    world.claim(made, caller)
    first = subscribe(world, made.product_id, T0 + DAY)
    with write_session(world.engine) as session:
        second = subscriptions.change(session, HUB, first, "comfort", T0 + S, world.tokens)
        assert (second.starts_at, second.paid_until) == (T0 + S, T0 + DAY)
        subscriptions.extend(session, HUB, second.id, T0 + 2 * DAY, T0 + S)
        assert subscriptions.cancel(session, HUB, second.id, T0 + 2 * S).cancelled_at == T0 + 2 * S
        with pytest.raises(ConflictError):
            subscriptions.extend(session, HUB, second.id, None, T0 + 3 * S)
        with pytest.raises(NotFoundError):
            subscriptions.start(session, HUB, made.product_id, "nothing", T0, world.tokens)
        with pytest.raises(NotFoundError):
            subscriptions.start(
                session, HUB, made.product_id, "comfort", T0, world.tokens, version=9
            )
    with read_session(world.engine) as session:
        found = facts.load_one(session, made.product_id)
    assert [one.ends_at for one in found.subscriptions] == [T0 + S, None]


def test_what_one_owner_paid_does_not_pass_to_the_next(world: World) -> None:
    made, first, second = world.product(), world.customer(), world.customer()
    world.claim(made, first)
    subscribe(world, made.product_id)
    with write_session(world.engine) as session:
        ownership.release(session, first, made.product_id, T0 + S)
    claimed: Caller = second
    world.claim(made, claimed, T0 + 2 * S)
    with read_session(world.engine) as session:
        assert facts.load_one(session, made.product_id).subscriptions[0].epoch == 1
