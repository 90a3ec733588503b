"""A person is erased from the database: nothing of what they wrote or were called is left."""

from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import select, text

from hub.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotAuthenticatedError,
    NotFoundError,
)
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.ownership_tables import Ownership
from hub.ports.database.people_tables import Membership, Owner, Partner, Person
from hub.ports.database.privacy_tables import Erasure, TelemetryErasure
from hub.ports.database.product_tables import Device, Product
from hub.ports.database.schema import METADATA
from hub.services import audit, erasure, households, looks, payment_removals, sessions
from hub.services.caller import HUB, Caller
from hub.services.erasure_parts import Horizon, Part
from hub.services.households import Place
from hub.services.looks import Seen
from hub.services.people import HASHER
from hub.services.relations import Relation
from tests.conftest import BOTH_DATABASES
from tests.hub.services.personal_rows import CANARY, plant
from tests.hub.services.service_world import DAY, T0, World

PASSWORD = "correct horse battery"
HORIZON = Horizon(backups_ns=7 * DAY)


@dataclass
class Scene:
    world: World
    ada: Caller
    product_id: str
    slot: int

    def everything(self) -> dict[str, str]:
        """All rows of all tables as text."""
        with read_session(self.world.engine) as session:
            return {
                name: repr(session.execute(table.select()).all())
                for name, table in METADATA.tables.items()
            }

    def tables_with(self, needle: str) -> list[str]:
        return sorted(name for name, rows in self.everything().items() if needle in rows)


@pytest.fixture
def scene(world: World) -> Scene:
    ada = world.customer()
    made = world.product()
    world.enrol(made)
    world.claim(made, ada, T0)
    with write_session(world.engine) as session:
        person = session.get_one(Person, ada.person_id)
        person.email = f"{CANARY}@example.org"
        person.name = f"{CANARY} person name!"
        person.password_hash = HASHER.hash(PASSWORD)
        person.zone = "Europe/Berlin"
        session.get_one(Owner, ada.owner_id).name = f"{CANARY} household!"
        product = session.get_one(Product, made.product_id)
        product.name = f"{CANARY} nickname!"
        device = session.scalars(select(Device).where(Device.product_id == product.id)).one()
        device.desired = {"greeting": f"{CANARY} desired!"}
        device.reported = {"greeting": f"{CANARY} reported!"}
        slot = device.slot
    return Scene(world, ada, made.product_id, slot)


def _plant(scene: Scene) -> list[str]:
    ada = scene.ada
    ids: dict[str, Any] = {
        "person.id": ada.person_id,
        "owner.id": ada.owner_id,
        "product.id": scene.product_id,
        "device.slot": scene.slot,
        "slot": scene.slot,
        "epoch": 1,
        "actor": ada.actor,
        "author": ada.actor,
        "partner_grant.product_ids": None,
        "partner_grant.acts": ["see"],
        "partner_grant.partner_id": "partner",
        "membership.product_ids": None,
        "invoice.gross": 2,
        "invoice.number": "2026-000001",
        "tax_title": "VAT",
        "seller": {},
        "cause": "period:1",
        "credit_grant.meter": "m",
        "topup_order.meter": "m",
        "topup_order.name": "small",
        "topup_order.title": "Small",
        "usage_entry.event_id": "event-1",
        "promotion.percent_ppm": 1,
        "promotion.amounts": None,
        "promotion.most": None,
        "promotion.code": "SPRING",
        "promotion.title": "Spring",
        "promotion.plans": None,
        "agreement_bill.wanted": None,
        "currency": "EUR",
        "region": "de",
        "code": "word",
        "args": {},
        "quantity": "1",
        "account": "receivable",
        "payment_attempt.kind": "charge",
        "payment_attempt.charge_id": None,
        "payment_attempt.answered_at": None,
        "payment_attempt.outcome": None,
        "payment_reversal.state": "gone",
        "payment_reversal.booked": "gone",
        "payment_reversal.reason": "fraudulent",
        "ledger_entry.previous": "0" * 64,
        "ledger_entry.digest": "0" * 64,
        # Words of the catalogue, and the vendor's own references
        "feature_grant.feature": "boost_hours",
        "feature_grant.value": 20,
        "hold.firmware": None,
        "hold.hardware_lot": None,
        "hold.features": None,
        "hold.evidence": "finding:1",
        "reference": "SO-1",
        "cover_code": "warranty",
        "support_case.pauses": [],
        "email": f"{CANARY}@example.org",
        "transfer_offer.code_hash": None,
        "transfer_offer.closed_at": None,
        "transfer_offer.outcome": None,
        "dispute.closed_at": None,
        "dispute.outcome": None,
        "hold.owner_id": None,
        "hold.model_number": None,
        "hold.subscription_id": None,
        "metric": 0,
        "invitation.answer": None,
        "invitation.answered_at": None,
        "membership.ended_at": T0,
        "membership.relation": "viewer",
        "invitation.relation": "viewer",
        "alert.acknowledged_by": None,
        "alert.id": "a" * 32,
        "look.person_id": "s" * 16,
        "plan_version.id": 1,
        "contract_version.id": 1,
        "usage_meter.number": 1,
    }
    with write_session(scene.world.engine) as session:
        if session.get_bind().dialect.name == "sqlite":
            session.execute(text("PRAGMA defer_foreign_keys=ON"))
        session.add(Partner(id="partner", name="Heating Huber", created_at=T0))
        session.execute(
            text(
                "INSERT INTO contract_plan (name, title) VALUES ('gold', 'Gold')",
            )
        )
        session.execute(
            text(
                "INSERT INTO contract_version (id, plan, version, months, transferable, targets,"
                " published_at) VALUES (1, 'gold', 1, 12, false, '{}', 0)"
            )
        )
        session.execute(
            text(
                "INSERT INTO usage_meter (number, model_number, name, title, metric_index,"
                " aggregation, decimals) SELECT 1, number, 'm', 'M', 0, 'count', 0"
                " FROM product_model"
            )
        )
        planted = plant(session, ids, T0)
        looks.write(
            session,
            [
                Seen(
                    scene.product_id,
                    str(ada.owner_id),
                    "s" * 16,
                    "support",
                    "telemetry",
                    f"{CANARY} called!",
                    None,
                    T0 + i * 10**12,
                )
                for i in range(3)
            ],
        )
        about = f"product:{scene.product_id}"
        audit.record(session, T0, "person:x", "grant.give", about, {"reason": f"{CANARY} said!"})
        audit.record(session, T0, ada.actor, "api_key.create", "api_key:1", {"name": CANARY})
    return planted


