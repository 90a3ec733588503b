"""What a catalogue document changes, what it is refused for, and that it comes back as it went."""

import re
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from hub.errors import ConflictError, ForbiddenError, InvalidInputError
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.ownership_tables import Grant
from hub.ports.database.record_tables import Audit
from hub.services import catalogue, catalogue_toml, subscriptions, telemetry
from hub.services.caller import HUB
from hub.services.catalogue import Difference
from hub.services.catalogue_difference import Act
from hub.services.catalogue_document import CatalogueDocument
from hub.services.catalogue_lines import line_of
from tests.hub.services.service_world import DAY, T0, World

RICH = """
[models.heat-pump]
title = "Heat pump"
possession = "label"
support_until = 2036-12-31
data_sheet = { link = "https://example.org/hp.pdf", facts = { "Rated power" = "8 kW" } }

[[models.heat-pump.metrics]]
name = "temp_c"
unit = "Cel"
low = 0.0
high = 95.0

[[models.heat-pump.metrics]]
name = "energy_wh"
unit = "W.h"
kind = "counter"

[models.heat-pump.features]
telemetry = {}
frost_protection = { safe = true, default = true }
local_display = { default = true }
schedules = { kind = "value", low = 1, high = 10, default = 2 }
tariff = { kind = "value", choices = ["day", "night"], default = "day" }
boost_hours = { kind = "metered", unit = "h" }

[models.heat-pump.settings]
target_c = { default = 20.5, low = 5, high = 30, unit = "Cel" }

[plans.comfort]
title = "Comfort"

[[plans.comfort.versions]]
version = 1
grace_days = 14
features = { telemetry = {}, schedules = { value = 8 }, boost_hours = { value = 20 } }
settings = { target_c = 21.0 }
"""
BOOST = 'boost_hours = { kind = "metered", unit = "h" }'
TARIFF = 'tariff = { kind = "value", choices = ["day", "night"], default = "day" }'
SECOND = "\n[[plans.comfort.versions]]\nversion = 2\nfeatures = { telemetry = {} }\n"


def apply(world: World, text: str, **options: Any) -> Difference:
    with write_session(world.engine) as session:
        return catalogue.apply(session, HUB, catalogue.parse(text), T0, text=text, **options)


def shown(world: World) -> str:
    with read_session(world.engine) as session:
        return catalogue_toml.written(catalogue.show(session, HUB))


def refused(world: World, text: str, **options: Any) -> ConflictError:
    """Apply a document that must be refused, and see that nothing changed."""
    before = shown(world)
    tried = apply(world, text, dry_run=True, **options)
    with pytest.raises(ConflictError) as error:
        apply(world, text, **options)
    assert len(error.value.context["refused"]) == len(tried.refused)
    assert shown(world) == before
    return error.value


def subscribed(world: World) -> None:
    """Have somebody own a product that is subscribed to version 1 of the plan."""
    made = world.product()
    world.claim(made, world.customer())
    with write_session(world.engine) as session:
        subscriptions.start(
            session, HUB, made.product_id, "comfort", T0, world.tokens, version=1, ends_at=T0 + DAY
        )


def things(difference: Difference, act: Act) -> list[str]:
    return [str(edit.thing) for edit in difference.of(act)]


def test_what_was_never_sold_may_change_in_any_way(world: World) -> None:
    assert "published plan version" in refused(world, RICH).detail  # another version 1
    done = apply(world, RICH.replace("version = 1", "version = 2"))
    assert "plan comfort version 1" in things(done, Act.REMOVED)
    text = shown(world)
    assert catalogue.parse(text) == catalogue.parse(shown(world))
    assert not apply(world, text)
    assert not apply(world, text, whole=True)
    assert not apply(world, RICH.replace("version = 1", "version = 2"))
    moved = text.replace('name = "temp_c"', 'name = "flow_c"').replace('"W.h"', '"kW.h"')
    done = apply(world, moved)
    assert things(done, Act.REMOVED) == ["metric heat-pump.temp_c"]
    with read_session(world.engine) as session:
        assert [m.name for m in telemetry.metrics_of(session, 1)] == ["flow_c", "energy_wh"]
    emptied = apply(world, "", whole=True)
    assert set(things(emptied, Act.REMOVED)) >= {"model heat-pump", "plan comfort"}
    assert shown(world) == "\n"
    with read_session(world.engine) as session:
        row = session.scalars(select(Audit).order_by(Audit.id.desc()).limit(1)).one()
    assert (row.action, row.details["added"]) == ("catalogue.apply", [])
    assert "model heat-pump" in row.details["removed"]


