from string import ascii_letters, digits

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim import scenario
from firmware_sim.products.fault import LINK_FAULTS, FaultKind
from firmware_sim.products.models import MODELS
from firmware_sim.scenario import Act, Event, Scenario, ScenarioError, Target
from firmware_sim.scenario_player import UnknownScenarioError, load_shipped, shipped

MS = 1_000_000
S = 1000 * MS
names = st.text(ascii_letters + digits + "._-", min_size=1, max_size=8)
perhaps = st.none() | names
durations = st.integers(0, 10**9).map(lambda ms: ms * MS)
serials = st.integers(0, 9999).map(lambda number: f"HP-001-{number:04}")


@st.composite
def targets(draw: st.DrawFn) -> Target:
    who = draw(st.sampled_from(("serial", "model", "rest")))
    return Target(
        serial=draw(serials) if who == "serial" else None,
        model=draw(st.sampled_from(sorted(MODELS))) if who == "model" else None,
        count=draw(st.none() | st.integers(1, 500)) if who == "model" else None,
        firmware=draw(perhaps),
        lot=draw(perhaps),
        region=draw(perhaps),
    )


@st.composite
def events(draw: st.DrawFn) -> Event:
    what = draw(st.sampled_from([*FaultKind, *Act]))
    fault = isinstance(what, FaultKind)
    physical = fault and what not in LINK_FAULTS
    return Event(
        draw(durations),
        draw(targets()),
        what,
        draw(st.none() | durations) if physical else None,
        draw(st.none() | durations) if fault else None,
    )


@given(st.lists(events(), max_size=6))
def test_what_is_written_is_read_again(happening: list[Event]) -> None:
    ordered = tuple(sorted(happening, key=lambda event: event.at_ns))
    written = Scenario("x", ordered)
    assert scenario.parse(str(written), "x") == written


@given(st.text(st.sampled_from("at 60s:of lot BRV-1leaks\n#everything")) | st.text())
def test_any_text_is_read_or_refused_with_its_line(text: str) -> None:
    try:
        scenario.parse(text)
    except ScenarioError as error:
        assert 1 <= error.line <= len(text.splitlines())


def test_the_examples_mean_what_they_say() -> None:
    read = scenario.parse(
        "at 60 s: firmware 2.4.1 of lot B starts leaking memory  # slowly\n\n"
        "at 2 min: HP-001-0007 wears a bearing within 1.5 h\n"
        "at 30 s: vacuums in region north lose Wi-Fi for 20 s\n"
        "at 0 s: one heat pump is used"
    )
    assert read.events == (
        Event(0, Target(model="heat-pump", count=1), Act.USE),
        Event(
            30 * S,
            Target(model="robot-vacuum", region="north"),
            FaultKind.WIFI_FLAPPING,
            lasting_ns=20 * S,
        ),
        Event(60 * S, Target(firmware="2.4.1", lot="B"), FaultKind.MEMORY_LEAK),
        Event(120 * S, Target(serial="HP-001-0007"), FaultKind.BEARING_WEAR, within_ns=5400 * S),
    )


@pytest.mark.parametrize(
    ("line", "found", "expected"),
    [
        ("when 3 s: everything leaks", "when", "'at'"),
        ("at soon: everything leaks", "soon", "a number"),
        ("at 3: everything leaks", ":", "a unit of time (ms, s, min, h or d)"),
        ("at 0.0001 s: everything leaks", "0.0001", "a whole number of milliseconds"),
        ("at 3 s everything leaks", "everything", "':'"),
        ("at 3 s: cars leak", "cars", "whom it happens to"),
        ("at 3 s: 0 chargers leak", "0", "a count of at least 1"),
        ("at 3 s: 2 cars leak", "cars", "'heat pumps', 'chargers' or 'vacuums'"),
        ("at 3 s: chargers of lot", None, "a lot"),
        ("at 3 s: chargers of lot A of lot B leak", "lot", "'firmware'"),
        ("at 3 s: HP-1 explodes", "explodes", "'wears a bearing'"),
        ("at 3 s: HP-1 leaks now", "now", "'within' or 'for' or the end of the line"),
        ("at 3 s: HP-1 is used for 2 s", "for", "the end of the line"),
        ("at 3 s: HP-1 loses Wi-Fi within 2 s", "within", "'for' or the end of the line"),
    ],
)
def test_an_error_names_line_word_and_what_was_expected(
    line: str, found: str | None, expected: str
) -> None:
    with pytest.raises(ScenarioError) as caught:
        scenario.parse(f"# first\n{line}\n", "mine")
    assert caught.value.line == 2
    assert caught.value.found == found
    assert expected in caught.value.expected
    assert str(caught.value).startswith("mine, line 2: ")


def test_each_fault_has_a_scenario_that_ships() -> None:
    assert set(shipped()) == {kind.value for kind in FaultKind}
    for name in shipped():
        assert FaultKind(name) in {event.what for event in load_shipped(name).events}


def test_a_scenario_that_does_not_ship_is_told() -> None:
    with pytest.raises(UnknownScenarioError, match="bearing_wear"):
        load_shipped("meteor")
