"""For how long telemetry is kept: plans say, else the settings; and what the compactor is told."""

import pytest
from pydantic import ValidationError
from sqlalchemy import Engine, select
from sqlalchemy.exc import OperationalError

from hub.app.store_rules import EVERY_NS, StoreRules
from hub.config import RetentionSettings
from hub.ports.database.engine import open_engine, read_session, write_session
from hub.ports.database.ownership_tables import Subscription
from hub.ports.database.product_tables import Device
from hub.ports.store.levels import Retention
from hub.services import catalogue, erasure, retention
from hub.services.caller import HUB
from hub.services.erasure_parts import Horizon
from hub.services.retention_document import RetentionEntry
from tests.hub.services.service_world import DAY, T0, World

PLANS = """
[plans.short]
[[plans.short.versions]]
version = 1
features = { telemetry = {} }
retention = { raw_days = 7, minute_days = 30, hour_days = 365 }
[plans.long]
[[plans.long.versions]]
version = 1
features = { telemetry = {} }
retention = { raw_days = 30, minute_days = 60, hour_days = 60, day_days = 3650 }
"""


def plans(world: World) -> None:
    with write_session(world.engine) as session:
        catalogue.apply(session, HUB, catalogue.parse(PLANS), T0)


def subscribe(world: World, product_id: str, owner_id: str, plan: str, **dates: int | None) -> None:
    from hub.ports.database.catalogue_tables import Plan, PlanVersion

    with write_session(world.engine) as session:
        version = session.scalars(
            select(PlanVersion.id)
            .join(Plan, Plan.id == PlanVersion.plan_id)
            .where(Plan.name == plan)
        ).one()
        session.add(
            Subscription(
                id=world.tokens.new_id(),
                product_id=product_id,
                owner_id=owner_id,
                plan_version_id=version,
                grace_s=0,
                epoch=1,
                created_at=T0,
                starts_at=dates.get("starts_at", T0),
                ends_at=dates.get("ends_at"),
                paid_until=T0 + DAY,
            )
        )


def load(world: World, at: int) -> Retention:
    with read_session(world.engine) as session:
        return retention.load(session, (400, None, None, None), 30, at)


def test_plans_say_how_long_and_the_longest_counts(world: World) -> None:
    plans(world)
    ada = world.customer()
    units = [world.product() for _ in range(3)]
    for unit in units:
        world.enrol(unit)
        world.claim(unit, ada)
    owner = str(ada.owner_id)
    subscribe(world, units[0].product_id, owner, "short")
    subscribe(world, units[1].product_id, owner, "short", ends_at=T0 + 10 * DAY)
    subscribe(world, units[1].product_id, owner, "long", starts_at=T0 + 10 * DAY)
    with read_session(world.engine) as session:
        slots = list(session.scalars(select(Device.slot).order_by(Device.slot)))
    found = load(world, T0 + 5 * DAY)
    assert found.default == (400, None, None, None)
    assert dict(zip(found.slots, found.own, strict=True)) == {
        slots[0]: (7, 30, 365, None),
        slots[1]: (7, 30, 365, None),
    }
    # Unpaid is not ended, and what ended counts for 30 days more.
    both = load(world, T0 + 20 * DAY)
    assert dict(zip(both.slots, both.own, strict=True))[slots[1]] == (30, 60, 365, None)
    later = load(world, T0 + 41 * DAY)
    assert dict(zip(later.slots, later.own, strict=True))[slots[1]] == (30, 60, 60, 3650)


def test_the_catalogue_gives_back_what_was_applied(world: World) -> None:
    plans(world)
    with read_session(world.engine) as session:
        stands = catalogue.show(session, HUB)
    (version,) = stands.plans["short"].versions
    assert version.retention == RetentionEntry(raw_days=7, minute_days=30, hour_days=365)
    with write_session(world.engine) as session:
        assert not catalogue.apply(session, HUB, stands, T0 + 1).edits


@pytest.mark.parametrize(
    "terms",
    [
        {"raw_days": 30, "minute_days": 7},
        {"raw_days": None, "hour_days": 7},
        {"hour_days": 9, "day_days": 8},
        {"raw_days": 0},
        {"raw_days": -1},
        {"weeks": 3},
    ],
)
def test_a_coarser_level_is_never_shorter(terms: dict[str, int | None]) -> None:
    with pytest.raises(ValidationError):
        RetentionEntry.model_validate(terms)
    with pytest.raises(ValidationError):
        RetentionSettings.model_validate(terms)


def test_the_compactor_hears_of_orders_at_once_and_of_terms_later(world: World) -> None:
    plans(world)
    ada, unit = world.customer(), world.product()
    world.enrol(unit)
    world.claim(unit, ada)
    rules = StoreRules(world.engine, (1, 1, 1, 1), 30)
    first = rules(T0)
    assert first.retention.slots == []
    assert first.tombstones.orders == ()
    subscribe(world, unit.product_id, str(ada.owner_id), "short")
    assert rules(T0 + 1).retention.slots == []
    assert len(rules(T0 + EVERY_NS).retention.slots) == 1
    with write_session(world.engine) as session:
        erasure.erase(session, ada, ada.person_id, T0 + 2, world.tokens, Horizon())
    found = rules(T0 + EVERY_NS + 1).tombstones
    assert {order.first_epoch for order in found.orders} == {0, 1}


def test_while_the_database_cannot_be_read_what_was_known_holds(world: World) -> None:
    rules = StoreRules(world.engine, (1, 1, 1, 1), 30)
    nowhere = broken()
    with pytest.raises(OperationalError):
        StoreRules(nowhere, (1, 1, 1, 1), 30)(T0)
    known = rules(T0)
    rules._engine = nowhere
    assert rules(T0 + 1) == known


def broken() -> Engine:
    return open_engine("sqlite:///:memory:")  # without any table
