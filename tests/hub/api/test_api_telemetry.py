import io
import json

import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from entitlements.gate import Quarantine
from hub.api import telemetry_query
from tests.hub.api.api_world import DAY, HOUR, SECOND, START, Unit, World, ok, problem
from tests.hub.api.memory_store import Row

MINUTE = 60 * SECOND


@pytest.fixture
def unit(world: World, ada: TestClient) -> Unit:
    """Ada's product with four readings in the last hour."""
    unit = world.unit(ada)
    for index, value in enumerate((20.0, 21.0, 23.0, 22.0)):
        time = START - HOUR + index * 15 * MINUTE
        world.store.rows.append(Row(slot=1, metric=0, time=time, value=value, seq=index))
    return unit


def path(unit: Unit, **query: str | int) -> str:
    text = "&".join(f"{name}={value}" for name, value in {"metric": "temp_c", **query}.items())
    return f"/api/v1/products/{unit.device_id}/telemetry?{text}"


def test_rows_of_the_last_day(ada: TestClient, unit: Unit) -> None:
    answer = ok(ada.get(path(unit)))
    assert answer == {
        "device_id": unit.device_id,
        "model": "heat-pump",
        "metric": "temp_c",
        "unit": "Cel",
        "from": "2026-01-30T08:00:00Z",
        "to": "2026-01-31T08:00:00Z",
        "step": None,
        "next": None,
        "time": [
            "2026-01-31T07:00:00Z",
            "2026-01-31T07:15:00Z",
            "2026-01-31T07:30:00Z",
            "2026-01-31T07:45:00Z",
        ],
        "value": [20.0, 21.0, 23.0, 22.0],
        "stream": ["0000000000000001"] * 4,
        "seq": [0, 1, 2, 3],
    }


def test_buckets(ada: TestClient, unit: Unit) -> None:
    answer = ok(ada.get(path(unit, step="30m")))
    assert answer["step"] == "30m"
    assert answer["start"] == ["2026-01-31T07:00:00Z", "2026-01-31T07:30:00Z"]
    assert answer["count"] == [2, 2]
    assert answer["min"] == [20.0, 22.0]
    assert answer["max"] == [21.0, 23.0]
    assert answer["mean"] == [20.5, 22.5]
    assert answer["last"] == [21.0, 22.0]


def test_pages_of_rows_cover_the_range_once(world: World, ada: TestClient, unit: Unit) -> None:
    seen: list[int] = []
    after = ""
    while True:
        page = ok(ada.get(path(unit, limit=3) + after))
        seen += page["seq"]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert seen == [0, 1, 2, 3]
    other = path(unit, limit=3).replace("temp_c", "energy_kwh")
    cursor = ok(ada.get(path(unit, limit=3)))["next"]
    problem(ada.get(f"{other}&after={cursor}"), 422, "invalid-input")


def test_csv_by_accept_and_by_format(ada: TestClient, unit: Unit) -> None:
    by_accept = ada.get(path(unit), headers={"Accept": "text/csv"})
    by_format = ada.get(path(unit, format="csv"))
    assert by_accept.text == by_format.text
    assert by_accept.headers["content-type"].startswith("text/csv")
    assert by_accept.headers["content-disposition"].endswith(f'"{unit.device_id}-temp_c.csv"')
    lines = by_accept.text.splitlines()
    assert lines[0] == '"time","value","stream","seq"'
    assert lines[1] == '"2026-01-31T07:00:00.000000000Z",20,"0000000000000001",0'
    assert len(lines) == 5


def test_an_export_has_all_pages(
    ada: TestClient, unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry_query, "EXPORT_PAGE_ROWS", 3)
    answer = ada.get(path(unit, format="parquet"))
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    file = pq.ParquetFile(io.BytesIO(answer.content))
    assert file.num_row_groups == 2
    table = file.read(use_threads=False)
    assert table["seq"].to_pylist() == [0, 1, 2, 3]
    assert table.schema.metadata[b"unit"] == b"Cel"
    assert len(ada.get(path(unit, format="csv", limit=2)).text.splitlines()) == 3
    nothing = ada.get(path(unit, format="parquet", to="2020-01-01T00:00:00Z"))
    assert pq.ParquetFile(io.BytesIO(nothing.content)).metadata.num_rows == 0


