"""What a device believes, beside what the hub decides: over changes, restarts and restores."""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select, update

from device_sdk.trust import Trust
from device_sdk.wire.codes import ClockState
from device_sdk.wire.errors import WireError
from device_sdk.wire.messages import Birth, Presence, Reported
from entitlements.facts import HoldKind
from hub.ports.database.engine import open_engine, read_session, write_session
from hub.ports.database.ownership_tables import Subscription
from hub.ports.database.product_tables import Device, DeviceEvent, IssuedToken
from hub.services import (
    contacts,
    holds,
    identity,
    ownership,
    product_detail,
    state,
    subscriptions,
)
from hub.services.beliefs import KEPT, Belief
from hub.services.caller import HUB
from hub.services.products import Manufactured
from hub.services.signing_keys import SigningKeys
from hub.services.state import LEAP, IssuedState, Place, StateIssuer
from tests.hub.services.service_world import DAY, T0, S, World, new_world

PLACE = Place((("hub.example", 8883),), "https://hub.example")
GRACE = 14 * DAY
PAID = T0 + 30 * DAY


@dataclass
class Product:
    """A claimed product with a plan, its hub, and what the device itself would say."""

    world: World
    folder: Path
    made: Manufactured
    device_id: str
    trust: Trust

    def issuer(self) -> StateIssuer:
        keys = SigningKeys.load_or_create(self.folder / "keys")
        return StateIssuer(self.world.engine, keys, PLACE, lambda: (b"der",))

    def issue(self, at: int) -> IssuedState:
        return self.issuer().issue(self.device_id, at)

    def hear(self, at: int) -> IssuedState:
        """Give the device its present state, and let it say so."""
        issued = self.issue(at)
        self.trust.accept(issued.payload)
        self.report(at)
        return issued

    def report(self, at: int) -> None:
        message = Reported(self.trust.state_version, {}, self.trust.entitlement_version)
        with write_session(self.world.engine) as session:
            contacts.reported(session, self.device_id, message, at)

    def born(self, at: int, version: int) -> None:
        birth = Birth(b"s" * 8, b"b" * 8, "1", "t", (), version, version, ClockState.SYNCED, at)
        with write_session(self.world.engine) as session:
            contacts.presence(session, self.device_id, Presence(birth), at)

    def belief(self, at: int) -> Belief:
        with read_session(self.world.engine) as session:
            found = product_detail.detail(session, HUB, self.made.product_id, at)
        assert found.device is not None
        belief = found.device.belief
        # The hub says of the device what the device says of itself.
        for one in belief.features if belief.version == self.trust.entitlement_version else ():
            own = self.trust.decide(one.feature, at // S)
            assert (own.allowed, own.code) == (one.allowed, one.code)
            if one.ends_at is not None:
                assert self.trust.decide(one.feature, one.ends_at // S - 1).allowed
                assert not self.trust.decide(one.feature, one.ends_at // S).allowed
        return belief

    def hold(self, at: int) -> str:
        with write_session(self.world.engine) as session:
            kind = HoldKind.FRAUD
            return holds.place(
                session, HUB, self.made.product_id, kind, "why", at, self.world.tokens
            ).id


@pytest.fixture
def product(tmp_path: Path) -> Product:
    world = new_world(tmp_path)
    made = world.product()
    device_id = world.enrol(made).device_id
    world.claim(made, world.customer())
    with write_session(world.engine) as session:
        subscriptions.start(
            session,
            HUB,
            made.product_id,
            "comfort",
            T0,
            tokens=world.tokens,
            starts_at=T0,
            paid_until=PAID,
        )
        device = session.scalars(select(Device)).one()
        public_key = device.public_key
    keys = SigningKeys.load_or_create(tmp_path / "keys").public(T0)

    trust = Trust(
        tmp_path / "state.json",
        device_id,
        hashlib.sha256(public_key).digest(),
        {key.kid: key.key for key in keys},
    )
    return Product(world, tmp_path, made, device_id, trust)


def test_a_device_that_was_never_told_believes_nothing(product: Product) -> None:
    assert product.belief(T0) == Belief(0, known=True, latest=True)


def test_the_deadline_of_an_offline_device_is_that_of_the_token_it_holds(product: Product) -> None:
    product.hear(T0)
    belief = product.belief(T0 + DAY)
    assert (belief.known, belief.latest, belief.issued_at) == (True, True, T0)
    boost, safe = belief.of("boost_hours"), belief.of("frost_protection")
    assert boost is not None
    assert safe is not None
    assert (boost.allowed, boost.ends_at) == (True, PAID + GRACE)
    assert (safe.allowed, safe.ends_at) == (True, None)
    late = product.belief(PAID + GRACE).of("boost_hours")
    assert late is not None
    assert (late.allowed, late.code) == (False, "expired_offline")


def test_a_hold_is_decided_at_once_and_believed_when_the_device_says_so(product: Product) -> None:
    product.hear(T0)
    product.hold(T0 + DAY)
    product.issue(T0 + DAY)
    with read_session(product.world.engine) as session:
        found = product_detail.detail(session, HUB, product.made.product_id, T0 + DAY)
    assert not {one.feature: one.allowed for one in found.entitlements}["boost_hours"]
    belief = product.belief(T0 + DAY)
    boost = belief.of("boost_hours")
    assert boost is not None
    assert (belief.latest, boost.allowed, boost.ends_at) == (False, True, PAID + GRACE)
    product.hear(T0 + 2 * DAY)
    boost = product.belief(T0 + 2 * DAY).of("boost_hours")
    assert boost is not None
    assert (boost.allowed, boost.code) == (False, "hold")


def test_a_correction_of_the_facts_does_not_change_what_is_believed(product: Product) -> None:
    product.hear(T0)
    with write_session(product.world.engine) as session:
        session.execute(update(Subscription).values(paid_until=T0 + DAY))
    boost = product.belief(T0 + 2 * DAY).of("boost_hours")
    assert boost is not None
    assert boost.ends_at == PAID + GRACE


def test_what_a_device_enforces_is_kept_however_many_versions_follow(product: Product) -> None:
    product.hear(T0)
    for day in range(1, 2 * KEPT, 2):
        hold = product.hold(T0 + day * DAY)
        product.issue(T0 + day * DAY)
        with write_session(product.world.engine) as session:
            holds.lift(session, HUB, hold, T0 + (day + 1) * DAY)
        product.issue(T0 + (day + 1) * DAY)
    belief = product.belief(T0 + 20 * DAY)
    assert (belief.version, belief.known, belief.latest) == (1, True, False)
    with read_session(product.world.engine) as session:
        assert len(session.scalars(select(IssuedToken.version)).all()) == KEPT + 1
    product.hear(T0 + 20 * DAY)
    assert product.belief(T0 + 20 * DAY).latest


def test_a_token_issued_before_tokens_were_kept_is_kept_at_its_next_issue(product: Product) -> None:
    product.hear(T0)
    with write_session(product.world.engine) as session:
        session.query(IssuedToken).delete()
    assert not product.belief(T0).known
    product.issue(T0 + S)
    assert product.belief(T0).known


def backed_up(product: Product) -> None:
    with product.world.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(product.folder / "hub.db", product.folder / "backup.db")


def put_back(product: Product) -> None:
    product.world.engine.dispose()
    for name in ("hub.db", "hub.db-wal", "hub.db-shm"):
        (product.folder / name).unlink(missing_ok=True)
    shutil.copy(product.folder / "backup.db", product.folder / "hub.db")
    product.world.engine = open_engine(f"sqlite:///{product.folder / 'hub.db'}")


def test_after_a_restore_devices_take_states_again_and_nothing_is_mistaken(
    product: Product,
) -> None:
    product.hear(T0)
    backed_up(product)
    product.hold(T0 + DAY)
    product.hear(T0 + DAY)
    put_back(product)
    with write_session(product.world.engine) as session:
        identity.renew_incarnation(session, T0 + 2 * DAY, product.world.tokens)
    with write_session(product.world.engine) as session:
        # Other content than version 2 had, which the device holds.
        session.execute(update(Subscription).values(paid_until=T0 + 3 * DAY))
    product.report(T0 + 2 * DAY)
    assert not product.belief(T0 + 2 * DAY).known
    issued = product.hear(T0 + 2 * DAY)
    assert min(issued.version, issued.entitlement_version) > LEAP
    boost = product.belief(T0 + 2 * DAY).of("boost_hours")
    assert boost is not None
    assert (boost.allowed, boost.ends_at) == (True, T0 + 3 * DAY + GRACE)


def test_a_restore_that_nobody_announced_heals_when_the_device_speaks(product: Product) -> None:
    product.hear(T0)
    backed_up(product)
    product.hold(T0 + DAY)
    product.hear(T0 + DAY)
    put_back(product)
    with pytest.raises(WireError, match="older"):
        product.trust.accept(product.issue(T0 + 2 * DAY).payload)
    product.report(T0 + 2 * DAY)
    assert not product.belief(T0 + 2 * DAY).known
    assert product.hear(T0 + 2 * DAY).version == 3
    assert product.belief(T0 + 2 * DAY).latest


def test_a_device_that_makes_its_versions_up_moves_nothing(product: Product) -> None:
    product.hear(T0)
    product.born(T0, (1 << 63) - 1)
    assert product.issue(T0 + S).version == 1
    assert not product.belief(T0).known


def test_a_device_whose_storage_was_put_back_is_noticed_at_its_birth(product: Product) -> None:
    for version in (5, 5, 3):
        product.born(T0, version)
    with read_session(product.world.engine) as session:
        events = session.scalars(select(DeviceEvent).where(DeviceEvent.name == "hub.put_back"))
        assert [event.arguments for event in events] == [{"before": 5, "now": 3}]


def test_a_feature_that_turns_by_itself_is_told_to_a_connected_device(product: Product) -> None:
    product.hear(T0)
    product.born(T0, 1)
    turn = PAID + GRACE

    def due(at: int) -> list[str]:
        with read_session(product.world.engine) as session:
            return state.due(session, at)

    assert due(turn - S) == []
    assert due(turn + S) == [product.device_id]
    assert product.hear(turn + S).version == 2
    assert due(turn + DAY) == []
    boost = product.belief(turn + S).of("boost_hours")
    assert boost is not None
    assert (boost.allowed, boost.code) == (False, "lapsed")


def test_a_token_of_a_former_owner_tells_the_next_one_nothing(product: Product) -> None:
    product.hear(T0)
    with write_session(product.world.engine) as session:
        ownership.release(session, HUB, product.made.product_id, T0 + DAY)
    buyer = product.world.customer()
    product.world.claim(product.made, buyer, T0 + 2 * DAY)
    with read_session(product.world.engine) as session:
        found = product_detail.detail(session, buyer, product.made.product_id, T0 + 2 * DAY)
    assert found.device is not None
    assert found.device.belief.features == ()
    assert product.belief(T0 + 2 * DAY).of("boost_hours") is not None
