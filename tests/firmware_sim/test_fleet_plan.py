from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim import catalogue, fleet_plan
from firmware_sim.fleet_plan import FleetFileError
from firmware_sim.products.models import MODELS

GOOD = """
seed = 3
report_s = 2
[models]
heat-pump = 5
robot-vacuum = 4
[firmware]
"1.0" = 3
"1.1" = 1
[lots]
A = 1
[regions.north]
climate = "nordic"
zone = "Europe/Oslo"
"""


def test_the_shipped_fleet_has_sixty_products_of_every_kind() -> None:
    plan = fleet_plan.demo()
    assert Counter(member.model for member in plan.members) == {
        "heat-pump": 28,
        "ev-charger": 16,
        "robot-vacuum": 16,
    }
    assert {member.firmware for member in plan.members} == {"2.4.0", "2.4.1"}
    assert {member.lot for member in plan.members} == {"A", "B", "C"}
    assert len({member.region.name for member in plan.members}) == 5
    assert any(member.firmware == "2.4.1" and member.lot == "B" for member in plan.members)


def test_every_model_of_the_catalogue_can_be_made() -> None:
    assert set(MODELS) == set(catalogue.models())


def test_the_same_file_gives_the_same_products() -> None:
    assert fleet_plan.parse(GOOD, "x") == fleet_plan.parse(GOOD, "x")
    assert fleet_plan.parse(GOOD, "x") != fleet_plan.parse(GOOD.replace("= 3\nr", "= 4\nr"), "x")


def test_products_of_a_model_do_not_depend_on_the_others() -> None:
    more = fleet_plan.parse(GOOD.replace("robot-vacuum = 4", "robot-vacuum = 40"), "x")
    pumps = [member for member in more.members if member.model == "heat-pump"]
    assert pumps == [
        member for member in fleet_plan.parse(GOOD, "x").members if member.model == "heat-pump"
    ]


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 9))
def test_shares_are_dealt_out_exactly(count: int, one: int, two: int) -> None:
    text = GOOD.replace("heat-pump = 5", f"heat-pump = {count}")
    text = text.replace('"1.0" = 3', f'"1.0" = {one}').replace('"1.1" = 1', f'"1.1" = {two}')
    pumps = [m for m in fleet_plan.parse(text, "x").members if m.model == "heat-pump"]
    assert len(pumps) == count
    expected = count * one / (one + two)
    assert abs(sum(member.firmware == "1.0" for member in pumps) - expected) < 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seed = 3", "seed = 'x'", "seed is 'x'; it must be a whole number"),
        ("seed = 3", "seeds = 3", "seeds is unknown; it must be one of seed"),
        ("report_s = 2", "report_s = 0", "report_s is 0; it must be a number from 0.1 to 3600"),
        ("report_s = 2", "report_s = nan", "report_s is nan"),
        ("heat-pump = 5", "heat-pump = 2.5", "models.heat-pump is 2.5; it must be a whole number"),
        ("heat-pump = 5", "toaster = 5", "models.toaster is unknown; it must be one of heat-pump"),
        ("heat-pump = 5\nrobot-vacuum = 4", "heat-pump = 0", "models is 0 products in all"),
        ('"1.1" = 1', '"1.1" = -1', "firmware.1.1 is -1; it must be a number above 0"),
        ('"1.1" = 1', '"1 1" = 1', "firmware is named '1 1'"),
        ("[lots]\nA = 1", "", "lots is missing; it must be a table"),
        ("A = 1", "A = true", "lots.A is True"),
        ('climate = "nordic"', 'climate = "nordik"', "regions.north.climate is 'nordik'"),
        ("Europe/Oslo", "Europe/Olso", "regions.north.zone is 'Europe/Olso'"),
        (
            'zone = "Europe/Oslo"',
            'zone = "Europe/Oslo"\nshares = 2',
            "regions.north.shares is unknown",
        ),
        ("[regions.north]", "[regions.north.x]", "regions.north.x is unknown"),
        ("seed = 3", "seed =", "is not TOML"),
    ],
)
def test_what_is_wrong_is_told_with_its_path(old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(FleetFileError) as caught:
        fleet_plan.parse(GOOD.replace(old, new), "fleet.toml")
    assert said in str(caught.value)
    assert str(caught.value).startswith("fleet.toml")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FleetFileError, match="cannot be read"):
        fleet_plan.load(tmp_path / "none.toml")
