"""What the pages say to customers and support."""

from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
from babel import Locale
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from device_sdk.wire.messages import Reported
from firmware_sim import catalogue as simulated
from hub.api import instants
from hub.ports.database.engine import write_session
from hub.ports.database.people_tables import Person
from hub.ports.database.product_tables import Device, Product
from hub.services import contacts
from hub.services.people import HASHER
from hub.services.quantities import plain, symbol
from hub.services.sessions import COOKIE
from hub.web import languages
from hub.web.formats import Formats
from hub.web.sentences import Sentences
from tests.hub.api.api_world import SECOND, START, Unit, World, ok
from tests.hub.api.memory_store import Row
from tests.web.pages_world import browser, measured, noticed, text_of

MS = 1_000_000


@pytest.fixture
def unit(world: World, ada: TestClient) -> Unit:
    unit = world.unit(ada)
    world.subscribe("ada", unit)
    measured(world, unit)
    online(world, unit)
    return unit


def online(world: World, unit: Unit, *, here: bool = True) -> None:
    with write_session(world.hub.engine) as session:
        device = session.query(Device).filter_by(product_id=unit.product_id).one()
        device.online, device.last_contact, device.firmware = here, world.clock.now, "2.4.0"


def test_signing_in_and_out(world: World, ada: TestClient) -> None:
    client = browser(world)
    assert client.get("/products/" + "a" * 16).headers["location"].startswith("/sign-in?next=")
    wrong = client.post("/sign-in", data={"email": "ada@example.org", "password": "no"})
    assert wrong.status_code == 401
    assert "do not fit" in text_of(wrong)
    new = "correct horse battery"
    token = ada.headers["Authorization"].removeprefix("Bearer ")
    with write_session(world.hub.engine) as session:
        person = session.query(Person).filter_by(email="ada@example.org").one()
        person.password_hash = HASHER.hash(new)
        person.password_one_time = False
    form = {"email": " Ada@Example.org ", "password": new, "next": "/claim"}
    right = client.post("/sign-in", data=form)
    assert (right.status_code, right.headers["location"]) == (303, "/claim")
    assert right.cookies[COOKIE] != token
    flags = right.headers["set-cookie"].lower()
    assert all(flag in flags for flag in ("secure", "httponly", "samesite=strict", "path=/"))
    client.headers["Cookie"] = f"{COOKIE}={right.cookies[COOKIE]}"
    assert client.get("/").status_code == 200
    assert client.post("/sign-out").headers["location"] == "/sign-in"
    assert client.get("/").headers["location"] == "/sign-in"


def test_guessing_is_slowed_down(world: World) -> None:
    client = browser(world)
    for _ in range(5):
        client.post("/sign-in", data={"email": "x@example.org", "password": "no"})
    answer = client.post("/sign-in", data={"email": "x@example.org", "password": "no"})
    assert answer.status_code == 429
    assert "Too many attempts. Try again in 1 min." in text_of(answer)


def test_a_password_of_ones_own(world: World, ada: TestClient) -> None:
    client = browser(world, ada)
    assert "one-time password" in text_of(client.get("/password"))
    differ = client.post("/password", data={"old": "x", "new": "a" * 12, "again": "b" * 12})
    assert "differ" in text_of(differ)
    short = client.post("/password", data={"old": "x", "new": "a", "again": "a"})
    assert "12 to 256" in text_of(short)
    wrong = client.post("/password", data={"old": "x", "new": "a" * 12, "again": "a" * 12})
    assert "not right" in text_of(wrong)


def test_home_without_products(world: World, ada: TestClient) -> None:
    assert "Claim your first product" in text_of(browser(world, ada).get("/"))


def test_everything_is_fine(world: World, ada: TestClient, unit: Unit) -> None:
    text = text_of(browser(world, ada).get("/"))
    assert "Everything is fine. Your product is doing well." in text
    assert "Connected" in text


def test_one_problem_with_one_button(world: World, ada: TestClient, unit: Unit) -> None:
    alert = noticed(world)
    client = browser(world, ada)
    answer = client.get("/")
    assert "Flow temperature is 71.5\u00a0°C, above its limit of 70\u00a0°C." in answer.text
    assert answer.text.count('class="button"') == 1
    assert f'href="/products/{unit.product_id}#alerts"' in answer.text
    onward = client.post(f"/alerts/{alert}/acknowledge", data={"next": "/x#alerts"})
    assert onward.headers["location"] == "/x#alerts"
    assert "Somebody looks after it" in text_of(client.get(f"/products/{unit.product_id}"))
    client.post(f"/alerts/{alert}/resolve")
    assert "Everything is fine." in text_of(client.get("/"))


