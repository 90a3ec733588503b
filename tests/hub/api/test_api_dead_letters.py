"""Dead letters: found, shown, and handed back once."""

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from hub.ports.database.engine import write_session
from hub.ports.database.record_tables import DeadLetter
from hub.services.replays import Replay, replays_in
from tests.hub.api.api_world import START, World, ok


def _bury(world: World, letter_offset: int, **what: Any) -> str:
    fields: dict[str, Any] = {
        "at": START,
        "slot": 1,
        "channel": "json",
        "reason": 5,
        "hash": bytes(32),
        "size": 16,
        "sample": b'{"temp_c": 21.5}',
        "detail": "the product model has no metric 'temp_c'",
    }
    with write_session(world.hub.engine) as session:
        session.add(
            DeadLetter(log="deadletters/0", offset=letter_offset, position=0, **fields | what)
        )
    return f"0-{letter_offset}-0"


def test_dead_letters_are_found_by_reason_and_time_and_shown_with_their_content(
    world: World, support: TestClient
) -> None:
    world.unit()
    wanted = _bury(world, 0)
    _bury(world, 64, reason=1, at=START + 10**9, sample=b"\xff", size=1)
    by_reason = ok(support.get("/api/v1/deadletters?reason=unknown_metric"))["items"]
    assert [letter["id"] for letter in by_reason] == [wanted]
    until = by_reason[0]["at"]
    assert ok(support.get(f"/api/v1/deadletters?until={until}"))["items"] == []
    assert len(ok(support.get(f"/api/v1/deadletters?since={until}"))["items"]) == 2
    assert support.get("/api/v1/deadletters?reason=bad_luck").status_code == 422
    shown = ok(support.get(f"/api/v1/deadletters/{wanted}"))
    assert shown["content"] == {"temp_c": 21.5}
    assert shown["detail"] == "the product model has no metric 'temp_c'"
    assert ok(support.get("/api/v1/deadletters/0-64-0"))["content"] is None
    assert support.get("/api/v1/deadletters/0-65-0").status_code == 404


def test_a_dead_letter_is_handed_back_once_and_that_is_audited(
    world: World, support: TestClient, tmp_path: Path
) -> None:
    unit = world.unit()
    object.__setattr__(world.hub, "data_dir", tmp_path)
    wanted = _bury(world, 0, rows={"stream": "00000000000000ff", "ranges": [[3, 5]]})
    path = f"/api/v1/deadletters/{wanted}/replay"
    assert support.post(path).status_code == 403
    assert ok(world.operator.post(path))["replayed_at"] is not None
    (order,) = replays_in(tmp_path / "deadletters" / "0" / "replay")
    replay = Replay.read(order)
    assert replay.topic.endswith(f"/{unit.device_id}/up/json")
    assert (replay.payload, replay.stream, replay.rows) == (b'{"temp_c": 21.5}', 255, ((3, 5),))
    assert world.operator.post(path).status_code == 409
    acts = ok(world.operator.get(f"/api/v1/audit?object=device:{unit.device_id}"))["items"]
    assert [(act["action"], act["details"]["letter"]) for act in acts] == [
        ("deadletter.replay", wanted)
    ]


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ({"reason": 8}, "other rows are stored"),
        ({"slot": 0}, "no enrolled device"),
        ({"size": 17}, "only its first 16 of 17 bytes"),
    ],
)
def test_what_cannot_be_replayed_says_why(
    world: World, tmp_path: Path, what: dict[str, int], why: str
) -> None:
    world.unit()
    object.__setattr__(world.hub, "data_dir", tmp_path)
    refused = world.operator.post(f"/api/v1/deadletters/{_bury(world, 0, **what)}/replay")
    assert refused.status_code == 409
    assert why in refused.json()["detail"]
    assert not list(tmp_path.rglob("*.letter"))


def test_readiness_says_what_does_not_work(world: World, support: TestClient) -> None:
    assert ok(support.get("/readyz")) == {"status": "ok", "problems": []}
    object.__setattr__(world.hub, "problems", lambda: ["Worker 0 takes no telemetry."])
    assert ok(support.get("/readyz")) == {
        "status": "degraded",
        "problems": ["Worker 0 takes no telemetry."],
    }