@pytest.fixture
def sold(world: World) -> World:
    """The rich catalogue with a product, its owner, a subscription and a grant."""
    apply(world, "", whole=True)
    apply(world, RICH)
    subscribed(world)
    other = world.product()
    with write_session(world.engine) as session:
        session.add(
            Grant(
                id="g" * 16,
                product_id=other.product_id,
                feature="tariff",
                starts_at=T0,
                reason="",
                author="hub",
            )
        )
    return world


STRANDING: list[tuple[str, str, str]] = [
    ('name = "temp_c"', 'name = "temp"', "metrics by position"),
    ('unit = "Cel"\nlow', 'unit = "K"\nlow', "would mean something else"),
    ('kind = "counter"', 'kind = "gauge"', "would mean something else"),
    ('[[models.heat-pump.metrics]]\nname = "energy_wh"\nunit = "W.h"\nkind = "counter"', "", "metrics by position"),
    ("frost_protection = { safe = true, default = true }", "", "safe function"),
    ("{ safe = true, default = true }", "{ default = true }", "safe function"),
    ("local_display = { default = true }", "", "sold with it included"),
    ("local_display = { default = true }", "local_display = {}", "sold with it included"),
    (BOOST, 'boost_hours = { kind = "value" }', "1 subscription is on plan comfort version 1"),
    (BOOST, 'boost_hours = { kind = "metered", unit = "min" }', "feature with a new name"),
    ("low = 1, high = 10", "low = 1, high = 5", "must be from 1 to 5"),
    (', default = "day"', "", "sold with it included"),
    ("value = 20", "value = 21", "publish version 2"),
    ("grace_days = 14", "grace_days = 15", "published plan version"),
    ("version = 1", "version = 2", "withdrawn = true"),
    ("support_until = 2036-12-31", "support_until = 2035-12-31", "promised support until 2036-12-31"),
    ("support_until = 2036-12-31", "", "promised support"),
    ("low = 5, high = 30", "low = 5, high = 20.5", "must be from 5 to 20.5"),
]  # fmt: skip


def test_an_edit_that_would_strand_somebody_is_refused(sold: World) -> None:
    for old, new, says in STRANDING:
        assert old in RICH
        assert says in refused(sold, RICH.replace(old, new)).detail


def test_what_is_granted_or_subscribed_to_is_not_removed(sold: World) -> None:
    error = refused(sold, "", whole=True)
    assert {item["thing"]: item["subscribers"] for item in error.context["refused"]} == {
        "model heat-pump": 1,
        "plan comfort version 1": 1,
    }
    assert "There are 2 products of this model" in error.detail
    without = re.sub("\nboost_hours = .*", "", RICH).replace(", boost_hours = { value = 20 }", "")
    error = refused(sold, without)
    said = {item["thing"]: item for item in error.context["refused"]}
    assert (
        "plan comfort version 1, which includes it"
        in said["feature heat-pump.boost_hours"]["detail"]
    )
    assert (
        said["plan comfort version 1"]["line"]
        == without.splitlines().index("[[plans.comfort.versions]]") + 1
    )
    gone = RICH.replace(TARIFF, "")
    assert "sold with it" in refused(sold, gone).detail
    plain = RICH.replace(
        'choices = ["day", "night"], default = "day"', 'choices = ["day", "night"]'
    )
    assert refused(sold, plain)