def test_a_product_that_is_silent(world: World, ada: TestClient, unit: Unit) -> None:
    online(world, unit, here=False)
    world.clock.now += 3_600 * SECOND
    text = text_of(browser(world, ada).get("/"))
    assert "It has not been in contact since" in text
    page = text_of(browser(world, ada).get(f"/products/{unit.product_id}"))
    assert "Is it switched on?" in page


def test_a_plan_that_lapsed_says_so(world: World, ada: TestClient, unit: Unit) -> None:
    other = world.unit(ada)
    online(world, other)
    world.subscribe(
        "ada", other, starts_at="2025-01-01T00:00:00Z", paid_until="2025-12-01T00:00:00Z"
    )
    text = text_of(browser(world, ada).get(f"/products/{other.product_id}"))
    assert "lapsed on" in text
    assert "because it was not renewed" in text
    assert "Frost" in text
    assert "This is a safety function: it is always available." in text


def test_the_product_page(world: World, ada: TestClient, unit: Unit) -> None:
    text = text_of(browser(world, ada).get(f"/products/{unit.product_id}"))
    assert "44.9 °C" in text
    assert "Flow temperature: 50 values from" in text
    assert "between 40\u00a0°C and 44.9\u00a0°C" in text.replace(" °C", "\u00a0°C")
    assert "Part of plan comfort" in text
    assert "No notices." in text


def test_the_next_owner_sees_nothing_of_before(
    world: World, ada: TestClient, bob: TestClient, unit: Unit
) -> None:
    noticed(world)
    ada.delete(f"/api/v1/claims/{unit.device_id}")
    assert browser(world, ada).get(f"/products/{unit.product_id}").status_code == 404
    bob.post("/api/v1/claims", json={"claim_code": unit.claim_code})
    text = text_of(browser(world, bob).get(f"/products/{unit.product_id}"))
    assert "71.5" not in text
    assert "No notices." in text
    assert "44.9" not in text


def test_claiming(world: World, ada: TestClient, bob: TestClient) -> None:
    unit = world.unit()
    client = browser(world, ada)
    nothing = client.post("/claim", data={"serial": unit.serial, "code": ""})
    assert "Type the claim code" in text_of(nothing)
    wrong = client.post("/claim", data={"serial": unit.serial, "code": "AAAA-BBBB-CCCC"})
    assert wrong.status_code == 404
    assert "do not fit any product" in text_of(wrong)
    assert unit.serial in wrong.text
    form = {"serial": unit.serial, "code": unit.claim_code.lower()}
    right = client.post("/claim", data=form)
    assert right.headers["location"] == f"/products/{unit.product_id}?claimed=1"
    said = client.get(right.headers["location"])
    assert "It is yours now." in text_of(said)
    # The first event replaces `#status`, and what was said must not go with it.
    assert said.text.index("It is yours now.") < said.text.index('id="status"')
    taken = browser(world, bob).post("/claim", data=form)
    assert taken.status_code == 409
    assert "has an owner already" in text_of(taken)
    for _ in range(10):
        client.post("/claim", data={"serial": "X", "code": "AAAA-BBBB-CCCC"})
    answer = client.post("/claim", data={"serial": "X", "code": "AAAA-BBBB-CCCC"})
    assert answer.status_code == 429
    assert "Too many wrong codes. Try again in 60 min." in text_of(answer)


@pytest.mark.parametrize("by", ["serial", "email", "order", "device_id", "product_id"])
def test_looking_a_product_up(world: World, support: TestClient, unit: Unit, by: str) -> None:
    with write_session(world.hub.engine) as session:
        session.get_one(Product, unit.product_id).order_reference = "SO-4711"
    said = {
        "serial": unit.serial,
        "email": "ADA@example.org",
        "order": "SO-4711",
        "device_id": unit.device_id,
        "product_id": unit.product_id,
    }
    answer = browser(world, support).get("/support", params={"q": said[by]})
    assert f'href="/support/products/{unit.product_id}"' in answer.text
    nothing = browser(world, support).get("/support", params={"q": "nowhere"})
    assert "Nothing fits." in text_of(nothing)


def test_one_screen_for_support(world: World, support: TestClient, unit: Unit) -> None:
    noticed(world)
    answer = browser(world, support).get(f"/support/products/{unit.product_id}")
    text = text_of(answer)
    for part in ["Owner", "Plan", "Connection", "Firmware", "Entitlement", "What happened"]:
        assert part in text
    for happened in [
        "The product was told: Flow temperature is 71.5",
        "Plan comfort began",
        "Claimed by ada",
        f"Enrolled as {unit.device_id}",
        "Made",
    ]:
        assert happened in text, happened
    assert "ada@example.org" in text
    assert "The product believes the same." in text


def test_a_product_that_believes_otherwise(world: World, support: TestClient, unit: Unit) -> None:
    with write_session(world.hub.engine) as session:
        session.query(Device).one().entitlement_version = 3
    text = text_of(browser(world, support).get(f"/support/products/{unit.product_id}"))
    assert "has not confirmed the latest decision yet" in text


