import re

from entitlements.facts import HoldKind
from firmware_sim import catalogue
from firmware_sim.households import NAMED, households
from firmware_sim.products.heat_pump import HeatPump

JANUARY = 1_768_000_000 * 10**9


def test_every_reading_of_the_heat_pump_is_in_the_catalogue_and_within_its_limits() -> None:
    entry = catalogue.document()["models"]["heat-pump"]
    limits = {
        metric["name"]: (metric.get("low", -1e9), metric.get("high", 1e9))
        for metric in entry["metrics"]
    }
    pump = HeatPump(1)
    assert limits.keys() == pump.step(60.0, JANUARY).keys()
    for number in range(1, 1_000):
        for name, value in pump.step(300.0, JANUARY + number * 300 * 10**9).items():
            low, high = limits[name]
            assert low <= value <= high, name
    assert limits["temp_c"] == (-50.0, 150.0)


def test_products_with_a_button_are_claimed_by_pressing_it() -> None:
    assert {model for model in catalogue.models() if catalogue.has_button(model)} == {
        "heat-pump",
        "robot-vacuum",
    }
    assert not catalogue.has_button("no-such")


def test_names_are_those_of_the_wire() -> None:
    for model in catalogue.models():
        for name in catalogue.metrics(model):
            assert re.fullmatch(r"[a-z][a-z0-9_]{1,47}", name)


def test_households_name_plans_that_exist() -> None:
    homes = households(60)
    plans = set(catalogue.document()["plans"])
    assert {home.standing.plan for home in homes if home.standing.plan} == plans
    emails = [home.email for home in homes] + [m for home in homes for _, m in home.members]
    assert len(set(emails)) == len(emails) == 61
    assert homes[: len(NAMED)] == list(NAMED)
    assert len({home.standing.words for home in NAMED}) >= 10


def test_there_are_as_many_households_as_asked_for_each_another() -> None:
    assert len({home.email for home in households(600)}) == 600
    assert households(1) == [NAMED[0]]
    assert households(30) == households(40)[:30]


def test_products_were_made_before_their_plans_began_and_before_their_past() -> None:
    for home in households(60):
        standing = home.standing
        assert standing.made_days > max(-standing.starts_days, 30)


def test_there_are_holds_with_an_end_and_without_of_kinds_that_the_hub_knows() -> None:
    held = [home.standing.hold for home in NAMED if home.standing.hold is not None]
    assert {hold.days is None for hold in held} == {True, False}
    assert {hold.kind for hold in held} <= set(HoldKind)
    assert all(home.standing.plan for home in NAMED if home.standing.hold is not None)
