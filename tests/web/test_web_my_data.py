"""What is kept of somebody: taken along, shown before it is erased, and erased."""

import io
import json
import zipfile
from copy import deepcopy

from starlette.testclient import TestClient

from hub.services import sessions
from hub.services.export_words import FILES
from hub.services.personal_data import Keep
from hub.services.personal_tables import HOLDINGS
from hub.services.sessions import COOKIE
from hub.web.my_data import UNFILED
from tests.hub.api.api_world import CATALOGUE, World, ok
from tests.web.pages_world import browser, text_of

PASSWORD = "a harbour in the evening"


def eve(world: World) -> TestClient:
    """Return somebody whose password we know."""
    body = {"email": "eve@example.org", "name": "Eve", "role": "customer"}
    made = ok(world.operator.post("/api/v1/people", json=body), 201)
    first = world.client(_token(world, made["one_time_password"]))
    words = {"old": made["one_time_password"], "new": PASSWORD}
    assert first.put("/api/v1/me/password", json=words).is_success
    return world.client(_token(world, PASSWORD))


def _token(world: World, password: str) -> str:
    at = world.clock.now
    engine, tokens = world.hub.engine, world.hub.tokens
    return sessions.sign_in(engine, "eve@example.org", password, at, tokens).token


def test_all_that_goes_is_called_by_words() -> None:
    going = [one for one in HOLDINGS if not isinstance(one.fate, Keep)]
    names = {one.file or one.table.__tablename__ for one in going}
    assert names <= FILES.keys() | UNFILED.keys()
    assert UNFILED.keys() <= names - FILES.keys()


def test_taking_it_along(world: World, ada: TestClient) -> None:
    unit = world.unit(ada)
    client = browser(world, ada)
    assert unit.serial in text_of(client.get("/my-data"))
    answer = client.get("/my-data/export")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert any(name.endswith("account.json") for name in archive.namelist())


def test_what_was_used_is_in_it(world: World, ada: TestClient) -> None:
    catalogue = deepcopy(CATALOGUE)
    pump = catalogue["models"]["heat-pump"]
    pump["meters"] = {"energy": {"metric": "energy_kwh", "aggregation": "increase", "decimals": 1}}
    pump["features"]["boost"] = {"kind": "metered", "unit": "kW.h", "meter": "energy", "default": 9}
    ok(world.operator.post("/api/v1/catalogue", json=catalogue))
    world.unit(ada)
    answer = browser(world, ada).get("/my-data/export")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        (used,) = json.loads(archive.read("records/usage.json"))
    assert (used["meter"], used["total"]) == ("energy", "0.0")
    assert used["start"].startswith("2026-01")


def test_erasing_is_shown_before_and_needs_the_password(world: World) -> None:
    person = eve(world)
    unit = world.unit(person)
    client = browser(world, person)
    text = text_of(client.get("/my-data/erase"))
    assert "Nothing has been erased yet." in text
    assert f"{unit.serial} belongs to nobody then" in text
    assert "Your account 1" in text
    refused = client.post("/my-data/erase", data={"password": "a wrong one"})
    assert refused.status_code == 401
    assert "Nothing was erased." in text_of(refused)
    done = client.post("/my-data/erase", data={"password": PASSWORD})
    assert "You have been erased" in text_of(done)
    assert COOKIE in done.headers["set-cookie"]
    assert "Sign out" not in done.text
    assert client.get("/my-data").headers["location"].startswith("/sign-in")


def test_german(world: World, ada: TestClient) -> None:
    client = browser(world, ada)
    client.headers["Cookie"] += "; __Host-homeport-language=de"
    text = text_of(client.get("/my-data/erase"))
    assert "Ihr Konto 1" in text
    assert "das Gesetz verlangt" in text
