"""Periods, marks and quotas from the facts; what follows when a quota is used up or grows."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import select

from entitlements.decision import decide
from hub.errors import ConflictError, InvalidInputError
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.ownership_tables import Hold
from hub.ports.database.product_tables import Device, Product
from hub.ports.database.usage_tables import UsageCorrection, UsageMeter
from hub.services import (
    catalogue,
    changes,
    credit_grants,
    cut,
    ownership,
    subscriptions,
    usage,
    usage_limits,
    usage_periods,
)
from hub.services.caller import HUB
from hub.services.catalogue_facts import load_catalogue
from hub.services.facts import load_one
from hub.services.meter_terms import MeterTerms
from hub.services.snapshot_file import read_snapshot
from hub.services.usage_accounts import ACCOUNT, ON_TIME
from hub.services.usage_archive import Totals
from hub.services.usage_balance import Given
from hub.services.usage_terms import Listed, MeterTermsPublisher, account_terms
from tests.hub.api.memory_store import MemoryStore, Row
from tests.hub.services.service_world import CATALOGUE, DAY, T0, World, new_world

EMPTY = MemoryStore()
METERED = (
    CATALOGUE.replace(
        "[models.heat-pump.features.boost_hours]\n",
        "[models.heat-pump.features.boost_hours]\nmeter = 'energy'\nunit = 'W.h'\n",
    )
    + """