def test_a_chart_has_no_more_points_than_pixels(world: World, ada: TestClient, unit: Unit) -> None:
    end = START // MS
    answer = (
        browser(world, ada)
        .get(
            f"/products/{unit.product_id}/series?metric=temp_c&start={end - 3_600_000}&end={end}&columns=10"
        )
        .json()
    )
    assert len(answer["time"]) <= 11
    assert min(answer["min"]) == 40.0
    assert max(answer["max"]) == 44.9
    assert "50 values" in answer["sentence"]
    assert len(answer["rows"]) <= 25


def test_a_chart_marks_what_was_found(world: World, ada: TestClient, unit: Unit) -> None:
    noticed(world)
    end = START // MS
    path = f"/products/{unit.product_id}/series?metric=temp_c&start={end - 3_600_000}&end={end}"
    (found,) = browser(world, ada).get(path).json()["findings"]
    assert found["severity"] == "critical"
    assert found["sentence"] == ("Flow temperature is 71.5\u00a0°C, above its limit of 70\u00a0°C.")
    early = browser(world, ada).get(path.replace(f"end={end}", f"end={end - 3_000_000}"))
    assert early.json()["findings"] == []


@pytest.mark.parametrize(
    "query", ["metric=temp_c&start=5&end=5", "metric=x&start=0", "metric=temp_c&start=9&end=1"]
)
def test_a_range_that_is_none_is_refused(
    world: World, ada: TestClient, unit: Unit, query: str
) -> None:
    answer = browser(world, ada).get(f"/products/{unit.product_id}/series?{query}")
    assert answer.status_code in {404, 422}


def test_times_are_in_the_zone_of_the_person(world: World, ada: TestClient, unit: Unit) -> None:
    with write_session(world.hub.engine) as session:
        session.query(Person).filter_by(email="ada@example.org").one().zone = "Asia/Tokyo"
    text = text_of(browser(world, ada).get(f"/products/{unit.product_id}"))
    assert "Last heard of 31 Jan 2026, 17:00" in text  # 08:00 in UTC


def test_what_is_found_on_a_counter_is_said_per_hour() -> None:
    said = Sentences(languages.load()["en"], Formats(Locale.parse("en_GB"), ZoneInfo("UTC")))
    arguments = {"observed": 0.001, "expected_low": 0.0001, "expected_high": 0.0005}
    about = ("energy_kwh", "Energy used", "kW.h")
    plain = said.finding("finding.spike.above", arguments, *about)
    assert plain.startswith("Energy used jumped to 0.001\u00a0kWh;")
    said = replace(said, counters=frozenset({"energy_kwh"}))
    rate = said.finding("finding.spike.above", arguments, *about)
    assert rate == "Energy used jumped to 3.6\u00a0kWh/h; 1.8\u00a0kWh/h or less was expected."
    count = said.finding("finding.counter_reset", {"observed": 3.0}, *about)
    assert count == "Energy used fell back to 3\u00a0kWh, although it can only rise."


@pytest.mark.parametrize(
    ("unit", "shown"),
    [
        ("Cel", "°C"),
        ("dB{mW}", "dBm"),
        ("kBy", "kB"),
        ("{rotation}/min", "rpm"),
        ("L/min", "l/min"),
        ("m3/h", "m³/h"),
        ("kW.h", "kWh"),
        ("kW.h/h", "kWh/h"),
        ("{count}", ""),
        ("m/s2", "m/s2"),
        ("N.m", "N·m"),
        ("1", ""),
        ("", ""),
    ],
)
def test_units_are_shown_by_their_usual_symbols(unit: str, shown: str) -> None:
    assert symbol(unit) == shown


def test_every_unit_of_the_demo_is_shown_without_the_signs_of_ucum() -> None:
    models = simulated.document()["models"]
    units = {metric["unit"] for model in models.values() for metric in model["metrics"]}
    assert len(units) > 10
    for unit in units:
        assert not set("{}[]") & set(symbol(unit)), unit


@given(st.floats(-1e9, 1e9))
def test_a_number_has_three_digits_that_say_something(value: float) -> None:
    text = Formats(Locale.parse("en_GB"), ZoneInfo("UTC")).number(value)
    read = float(text.replace(",", ""))
    assert read == pytest.approx(value, rel=0.005 + 1e-9, abs=5.1e-7)
    _, _, decimals = text.partition(".")
    assert not decimals.endswith("0")
    if abs(value) >= 100:
        assert not decimals
    assert plain(value, "") == text.replace(",", "")