@BOTH_DATABASES
def test_nothing_is_left_in_any_table_and_the_chains_are_whole(scene: Scene) -> None:
    planted = _plant(scene)
    assert len(scene.tables_with(CANARY)) > 20
    with write_session(scene.world.engine) as session:
        before = audit.head(session)
        outcome = erasure.erase(
            session, scene.ada, scene.ada.person_id, T0 + DAY, scene.world.tokens, HORIZON
        )
    with write_session(
        scene.world.engine
    ) as session:  # the provider is told by name whom to forget
        removals = payment_removals.begin(session, T0 + DAY)
        assert {(one.kind, CANARY in one.reference) for one in removals} == {("customer", True)}
        assert payment_removals.waiting(session, T0 + DAY)
        for one in removals:
            payment_removals.done(session, one)
        assert not payment_removals.waiting(session, T0 + DAY)
    left = {name: rows for name, rows in scene.everything().items() if CANARY in rows}
    assert list(left) == [], (planted, left)
    with read_session(scene.world.engine) as session:
        assert audit.verify(session, before) is None
        assert looks.verify(session) is None
        assert session.get_one(Person, scene.ada.person_id).disabled_at == T0 + DAY
        assert session.get_one(Erasure, outcome.erasure_id).counted == dict(outcome.removed)
    assert {later.part for later in outcome.later} == set(Part) - {Part.MIRROR}


def test_a_changed_row_of_the_trail_still_shows_after_an_erasure(scene: Scene) -> None:
    with write_session(scene.world.engine) as session:
        audit.record(session, T0, "person:x", "note", "hub", {"word": "kept"})
        changed = audit.head(session).id
        erasure.erase(session, scene.ada, scene.ada.person_id, T0, scene.world.tokens, HORIZON)
    with write_session(scene.world.engine) as session:
        session.execute(
            text("UPDATE audit SET details = :other WHERE id = :id"),
            {"other": '{"word": "other"}', "id": changed},
        )
    with read_session(scene.world.engine) as session:
        assert audit.verify(session) == changed


@BOTH_DATABASES
def test_a_preview_says_the_same_and_changes_nothing(scene: Scene) -> None:
    with read_session(scene.world.engine) as session:
        seen = erasure.preview(session, scene.ada, scene.ada.person_id, T0 + DAY, HORIZON)
    before = scene.everything()
    with write_session(scene.world.engine) as session:
        done = erasure.erase(
            session, HUB, scene.ada.person_id, T0 + DAY, scene.world.tokens, HORIZON
        )
    assert [one.product_id for one in seen.released] == [scene.product_id]
    assert seen.removed == done.removed
    assert (seen.released, seen.ended, seen.kept) == (done.released, done.ended, done.kept)
    assert seen.erasure_id is None
    assert before != scene.everything()


