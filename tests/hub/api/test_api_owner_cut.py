"""What a change of owner cuts off over the API: exports, and explanations of another's time."""

import csv
import io
from typing import Any

import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from hub.api.instants import text_of
from hub.services.caller import Role
from tests.hub.api.api_world import HOUR, START, Unit, World, ok, problem
from tests.hub.api.memory_store import Row

CUT = START + 4 * HOUR
"""When Ada's product became Bob's."""
LAST = START + 8 * HOUR
# number: (owner epoch that the product knew, time, whose row it is)
ROWS = {
    0: (0, START - HOUR, "ada"),  # in the shop
    1: (1, CUT - HOUR, "ada"),
    2: (1, CUT - 1, "ada"),
    3: (1, CUT, ""),  # it had not heard yet that it was sold
    4: (1, CUT + HOUR, ""),
    5: (2, CUT - 1, ""),  # a clock that is slow, or a forged pack
    6: (2, CUT, "bob"),
    7: (2, CUT + HOUR, "bob"),
}


@pytest.fixture
def sold(world: World, ada: TestClient, bob: TestClient) -> Unit:
    """Ada's product, sold to Bob, with what it measured arriving the latest first."""
    unit = world.unit(ada)
    world.subscribe("ada", unit)
    offer = f"/api/v1/products/{unit.device_id}/offer"
    world.clock.now = CUT
    offered = ok(ada.post(offer, json={"email": "bob@example.org"}), 201)
    ok(bob.post("/api/v1/offers/accept", json={"offer_id": offered["id"]}))
    world.clock.now = LAST
    for number, (epoch, time, _) in reversed(ROWS.items()):
        world.store.rows.append(
            Row(slot=1, metric=0, time=time, value=float(number), seq=number, epoch=epoch)
        )
    return unit


def path(unit: Unit, form: str, **query: str) -> str:
    """Ask for everything there can be, by stretches that nobody's ownership has."""
    whole = {"from": text_of(START - 2 * HOUR), "to": text_of(LAST), "format": form, **query}
    text = "&".join(f"{name}={value}" for name, value in whole.items())
    return f"/api/v1/products/{unit.device_id}/telemetry?metric=temp_c&{text}"


def exported(client: TestClient, unit: Unit, form: str, **query: str) -> list[dict[str, Any]]:
    answer = client.get(path(unit, form, **query))
    assert answer.status_code == 200, answer.text
    if form == "csv":
        return list(csv.DictReader(io.StringIO(answer.text)))
    table = pq.ParquetFile(io.BytesIO(answer.content)).read(use_threads=False)
    # Python has no nanoseconds, and the time is not looked at.
    rows: list[dict[str, Any]] = table.drop_columns(table.column_names[0]).to_pylist()
    return rows


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_exports_are_cut_at_the_transfer(
    world: World, ada: TestClient, bob: TestClient, sold: Unit, form: str
) -> None:
    for name, client in (("ada", ada), ("bob", bob)):
        theirs = {number for number, (_, _, whose) in ROWS.items() if whose == name}
        assert {int(row["seq"]) for row in exported(client, sold, form)} == theirs
        buckets = exported(client, sold, form, step="1h")
        assert sum(int(row["count"]) for row in buckets) == len(theirs)
        assert {float(row["last"]) for row in buckets} <= set(map(float, theirs))
    assert len(exported(world.operator, sold, form)) == len(ROWS)


def test_who_never_owned_it_gets_no_export(world: World, sold: Unit) -> None:
    cleo = world.person("cleo", Role.CUSTOMER)
    for form in ("csv", "parquet"):
        problem(cleo.get(path(sold, form)), 404, "not-found")


def test_another_owners_time_is_not_explained(
    world: World, ada: TestClient, bob: TestClient, sold: Unit
) -> None:
    asked = f"/api/v1/products/{sold.device_id}/entitlements/telemetry"
    hers, his = text_of(CUT - HOUR), text_of(CUT + HOUR)
    staffs = ok(world.operator.get(f"{asked}?at={hers}"))
    assert (staffs["owner_epoch"], staffs["decision"]["code"]) == (1, "plan")
    for query in (f"at={hers}", f"known_at={hers}", f"at={hers}&known_at={his}"):
        found = problem(bob.get(f"{asked}?{query}"), 404, "not-found")
        assert "somebody else's then" in found["detail"]
    for query in (f"at={hers}", f"at={his}", ""):  # she has no product to ask about any more
        problem(ada.get(f"{asked}?{query}"), 404, "not-found")
    assert ok(bob.get(f"{asked}?at={his}"))["owner_epoch"] == 2


def test_nor_does_the_time_between_two_owners_show_anything_of_the_first(
    world: World, ada: TestClient, bob: TestClient
) -> None:
    unit = world.unit(ada)
    plan = world.subscribe("ada", unit)
    world.clock.now = CUT
    assert ada.delete(f"/api/v1/claims/{unit.device_id}").status_code == 204
    world.clock.now = LAST
    ok(bob.post("/api/v1/claims", json={"claim_code": unit.claim_code}), 201)
    asked = f"/api/v1/products/{unit.device_id}/entitlements/telemetry"
    between = bob.get(f"{asked}?at={text_of(CUT + HOUR)}")
    assert ok(between)["decision"]["code"] == "unclaimed"
    for secret in (plan["id"], world.owners["ada"], "comfort"):
        assert secret not in between.text
