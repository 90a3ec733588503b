"""Usage told over the API: every element of a batch is answered by itself, whatever it is."""

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from hub.services.usage_events import MOST
from tests.hub.api.api_world import CATALOGUE, Unit, World, ok, problem

GOOD = {"id": "print-1", "meter": "pages", "quantity": "3"}
BAD: dict[str, Any] = {
    "a number": 5,
    "nothing": None,
    "no id": {"meter": "pages", "quantity": 1},
    "an id of blanks": {**GOOD, "id": "a b"},
    "half a character": {**GOOD, "id": "\ud800"},
    "another field": {**GOOD, "colour": "red"},
    "no meter": {**GOOD, "meter": "Pages!"},
    "truth": {**GOOD, "quantity": True},
    "not a number": {**GOOD, "quantity": "NaN"},
    "infinity": {**GOOD, "quantity": float("inf")},
    "billions of digits": {**GOOD, "quantity": "1e999999999"},
    "hardly anything": {**GOOD, "quantity": "1e-999999999"},
    "digits that rounding would hide": {**GOOD, "quantity": "1." + "0" * 30 + "1"},
    "a day that does not exist": {**GOOD, "at": "2026-02-30T08:00:00Z"},
    "a time of nowhere": {**GOOD, "at": "2026-01-30T08:00:00"},
}


@pytest.fixture
def path(world: World, ada: TestClient) -> str:
    metrics = CATALOGUE["models"]["heat-pump"]["metrics"]
    meters = {"pages": {"metric": metrics[0]["name"], "aggregation": "count"}}
    model = {**CATALOGUE["models"]["heat-pump"], "meters": meters}
    ok(world.operator.post("/api/v1/catalogue", json={"models": {"heat-pump": model}}))
    unit: Unit = world.unit(ada)
    return f"/api/v1/products/{unit.device_id}"


def tell(world: World, path: str, events: list[Any]) -> dict[str, Any]:
    body = json.dumps({"events": events})  # not strict: also what JSON does not have
    headers = {"Content-Type": "application/json"}
    found: dict[str, Any] = ok(
        world.operator.post(f"{path}/usage-events", content=body, headers=headers)
    )
    return found


def test_what_is_no_event_is_rejected_and_the_rest_is_taken(world: World, path: str) -> None:
    events = [one for bad in BAD.values() for one in (bad, GOOD)]
    answer = tell(world, path, events)
    fates = [one["fate"] for one in answer["events"]]
    repeats = len(BAD) - 1
    assert fates == ["rejected", "accepted", *["rejected", "duplicate"] * repeats]
    assert (answer["accepted"], answer["duplicates"], answer["rejected"]) == (1, repeats, len(BAD))
    why = {name: one["why"] for name, one in zip(BAD, answer["events"][::2], strict=True)}
    assert all(why.values()), why
    assert "at" in why["a time of nowhere"]
    assert "decimals" in why["digits that rounding would hide"]
    usage = ok(world.operator.get(f"{path}/usage"))["usage"]
    assert [(one["meter"], one["total"]) for one in usage] == [("pages", "3")]


@pytest.mark.parametrize(
    ("events", "says"), [([], "at least 1"), ([GOOD] * (MOST + 1), f"at most {MOST}")]
)
def test_a_batch_has_limits_and_says_them(
    world: World, path: str, events: list[Any], says: str
) -> None:
    answer = world.operator.post(f"{path}/usage-events", json={"events": events})
    found = problem(answer, 422, "invalid-input")
    assert says in found["errors"][0]["detail"]


def test_a_batch_that_is_too_large_is_refused_before_it_is_read(world: World, path: str) -> None:
    events = [{**GOOD, "id": "x" * 180 + str(n)} for n in range(MOST)]
    answer = world.operator.post(f"{path}/usage-events", json={"events": events})
    assert "1048576" in problem(answer, 413, "body-too-large")["detail"]
    assert tell(world, path, [events[0]])["accepted"] == 1