def test_an_ended_subscription_still_needs_its_plan_version(sold: World) -> None:
    text = RICH.replace("version = 1", "version = 2")
    with write_session(sold.engine) as session, pytest.raises(ConflictError, match="1 ended"):
        catalogue.apply(session, HUB, catalogue.parse(text), T0 + 2 * DAY)


def test_what_strands_nobody_is_done_though_it_is_sold(sold: World) -> None:
    text = RICH.replace("high = 95.0", "high = 90.0").replace("2036-12-31", "2037-12-31")
    text = text.replace('name = "energy_wh"', 'name = "energy_wh"\ntitle = "Energy"')
    text = text.replace("low = 1, high = 10", "low = 1, high = 12")
    text = text.replace("version = 1\n", "version = 1\nwithdrawn = true\n") + SECOND
    text = text.replace(
        "[models.heat-pump.features]",
        '[[models.heat-pump.metrics]]\nname = "mode"\nkind = "state"\n[models.heat-pump.features]',
    )
    tried = apply(sold, text, dry_run=True)
    assert tried == apply(sold, text)
    assert things(tried, Act.ADDED) == ["metric heat-pump.mode", "plan comfort version 2"]
    changed = {str(edit.thing): edit for edit in tried.of(Act.CHANGED)}
    assert changed["metric heat-pump.temp_c"].terms == {"high": (95.0, 90.0)}
    assert changed["metric heat-pump.temp_c"].products == 2
    assert changed["model heat-pump"].terms["support_until"] == (
        date(2036, 12, 31),
        date(2037, 12, 31),
    )
    assert changed["plan comfort version 1"].subscribers == 1
    with write_session(sold.engine) as session:
        assert subscriptions.plan_version(session, "comfort", None).version == 2
        with pytest.raises(ConflictError, match="withdrawn"):
            subscriptions.plan_version(session, "comfort", 1)
    assert not apply(sold, text)


def test_a_unit_that_is_none_may_be_corrected(sold: World) -> None:
    from hub.ports.database.catalogue_tables import Metric

    with write_session(sold.engine) as session:
        session.scalars(select(Metric).where(Metric.name == "temp_c")).one().unit = "degrees C"
    done = apply(sold, RICH)
    assert [edit.terms for edit in done.edits] == [{"unit": ("degrees C", "Cel")}]


def test_models_and_plans_that_are_not_named_stay(sold: World) -> None:
    before = shown(sold)
    done = apply(sold, '[models.kettle]\ntitle = "Kettle"\n')
    assert things(done, Act.ADDED) == ["model kettle"]
    assert shown(sold) == before.replace(
        "[plans.comfort]", '[models.kettle]\ntitle = "Kettle"\n\n[plans.comfort]'
    )
    done = apply(sold, RICH, whole=True)
    assert things(done, Act.REMOVED) == ["model kettle"]


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ("x", "not valid TOML"),
        ("[model.a]", "Line 1, model: Extra"),
        ("[models.A]", "models.A"),
        ('[[models.a.metrics]]\nname = "x"', "Line 2, models.a.metrics.0.name"),
        ('[[models.a.metrics]]\nname = "ab"\nlow = 2.0\nhigh = 1.0', "models.a.metrics.0"),
        ('[[models.a.metrics]]\nname = "ab"\n[[models.a.metrics]]\nname = "ab"', "more than once"),
        ('[[models.a.metrics]]\nname = "ab"\nunit = "kWh"', "metrics.0.unit: 'kWh' is not a UCUM unit; write"),
        ('[models.a.features]\nx = { kind = "value", low = 3, high = 1 }', "low not above high"),
        ('[models.a.features]\nx = { kind = "value", low = 3, default = 1 }', "at least 3"),
        ('[models.a.features]\nx = { kind = "value", choices = ["a", 1] }', "all numbers or all texts"),
        ('[models.a.features]\nx = { kind = "value", choices = ["a"], default = "b" }', "one of a"),
        ('[models.a.features]\nx = { kind = "metered", default = -1 }', "it is a quota"),
        ("[models.a.features]\nx = { default = 1 }", "must be true or false"),
        ("[models.a.features]\nx = { low = 1 }", "of the kind value"),
        ('[models.a.features]\nx = { unit = "h" }', "has no unit"),
        ('[models.a.features]\ntelemetry = { kind = "metered" }', "is a switch"),
        ('[models.a]\nsupport_until = "soon"', "a date such as"),
        ('[models.a]\ndata_sheet = { link = "http://example.org" }', "models.a.data_sheet.link"),
        ('[models.a.settings]\nx = { default = "a", low = 1 }', "that are numbers"),
        ("[models.a.settings]\nx = { default = 5, low = 6 }", "at least 6"),
        ("[models.a.settings]\nx = {}", "models.a.settings.x.default"),
        ("[models.a.features]\nx = 1\ny = 2", "2 mistakes. Line 2, models.a.features.x"),
    ],
)  # fmt: skip
def test_documents_with_mistakes_say_where(document: str, place: str) -> None:
    with pytest.raises(InvalidInputError) as error:
        catalogue.parse(document)
    assert place in error.value.detail


