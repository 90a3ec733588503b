"""What a catalogue may promise, and what it may not."""

import pytest

from entitlements.coverage_facts import WarrantyTerms
from hub.errors import ConflictError, InvalidInputError
from hub.ports.database.engine import read_session, write_session
from hub.services import catalogue, catalogue_toml, coverage_facts, products
from hub.services.caller import HUB
from hub.services.catalogue_difference import Act
from hub.services.coverage_catalogue import load_calendar
from tests.hub.services.coverage_world import COVERAGE, promise
from tests.hub.services.service_world import CATALOGUE, DAY, T0, World

SECOND_VERSION = """[[models.heat-pump.warranty]]
version = 2
months = 36
transferable = false
[models.heat-pump.features.telemetry]"""


def changed(old: str, new: str) -> str:
    assert old in COVERAGE
    return COVERAGE.replace(old, new)


def test_applying_twice_changes_nothing(world: World) -> None:
    assert [str(edit.thing) for edit in promise(world).of(Act.ADDED)] == [
        "metric heat-pump.operating_min",
        "metric heat-pump.starts",
        "warranty heat-pump version 1",
        "calendar office",
        "contract care",
        "contract care version 1",
    ]
    assert not promise(world)
    with read_session(world.engine) as session:
        text = catalogue_toml.written(catalogue.show(session, HUB))
    assert not promise(world, text), "it comes back as it went"
    with write_session(world.engine) as session:
        document = catalogue.parse(CATALOGUE)
        gone = catalogue.apply(session, HUB, document, T0, whole=True).of(Act.REMOVED)
    assert {str(edit.thing) for edit in gone} >= {"contract care version 1", "calendar office"}
    assert promise(world)


def test_products_keep_the_warranty_they_were_made_under(world: World) -> None:
    promise(world)
    old = world.product()
    promise(world, changed("[models.heat-pump.features.telemetry]", SECOND_VERSION), T0 + DAY)
    with write_session(world.engine) as session:
        new = products.register(
            session, HUB, model="heat-pump", serial="N", at=T0 + 2 * DAY, tokens=world.tokens
        )
        early = products.register(
            session,
            HUB,
            model="heat-pump",
            serial="E",
            at=T0 + 2 * DAY,
            made_at=T0 - DAY,
            tokens=world.tokens,
        )
    with read_session(world.engine) as session:
        ids = [one.product_id for one in (old, new, early)]
        loaded = coverage_facts.load_some(session, [*ids, "nobody"])
    first = WarrantyTerms(1, 24, 6, transferable=True, hours=1_000.0, cycles=500.0)
    assert [loaded[id_].terms for id_ in ids] == [
        first,
        WarrantyTerms(2, 36, 6, transferable=False),
        first,
    ]


def test_what_was_promised_stands(world: World) -> None:
    promise(world)
    for old, new in (
        ("months = 24", "months = 12"),
        ("at_most = 1000", "at_most = 900"),
        ('incidents = 1\ncalendar = "office"', 'incidents = 2\ncalendar = "office"'),
        ("response_min = 60", "response_min = 90"),
    ):
        with pytest.raises(ConflictError, match="Publish a new version"):
            promise(world, changed(old, new))
    assert not promise(world)


def test_holidays_are_added_each_year(world: World) -> None:
    promise(world)
    (edit,) = promise(world, changed('"12-25",', '"12-25", "12-26",')).of(Act.CHANGED)
    assert (str(edit.thing), list(edit.terms)) == ("calendar office", ["holidays"])
    with read_session(world.engine) as session:
        assert load_calendar(session, "office").yearly == {(12, 25), (12, 26)}


EVERY_DAY = ", ".join(f'"{m:02}-{d:02}"' for m in range(1, 13) for d in range(1, 30))


REFUSED = (
        ("months = 24", "months = -24", "greater than or equal to 1"),
        ("months = 24", "months = 0", "greater than or equal to 1"),
        ("latest_start_months = 6", "latest_start_months = -1", "greater than or equal to 0"),
        ("at_most = 1000", "at_most = -1", "greater than 0"),
        ("at_most = 1000", "at_most = nan", "mistake"),
        ('metric = "operating_min", at', 'metric = "oper_h", at', "is no counter of the model"),
        ('metric = "operating_min", at', 'metric = "temp_c", at', "is no counter of the model"),
        ('metric = "operating_min", at', 'metric = "energy_wh", at', "is no time"),
        ("Europe/Berlin", "Europe/Atlantis", "there is no time zone"),
        ('fri = ["08:00-12:00"]', 'fri = ["12:00-08:00"]', "ends before it begins"),
        ('fri = ["08:00-12:00"]', 'fri = ["08:00-12:00", "11:00-13:00"]', "overlaps"),
        ('fri = ["08:00-12:00"]', 'fri = ["8-12"]', "write them as"),
        ('fri = ["08:00-12:00"]', 'someday = ["08:00-12:00"]', "mistake"),
        ('"2030-03-20"', '"2030-02-29"', "is no day"),
        ('"2030-03-20"', '"02-30"', "is no day"),
        ('"2030-03-20"', '"20300320"', "is no day"),
        ('calendar = "office"\n', "", "no calendar to count them by"),
        ('calendar = "office"\n', 'calendar = "night"\n', "which there is not"),
        ("response_min = 60", "response_min = 0", "greater than or equal to 1"),
        ("incidents = 1\ncal", "incidents = 0\ncal", "greater than or equal to 1"),
        ('"12-25",', EVERY_DAY + ", " + '"01-30","03-30","04-30","05-30","06-30","07-30",'
         '"08-30","09-30","10-30","11-30","12-30","01-31","03-31","05-31","07-31","08-31",'
         '"10-31","12-31",', "would not fall due within a year"),
)  # fmt: skip


def test_what_can_never_be_kept_is_refused(world: World) -> None:
    for old, new, says in REFUSED:
        with pytest.raises(InvalidInputError, match=says):
            promise(world, changed(old, new))
    assert not promise(world, CATALOGUE), "nothing was left of them"


def test_a_calendar_without_hours_is_refused() -> None:
    for hours in ("mon = []", ""):
        with pytest.raises(InvalidInputError, match="no deadline would ever come"):
            catalogue.parse(f'[calendars.x]\nzone = "UTC"\n[calendars.x.hours]\n{hours}\n')


def test_a_calendar_may_not_become_one_under_which_nothing_falls_due(world: World) -> None:
    promise(world)
    rare = "[calendars.office.hours]\nmon = ['00:00-00:01']\n[contracts.care]"
    start, end = COVERAGE.index("[calendars.office.hours]"), COVERAGE.index("[contracts.care]")
    document = COVERAGE[:start] + rare + COVERAGE[end + len("[contracts.care]") :]
    with pytest.raises(InvalidInputError, match="would not fall due within a year"):
        promise(world, document)
    assert not promise(world)