def test_the_headline_says_what_the_metric_reads_now(
    world: World, ada: TestClient, support: TestClient, unit: Unit
) -> None:
    noticed(world)
    world.store.rows.append(Row(slot=1, metric=0, time=START - SECOND, value=75.25, seq=99))
    for client, path in [
        (ada, "/"),
        (ada, f"/products/{unit.product_id}"),
        (support, f"/support/products/{unit.product_id}"),
    ]:
        text = text_of(browser(world, client).get(path))
        assert "Flow temperature is 71.5\u00a0°C, above its limit of 70\u00a0°C." in text.replace(
            "71.5 °C", "71.5\u00a0°C"
        ).replace("70 °C", "70\u00a0°C")
        assert "Now: 75.2" in text


def test_the_present_value_is_left_out_where_it_says_nothing(
    world: World, ada: TestClient, unit: Unit
) -> None:
    alert = noticed(world)  # measured 60 s ago, and so is the newest value
    client = browser(world, ada)
    assert "Now:" not in text_of(client.get(f"/products/{unit.product_id}"))
    world.store.rows.append(Row(slot=1, metric=0, time=START - SECOND, value=75.25, seq=99))
    assert "Now:" in text_of(client.get(f"/products/{unit.product_id}"))
    assert client.post(f"/alerts/{alert}/resolve").status_code == 303
    assert "Now:" not in text_of(client.get(f"/products/{unit.product_id}"))


def test_support_puts_a_product_on_hold_and_lifts_it(
    world: World, ada: TestClient, support: TestClient, unit: Unit
) -> None:
    client = browser(world, support)
    page = f"/support/products/{unit.product_id}"
    form = {"kind": "payment", "reason": "charged back", "days": "3"}
    placed = client.post(f"{page}/holds", data=form)
    assert (placed.status_code, placed.headers["location"]) == (303, f"{page}#plan")
    text = text_of(client.get(page))
    assert "payment : charged back" in text
    assert "Put on hold (payment): charged back" in text  # on the line of time
    assert "Blocked since" in text_of(browser(world, ada).get(f"/products/{unit.product_id}"))
    assert "charged back" not in text_of(browser(world, ada).get(f"/products/{unit.product_id}"))
    (hold,) = ok(support.get(f"/api/v1/products/{unit.product_id}/holds"))["holds"]
    lifted = client.post(f"/support/holds/{hold['id']}/lift")
    assert lifted.headers["location"] == f"{page}#plan"
    world.clock.now += SECOND
    assert "payment : charged back" not in text_of(client.get(page))
    assert "Blocked since" not in text_of(browser(world, ada).get(f"/products/{unit.product_id}"))


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"kind": "payment", "reason": " "},
        {"kind": "mood", "reason": "x"},
        {"kind": "payment", "reason": "x", "days": "0"},
        {"kind": "payment", "reason": "x", "days": "soon"},
        {"kind": "payment", "reason": "x" * 201},
    ],
)
def test_a_hold_that_makes_no_sense_is_refused_in_words(
    world: World, support: TestClient, unit: Unit, form: dict[str, str]
) -> None:
    client = browser(world, support)
    refused = client.post(f"/support/products/{unit.product_id}/holds", data=form)
    assert refused.status_code == 303
    page = client.get(refused.headers["location"])
    assert "A hold needs a reason" in text_of(page)
    assert ok(support.get(f"/api/v1/products/{unit.product_id}/holds"))["holds"] == []


def test_a_configuration_is_as_wanted_when_the_product_says_so(
    world: World, support: TestClient, unit: Unit
) -> None:
    path = f"/api/v1/products/{unit.device_id}/configuration"
    ok(support.patch(path, json={"values": {"eco": True, "offset_k": -1.5}}))
    client, page = browser(world, support), f"/support/products/{unit.product_id}"
    with write_session(world.hub.engine) as session:
        device = session.query(Device).filter_by(product_id=unit.product_id).one()
        told, version = device.state_version, device.entitlement_version
    text = text_of(client.get(page))
    assert "not yet in force" in text
    assert "Configuration asked for: eco true, offset_k -1.5" in text
    world.clock.now += SECOND
    applied = Reported(told, {"eco": True, "offset_k": -1.5, "own": 1}, version, {})
    with write_session(world.hub.engine) as session:
        contacts.reported(session, unit.device_id, applied, world.clock.now)
    text = text_of(client.get(page))
    assert "as wanted" in text
    assert "The product has the configuration in force" in text


def test_who_was_guessed_at_is_told_so(world: World, ada: TestClient) -> None:
    assert ok(ada.get("/api/v1/sessions"))["guessed_at"] == []
    body = {"email": "ada@example.org", "password": "wrong"}
    for _ in range(5):
        assert world.anonymous.post("/api/v1/sessions", json=body).status_code == 401
    at = ok(ada.get("/api/v1/sessions"))["guessed_at"]
    assert at == [instants.text_of(world.clock.now)]
    for path in ("/", "/account"):
        page = browser(world, ada).get(path)
        assert "guessed at your password" in text_of(page)