IMPOSSIBLE: list[tuple[str, str]] = [
    ("features = { typo = {} }", "Line 3, plans.basic.versions.0.features.typo: no model has"),
    ("features = { telemetry = { value = 1 } }", "heat-pump.telemetry must be true or false"),
    ("features = { schedules = { value = 11 } }", "heat-pump.schedules must be from 1 to 10"),
    ("features = { boost_hours = { value = true } }", "it is a quota"),
    ("settings = { typo = 1 }", "no model has a setting"),
    ("settings = { target_c = 31.0 }", "heat-pump.target_c must be from 5 to 30"),
    ("settings = { target_c = true }", "heat-pump.target_c must be a number"),
]


def test_a_plan_cannot_include_what_no_model_has_or_takes(sold: World) -> None:
    for terms, says in IMPOSSIBLE:
        with pytest.raises(InvalidInputError) as error:
            apply(sold, f"[[plans.basic.versions]]\nversion = 1\n{terms}\n")
        assert says in error.value.detail
    customer = sold.customer()
    with write_session(sold.engine) as session, pytest.raises(ForbiddenError):
        catalogue.apply(session, customer, catalogue.parse(""), T0)


def name_of(metric: Any) -> str:
    return str(metric["name"])


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9-]{0,5}", fullmatch=True),
        st.fixed_dictionaries(
            {
                "title": st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=8),
                "metrics": st.lists(
                    st.fixed_dictionaries(
                        {
                            "name": st.from_regex(r"[a-z][a-z0-9_]{1,5}", fullmatch=True),
                            "unit": st.sampled_from(["", "Cel", "dB{mW}"]),
                            "low": st.one_of(st.none(), st.floats(-1e300, 0.0)),
                        }
                    ),
                    max_size=3,
                    unique_by=name_of,
                ),
                "data_sheet": st.just({"facts": {'a "b" \\ ä\u2028': "x = 'y'"}}),
                "settings": st.dictionaries(
                    st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True),
                    st.fixed_dictionaries(
                        {
                            "default": st.one_of(
                                st.booleans(), st.floats(-1e9, 1e9), st.integers(-9, 9)
                            )
                        }
                    ),
                    max_size=2,
                ),
            }
        ),
        max_size=3,
    )
)
def test_any_document_is_written_so_that_it_reads_the_same(models: dict[str, Any]) -> None:
    document = CatalogueDocument.model_validate({"models": models})
    text = catalogue_toml.written(document)
    assert catalogue.parse(text) == document
    assert CatalogueDocument.model_validate_json(document.model_dump_json()) == document


def test_lines_are_those_of_the_statements() -> None:
    text = 'a = 1\n# b\nb = [\n 1,\n 2,\n]\n\n[c]\nd = """\nx\n"""\n[[e]]\n[[e]]\nf = { g = 1 }\n'
    found = {
        path: line_of(text, path)
        for path in [("a",), ("b", 1), ("c",), ("c", "d"), ("c", "no"), ("e", 1, "f", "g"), ("no",)]
    }
    assert list(found.values()) == [1, 3, 8, 9, 8, 14, None]