@BOTH_DATABASES
def test_products_become_unclaimed_and_telemetry_of_their_time_is_ordered_away(
    scene: Scene,
) -> None:
    with write_session(scene.world.engine) as session:
        erasure.erase(
            session, scene.ada, scene.ada.person_id, T0 + DAY, scene.world.tokens, HORIZON
        )
    with read_session(scene.world.engine) as session:
        own = session.scalars(select(Ownership)).one()
        orders = session.scalars(select(TelemetryErasure)).all()
    assert own.ended_at == T0 + DAY
    found = {(o.slot, o.first_epoch, o.last_epoch, o.starts_at, o.ends_at) for o in orders}
    # By epoch whatever the time, and of nobody's epoch what was before the end.
    assert found == {
        (scene.slot, 1, 1, None, None),
        (scene.slot, 0, 1, None, T0 + DAY),
    }
    other = scene.world.customer()
    assert other.owner_id is not None
    with write_session(scene.world.engine) as session:
        from hub.services import cut

        product = session.get_one(Product, scene.product_id)
        assert cut.begin(session, product, other.owner_id, T0 + 2 * DAY).epoch == 2


def test_a_household_goes_on_with_the_member_who_is_there_longest(scene: Scene) -> None:
    world, owner_id = scene.world, str(scene.ada.owner_id)
    others = [world.customer() for _ in range(3)]
    relations = (Relation.VIEWER, Relation.MEMBER, Relation.MEMBER)
    with write_session(world.engine) as session:
        for i, (other, relation) in enumerate(zip(others, relations, strict=True)):
            households.begin(
                session, "hub", owner_id, other.person_id, Place(relation), T0 + i, world.tokens
            )
    with write_session(world.engine) as session:
        done = erasure.erase(
            session, scene.ada, scene.ada.person_id, T0 + DAY, world.tokens, HORIZON
        )
    assert done.ended == []
    assert done.released == []
    assert [(one.owner_id, one.to) for one in done.passed_on] == [(owner_id, others[1].person_id)]
    with read_session(world.engine) as session:
        assert session.scalars(select(Ownership)).one().ended_at is None
        assert session.scalars(select(TelemetryErasure)).all() == []
        owners = select(Membership.person_id).where(
            Membership.owner_id == owner_id,
            Membership.relation == "owner",
            Membership.ended_at.is_(None),
        )
        assert session.scalars(owners).all() == [others[1].person_id]
        assert session.get_one(Owner, owner_id).name != "erased"


def test_who_only_looked_on_gets_a_household_of_their_own(scene: Scene) -> None:
    world, owner_id = scene.world, str(scene.ada.owner_id)
    child = world.customer()
    with write_session(world.engine) as session:
        session.get_one(Person, child.person_id).owner_id = owner_id
        place = Place(Relation.VIEWER)
        households.begin(session, "hub", owner_id, child.person_id, place, T0, world.tokens)
    with write_session(world.engine) as session:
        erasure.erase(session, scene.ada, scene.ada.person_id, T0 + DAY, world.tokens, HORIZON)
    with read_session(world.engine) as session:
        own = session.get_one(Person, child.person_id).owner_id
        assert own not in {None, owner_id}
        assert households.current(session, str(own), child.person_id, T0 + DAY) is not None


def test_it_takes_the_password_once_more(scene: Scene) -> None:
    engine, tokens = scene.world.engine, scene.world.tokens
    before = scene.everything()
    with pytest.raises(NotAuthenticatedError):
        erasure.erase_own(engine, scene.ada, "wrong", T0, tokens, HORIZON)
    with pytest.raises(ForbiddenError):
        erasure.erase_own(engine, HUB, PASSWORD, T0, tokens, HORIZON)
    after = scene.everything()
    assert after.pop("sign_in_failure") != before.pop("sign_in_failure")  # guessing is counted
    assert after == before
    erasure.erase_own(engine, scene.ada, PASSWORD, T0, tokens, HORIZON)
    with pytest.raises(NotAuthenticatedError):
        sessions.sign_in(engine, f"{CANARY}@example.org", PASSWORD, T0, tokens)
    with pytest.raises(ConflictError):
        erasure.erase_own(engine, scene.ada, PASSWORD, T0, tokens, HORIZON)


def test_nobody_erases_somebody_else_and_operators_type_the_address(scene: Scene) -> None:
    engine, tokens, ada = scene.world.engine, scene.world.tokens, scene.ada.person_id
    bob = scene.world.customer()
    with write_session(engine) as session, pytest.raises(NotFoundError):
        erasure.erase(session, bob, ada, T0, tokens, HORIZON)
    with write_session(engine) as session, pytest.raises(InvalidInputError):
        erasure.erase_other(session, HUB, ada, "p2@example.org", T0, tokens, HORIZON)
    with write_session(engine) as session:
        address = f" {CANARY.upper()}@example.org"
        done = erasure.erase_other(session, HUB, ada, address, T0, tokens, HORIZON)
    with read_session(engine) as session:
        assert erasure.one(session, HUB, str(done.erasure_id)).person_id == ada
        with pytest.raises(NotFoundError):
            erasure.one(session, HUB, "none")
