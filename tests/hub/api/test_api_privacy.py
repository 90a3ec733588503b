"""Taking one's data along, and being erased, over HTTP."""

import io
import json
import zipfile
from typing import Any

import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from hub.ports.database.engine import read_session, write_session
from hub.ports.database.people_tables import Person
from hub.ports.database.product_tables import Product
from hub.ports.database.record_tables import Audit
from hub.services import households, letters
from hub.services.export_words import FILES
from hub.services.households import Place
from hub.services.people import HASHER
from hub.services.personal_tables import HOLDINGS
from hub.services.relations import Relation
from tests.hub.api.api_world import HOUR, START, Unit, World, ok, problem
from tests.hub.api.memory_store import Row

PASSWORD = "correct horse battery"


@pytest.fixture
def unit(world: World, ada: TestClient) -> Unit:
    world.store.rows.append(Row(1, 0, START + HOUR, 30.25, 1, epoch=1))
    unit = world.unit(ada)
    with write_session(world.hub.engine) as session:
        session.get_one(Person, world.people["ada"]).password_hash = HASHER.hash(PASSWORD)
        product = session.get_one(Product, unit.product_id)
        letters.write(session, world.owners["ada"], product, "transfer.received", START)
    return unit


def archive(client: TestClient, path: str = "/api/v1/me/export") -> dict[str, bytes]:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as found:
        assert found.testzip() is None
        return {name: found.read(name) for name in found.namelist()}


def records(files: dict[str, bytes], name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(files[f"records/{name}.json"])
    return found


def test_the_archive_has_everything_of_the_person(
    world: World, ada: TestClient, support: TestClient, unit: Unit
) -> None:
    world.subscribe("ada", unit, starts_at="2026-01-31T00:00:00Z")
    ok(support.get(f"/api/v1/products/{unit.device_id}"))
    files = archive(ada)
    readme = files["README.txt"].decode()
    assert "Everything that this hub keeps of you" in readme
    assert "Alles, was dieser Hub von Ihnen gespeichert hat" in readme
    for name in (name for name in files if name.startswith("records/")):
        assert readme.count(name) == 2
    (account,) = records(files, "account")
    assert (account["email"], account["id"]) == ("ada@example.org", "you")
    assert "password_hash" not in account
    (product,) = records(files, "products")
    assert product["serial"] == unit.serial
    assert not {"claim_code_hash", "enrolment_secret_hash"} & product.keys()
    assert records(files, "letters")[0]["code"] == "transfer.received"
    assert records(files, "subscriptions")[0]["starts_at"] == "2026-01-31T00:00:00Z"
    looked = records(files, "looks")
    assert {one["reason"] for one in looked} == {"a test"}
    assert world.people["support"] not in {one["person_id"] for one in looked}
    text = files[f"telemetry/{unit.serial}/temp_c.csv"].decode().splitlines()
    assert text[0] == '"time","value","stream","seq"'
    assert ",30.25," in text[1]
    table = pq.read_table(io.BytesIO(files[f"telemetry/{unit.serial}/temp_c.parquet"]))
    assert table.column("value").to_pylist() == [30.25]
    assert table.schema.metadata[b"unit"] == b"Cel"


def test_nobody_else_is_in_it(
    world: World, ada: TestClient, bob: TestClient, support: TestClient, unit: Unit
) -> None:
    with write_session(world.hub.engine) as session:
        person, home = world.people["bob"], world.owners["ada"]
        place = Place(Relation.OWNER)
        households.begin(session, "hub", home, person, place, START, world.hub.tokens)
    body = {"device_id": unit.device_id, "subject": "E41", "message": "It is cold, says Bob."}
    ok(bob.post("/api/v1/cases", json=body), 201)
    ok(support.get(f"/api/v1/products/{unit.device_id}"))
    whole = b"".join(archive(ada).values()).decode("utf-8", "replace")
    for name in ("bob@example.org", person, "says Bob", world.people["support"]):
        assert name not in whole, name
    own = b"".join(archive(bob).values()).decode("utf-8", "replace")
    assert "says Bob" in own
    assert "ada@example.org" not in own
    assert unit.serial in own  # the household's product is Bob's too


def test_former_owners_get_their_own_time_only(
    world: World, ada: TestClient, bob: TestClient, unit: Unit
) -> None:
    world.clock.now += 2 * HOUR
    assert ada.delete(f"/api/v1/claims/{unit.device_id}").status_code == 204
    ok(bob.post("/api/v1/claims", json={"claim_code": unit.claim_code}), 201)
    world.store.rows.append(Row(1, 0, START + 3 * HOUR, 99.5, 2, epoch=2))
    path = f"telemetry/{unit.serial}/temp_c.csv"
    hers, his = archive(ada)[path], archive(bob)[path]
    assert (b"30.25" in hers, b"99.5" in hers) == (True, False)
    assert (b"30.25" in his, b"99.5" in his) == (False, True)


def test_operators_export_for_others_and_that_is_kept(world: World, ada: TestClient) -> None:
    path = f"/api/v1/people/{world.people['ada']}/export"
    problem(ada.get(path), 403, "forbidden")
    assert records(archive(world.operator, path), "account")[0]["email"] == "ada@example.org"
    with read_session(world.hub.engine) as session:
        found = [row.action for row in session.query(Audit) if row.action.startswith("person.e")]
    assert found == ["person.export"]
    problem(world.operator.get("/api/v1/people/" + "a" * 16 + "/export"), 404, "not-found")
    problem(world.operator.get("/api/v1/me/export"), 403, "forbidden")


def test_exports_are_limited(ada: TestClient) -> None:
    statuses = [ada.get("/api/v1/me/export").status_code for _ in range(11)]
    assert statuses == [200] * 10 + [429]


def test_a_person_is_erased_by_themselves(world: World, ada: TestClient, unit: Unit) -> None:
    seen = ok(ada.get("/api/v1/me/erasure"))
    assert [one["serial"] for one in seen["released"]] == [unit.serial]
    assert seen["erasure_id"] is None
    problem(ada.post("/api/v1/me/erasure", json={"password": "wrong"}), 401, "not-authenticated")
    assert ok(ada.get("/api/v1/me"))["email"] == "ada@example.org"
    done = ok(ada.post("/api/v1/me/erasure", json={"password": PASSWORD}))
    assert done["removed"]["letters"] == 1
    assert {one["part"] for one in done["later"]} == {"telemetry", "logs", "database"}
    problem(ada.get("/api/v1/me"), 401, "not-authenticated")
    found = ok(world.operator.get(f"/api/v1/erasures/{done['erasure_id']}"))
    assert found["finished_at"] is None
    assert found["parts"] == {"telemetry": None, "logs": None, "database": None}
    again = {"email": "ada@example.org"}
    path = f"/api/v1/people/{world.people['ada']}/erasure"
    problem(world.operator.post(path, json=again), 409, "conflict")


def test_each_file_has_its_words() -> None:
    named = {holding.file for holding in HOLDINGS if holding.file}
    assert named | {"usage"} == set(FILES)