[models.heat-pump.meters]
energy = { title = "Energy", metric = "energy_wh", aggregation = "increase", decimals = 2 }
rows = { metric = "temp_c", aggregation = "count" }
"""
)


@pytest.fixture
def world(tmp_path: Path, new_database: str) -> Iterator[World]:
    made = new_world(tmp_path, new_database)
    with write_session(made.engine) as session:
        catalogue.apply(session, HUB, catalogue.parse(METERED), T0)
    yield made
    made.engine.dispose()


def sold(world: World, at: int = T0) -> tuple[str, int]:
    """A product with an owner and a plan; its id and slot."""
    made = world.product()
    world.enrol(made)
    owner = world.customer()
    world.claim(made, owner, at)
    with write_session(world.engine) as session:
        subscriptions.start(
            session, HUB, made.product_id, "comfort", at, world.tokens, starts_at=at
        )
        query = select(Device.slot).where(Device.product_id == made.product_id)
        return made.product_id, session.scalars(query).one()


def crossing(
    world: World, slot: int, total: int, at: int, *, late: int = 0
) -> list[usage_limits.Told]:
    with write_session(world.engine) as session:
        number = session.scalars(select(UsageMeter.number).where(UsageMeter.name == "energy")).one()
        device = session.get_one(Device, slot)
        facts = load_one(session, device.product_id)
        feature = usage_periods.metered(facts, "energy")
        start, _ = usage_periods.period(facts, feature, "UTC", at)
        record = {"slot": slot, "meter": number, "start": start, "total": total}
        return usage_limits.apply(
            session, Totals(EMPTY), [{**record, "before": 0, "level": 0, "late": late}], at
        )


def account(world: World, product_id: str, total: int, at: int) -> NDArray[Any]:
    """The account of energy as the meter would publish it."""
    with read_session(world.engine) as session:
        facts = load_one(session, product_id)
        one = load_catalogue(session).meters[facts.model.number][0]
    feature = usage_periods.metered(facts, "energy")
    start, end = usage_periods.period(facts, feature, "UTC", at)
    accounts = np.zeros(1, ACCOUNT)
    accounts["slot"], accounts["meter"], accounts["total"] = facts.device.slot, one.number, total
    accounts["start"], accounts["end"], accounts["late"] = start, end, ON_TIME
    return accounts


def boost(world: World, product_id: str, at: int) -> tuple[bool, str]:
    with read_session(world.engine) as session:
        decided = decide(load_one(session, product_id), "boost_hours", at)
    return decided.allowed, decided.code


def test_a_quota_that_is_used_up_closes_its_feature_until_the_period_ends(world: World) -> None:
    product_id, slot = sold(world)
    at = T0 + 5 * DAY
    told = crossing(world, slot, 1_600, at)
    assert [one.notice.arguments["share"] for one in told] == [50, 80]
    assert boost(world, product_id, at) == (True, "plan")
    told = crossing(world, slot, 2_000, at + 1)
    assert [one.notice.arguments["share"] for one in told] == [100]
    assert boost(world, product_id, at + 2) == (False, "quota_used")
    assert boost(world, product_id, at) == (True, "plan")  # the past stays
    assert boost(world, product_id, T0 + 32 * DAY) == (True, "plan")  # another period
    assert crossing(world, slot, 2_100, at + 3) == []  # said once
    with read_session(world.engine) as session:
        (hold,) = session.scalars(select(Hold)).all()
        assert hold.features == ["boost_hours"]


def test_a_change_is_told_only_to_those_whom_it_concerns(world: World) -> None:
    product_id, slot = sold(world)
    heard: dict[changes.About, list[frozenset[str]]] = {about: [] for about in changes.About}
    for about, noted in heard.items():
        changes.listen(world.engine, noted.append, about)
    crossing(world, slot, 2_000, T0 + 5 * DAY)
    assert list(heard.values()) == [[{product_id}], []]  # decisions, counting
    offer = credit_grants.Offer("energy", "topup", Decimal(5))
    with write_session(world.engine) as session:
        credit_grants.give(
            session, HUB, offer, "bought", T0 + 5 * DAY, world.tokens, product_id=product_id
        )
    assert list(heard.values()) == [[{product_id}], [{product_id}]]
    with write_session(world.engine) as session:
        changes.note(session, product_id, changes.About.DECISIONS)
        changes.note(session, product_id)
    assert [len(noted) for noted in heard.values()] == [2, 2]


def test_what_changed_is_published_while_going_through_all_products_rests(
    world: World, tmp_path: Path
) -> None:
    sold(world)
    settled: set[str] = set()
    publisher = MeterTermsPublisher(
        world.engine,
        EMPTY,
        tmp_path / "terms",
        lambda: T0 + DAY,
        lambda these, _archive: settled.update(these),
    )
    assert publisher.step()
    settled.clear()
    with write_session(world.engine) as session:
        changes.note(session, changes.EVERY_PRODUCT)
    product_id, slot = sold(world, T0 + 1)
    assert publisher.step(goes_on=False)
    terms = MeterTerms.of(read_snapshot(tmp_path / "terms").arrays)
    assert terms is not None
    assert slot in terms.slot[: terms.accounts]
    assert settled == {product_id}
    publisher.step()
    assert settled == {product_id, changes.EVERY_PRODUCT}  # all were gone through


def test_a_correction_below_the_quota_opens_the_feature_again(world: World) -> None:
    product_id, slot = sold(world)
    at = T0 + 5 * DAY
    crossing(world, slot, 2_000, at)
    crossing(world, slot, 1_999, at + DAY)
    assert boost(world, product_id, at + 1) == (False, "quota_used")
    assert boost(world, product_id, at + DAY) == (True, "plan")
    crossing(world, slot, 2_050, at + 2 * DAY)
    assert boost(world, product_id, at + 2 * DAY) == (False, "quota_used")


def test_a_count_of_another_period_changes_nothing(world: World) -> None:
    product_id, slot = sold(world)
    with write_session(world.engine) as session:
        record = {"slot": slot, "meter": 1, "start": T0 - 40 * DAY, "total": 9_999}
        usage_limits.apply(
            session, Totals(EMPTY), [{**record, "before": 0, "level": 3, "late": 0}], T0 + DAY
        )
    assert boost(world, product_id, T0 + DAY) == (True, "plan")


def test_late_rows_of_a_closed_period_are_kept_as_a_correction(world: World) -> None:
    product_id, slot = sold(world)
    crossing(world, slot, 0, T0 + 40 * DAY, late=T0 + 3 * DAY)
    with read_session(world.engine) as session:
        (kept,) = session.scalars(select(UsageCorrection)).all()
        assert (kept.product_id, kept.since) == (product_id, T0 + 3 * DAY)


def test_terms_follow_owner_and_plan(world: World, tmp_path: Path) -> None:
    product_id, slot = sold(world)
    settled: list[str] = []
    now = [T0 + DAY]
    publisher = MeterTermsPublisher(
        world.engine,
        EMPTY,
        tmp_path / "terms",
        lambda: now[0],
        lambda these, _: settled.extend(these),
    )
    assert publisher.step()
    terms = MeterTerms.of(read_snapshot(tmp_path / "terms").arrays)
    assert terms is not None
    assert terms.slot[: terms.accounts].tolist() == [slot, slot]
    marks = [terms.marks_of(account).tolist() for account in range(terms.accounts)]
    assert marks == [[1_000, 1_600, 2_000], []]  # of energy; rows has no quota
    edges = terms.edges_of(0)
    assert T0 in edges
    assert all(27 * DAY < b - a < 32 * DAY for a, b in pairwise(edges[edges >= T0].tolist()))
    assert not publisher.step()
    with write_session(world.engine) as session:  # a better plan from now on
        document = METERED.replace("value = 20", "value = 40").replace("version = 1", "version = 2")
        plans = document.index("[plans.comfort]")
        whole = METERED + document[plans : document.index("[models.heat-pump.meters]")].replace(
            '[plans.comfort]\ntitle = "Comfort"\n', ""
        )
        catalogue.apply(session, HUB, catalogue.parse(whole), T0 + DAY)
        old = load_one(session, product_id).subscriptions[0].id
        subscriptions.change(session, HUB, old, "comfort", T0 + DAY, world.tokens)
    now[0] += DAY
    settled.clear()
    assert publisher.step()
    terms = MeterTerms.of(read_snapshot(tmp_path / "terms").arrays)
    assert terms is not None
    assert terms.marks_of(0).tolist() == [2_000, 3_200, 4_000]
    assert product_id in settled


def test_a_change_of_owner_begins_a_period(world: World) -> None:
    product_id, _ = sold(world, T0 - 3 * DAY)
    with read_session(world.engine) as session:
        facts = load_one(session, product_id)
        meters = load_catalogue(session).meters[facts.model.number]
        given, listed = (
            Given.load(session, [product_id]),
            Listed(product_id, facts, "Europe/Berlin"),
        )
        ((energy, _), _) = account_terms(session, Totals(EMPTY), listed, meters, given, T0)
    assert T0 - 3 * DAY in energy.edges


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("decimals = 2", "decimals = 3", "what was counted must not mean"),
        ("rows = { metric", "lines = { metric", "what was counted must not mean"),
    ],
)
def test_a_meter_stands_while_there_are_products(
    world: World, before: str, after: str, says: str
) -> None:
    sold(world)
    with (
        write_session(world.engine) as session,
        pytest.raises(ConflictError, match=says),
    ):
        catalogue.apply(session, HUB, catalogue.parse(METERED.replace(before, after)), T0)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('aggregation = "increase"', 'aggregation = "sum"', "counters are counted by"),
        ('"temp_c", aggregation = "count"', '"temp_c", aggregation = "increase"', "counters are"),
        ('metric = "temp_c", agg', 'metric = "nothing", agg', "no metric of the model"),
        ("meter = 'energy'", "meter = 'none'", "which is no meter"),
        ("decimals = 2", "decimals = 12", "less than or equal to 9"),
    ],
)
def test_a_meter_that_cannot_count_is_refused(before: str, after: str, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        catalogue.parse(METERED.replace(before, after))


def test_usage_is_the_accounts_or_the_archives(world: World) -> None:
    product_id, slot = sold(world)
    at = T0 + 5 * DAY
    readings = [(T0, 0.0), *((T0 + day * DAY - 1, 2.0 * day) for day in range(1, 6))]
    with read_session(world.engine) as session:
        product = session.get_one(Product, product_id)
        model = load_one(session, product_id).model.number
        metric = load_catalogue(session).meters[model][0].meter.metric
        rows = [Row(slot, metric, time, value, n) for n, (time, value) in enumerate(readings)]
        store = MemoryStore(rows)
        for accounts in (account(world, product_id, 1_000, at), np.zeros(0, ACCOUNT)):
            found, _ = usage.present(session, store, accounts, product, at)
            assert (str(found.total), found.quota, found.used_up) == ("10.00", 20, False)
            assert found.exhausted_at == at + 5 * DAY  # two a day, and ten are left


def test_a_quota_is_closed_and_opened_again_in_one_transaction(world: World) -> None:
    product_id, slot = sold(world)
    at = T0 + 5 * DAY
    with write_session(world.engine) as session:
        number = session.scalars(select(UsageMeter.number).where(UsageMeter.name == "energy")).one()
        facts = load_one(session, product_id)
        start, _ = usage_periods.period(facts, usage_periods.metered(facts, "energy"), "UTC", at)
        record = {"slot": slot, "meter": number, "start": start, "before": 0, "level": 0, "late": 0}
        usage_limits.apply(
            session,
            Totals(EMPTY),
            [{**record, "total": total} for total in (2_000, 1_999, 2_050)],
            at,
        )
    assert boost(world, product_id, at) == (False, "quota_used")
    with read_session(world.engine) as session:
        assert len(session.scalars(select(Hold)).all()) == 1


def test_what_the_former_owner_used_up_does_not_hold_the_next(world: World) -> None:
    product_id, slot = sold(world)
    at = T0 + 5 * DAY
    crossing(world, slot, 2_000, at)
    owner_id = str(world.customer().owner_id)
    with write_session(world.engine) as session:
        ownership.release(session, HUB, product_id, at + 1)
        cut.begin(session, session.get_one(Product, product_id), owner_id, at + 2)
        subscriptions.start(
            session, HUB, product_id, "comfort", at + 2, world.tokens, starts_at=at + 2
        )
    with write_session(world.engine) as session:
        usage_limits.settle_products(
            session, Totals(EMPTY), [product_id], np.zeros(0, ACCOUNT), at + 3
        )
    assert boost(world, product_id, at + 3) == (True, "plan")
    crossing(world, slot, 2_000, at + 4)  # their own use holds it
    with write_session(world.engine) as session:
        usage_limits.settle_products(
            session, Totals(EMPTY), [product_id], account(world, product_id, 2_000, at + 5), at + 5
        )
    assert boost(world, product_id, at + 5) == (False, "quota_used")