def test_buckets_can_be_exported_too(ada: TestClient, unit: Unit) -> None:
    lines = ada.get(path(unit, format="csv", step="1h")).text.splitlines()
    assert lines[0] == '"start","count","min","max","mean","first","last"'
    assert lines[1] == '"2026-01-31T07:00:00.000000000Z",4,20,23,21.5,20,22'


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"from": "2026-01-31T08:00:00Z", "to": "2026-01-31T08:00:00Z"}, None),
        ({"from": "2026-01-31T09:00:00Z"}, None),
        ({"from": "yesterday"}, "from"),
        ({"from": "2026-01-31"}, "from"),
        ({"to": "9999-12-31T23:59:59Z"}, "to"),
        ({"step": "0s"}, "step"),
        ({"step": "-5m"}, "step"),
        ({"step": "5 parsecs"}, "step"),
        ({"step": "999999999d"}, None),
        ({"from": "1700-01-01T00:00:00Z", "step": "1s"}, None),
        (
            {"from": "1677-09-21T00:12:43.145224193Z", "to": "1677-10-01T00:00:00Z", "step": "1d"},
            None,
        ),
        ({"limit": 0}, "limit"),
        ({"limit": 10**9}, "limit"),
        ({"metric": "Temp C"}, "metric"),
        ({"format": "xml"}, "format"),
        ({"after": "garbage"}, None),
        ({"after": "x", "format": "csv"}, None),
    ],
)
def test_absurd_questions_are_refused(
    ada: TestClient, unit: Unit, query: dict[str, str | int], pointer: str | None
) -> None:
    found = problem(ada.get(path(unit, **query)), 422, "invalid-input")
    if pointer is not None:
        assert [error["pointer"] for error in found["errors"]] == [pointer]


def test_the_whole_of_time_can_be_asked_for(ada: TestClient, unit: Unit) -> None:
    whole = {"from": "1677-09-21T00:12:43.145224192Z", "to": "2262-04-11T23:47:16.854775807Z"}
    assert len(ok(ada.get(path(unit, **whole)))["seq"]) == 4


def test_an_unknown_metric_and_an_unsuitable_type(ada: TestClient, unit: Unit) -> None:
    problem(ada.get(path(unit, metric="pressure_pa")), 404, "not-found")
    answer = ada.get(path(unit), headers={"Accept": "text/html"})
    assert "text/csv" in problem(answer, 406, "not-acceptable")["available"]


def test_a_lapsed_customers_rows_show_when_the_plan_is_renewed(
    world: World, ada: TestClient, unit: Unit
) -> None:
    world.store.rows.append(Row(1, 0, START - MINUTE, 25.0, 4, reason=int(Quarantine.LAPSED)))
    world.store.rows.append(Row(1, 0, START - 30 * SECOND, 99.0, 5, reason=int(Quarantine.CLONE)))
    assert ok(ada.get(path(unit)))["seq"] == [0, 1, 2, 3]
    assert ok(world.operator.get(path(unit)))["seq"] == [0, 1, 2, 3, 4, 5]
    world.subscribe("ada", unit)
    assert ok(ada.get(path(unit)))["seq"] == [0, 1, 2, 3, 4]


def test_the_next_owner_does_not_see_the_last_ones_rows(
    world: World, ada: TestClient, bob: TestClient, unit: Unit
) -> None:
    assert ada.delete(f"/api/v1/claims/{unit.device_id}").status_code == 204
    assert len(ok(ada.get(path(unit)))["time"]) == 4  # what is theirs stays theirs
    ok(bob.post("/api/v1/claims", json={"claim_code": unit.claim_code}), 201)
    world.store.rows.append(
        Row(1, 0, START - SECOND, 30.0, 8, epoch=2)
    )  # with a clock that is slow
    world.store.rows.append(Row(1, 0, START, 30.0, 9, epoch=2))
    world.clock.now += SECOND
    assert ok(bob.get(path(unit)))["seq"] == [9]


def test_the_fleet_together(world: World, support: TestClient, unit: Unit) -> None:
    world.unit()
    world.store.rows.append(Row(slot=2, metric=0, time=START - HOUR, value=30.0, seq=0))
    answer = ok(support.get("/api/v1/fleet/telemetry?model=heat-pump&metric=temp_c&step=1d"))
    assert answer["device_id"] is None
    assert (answer["count"], answer["max"]) == ([5], [30.0])
    problem(support.get("/api/v1/fleet/telemetry?model=toaster&metric=temp_c"), 404, "not-found")


def test_a_store_that_fails_is_a_problem_and_not_a_broken_file(
    world: World, ada: TestClient, unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("the disk is on fire at /secret/path")

    monkeypatch.setattr(type(world.store), "range", fail)
    answer = ada.get(path(unit, format="csv"))
    problem(answer, 500, "internal")
    assert "secret" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_days_chart_is_whole(world: World, ada: TestClient, unit: Unit) -> None:
    world.store.rows[:] = [
        Row(1, 0, START - DAY + minute * MINUTE, float(minute), minute) for minute in range(1_440)
    ]
    answer = json.loads(ada.get(path(unit, step="1m")).content)
    assert len(answer["start"]) == len(answer["mean"]) == 1_440
