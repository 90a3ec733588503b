import pytest
from sqlalchemy import text

from hub.errors import ForbiddenError
from hub.ports.database.engine import read_session, write_session
from hub.services import audit
from hub.services.caller import HUB
from tests.hub.services.service_world import T0, World


def fill(world: World) -> audit.Head:
    with write_session(world.engine) as session:
        for number in range(5):
            details = {"ä": [number, None, 0.1], "b": "x"}
            audit.record(session, T0 + number, "hub", "test.act", f"thing:{number}", details)
        return audit.head(session)


def verified(world: World, noted: audit.Head | None = None) -> int | None:
    with read_session(world.engine) as session:
        return audit.verify(session, noted)


def test_a_whole_chain_verifies(world: World) -> None:
    head = fill(world)
    assert verified(world, head) is None


@pytest.mark.parametrize(
    ("change", "bad"),
    [
        ("UPDATE audit SET actor = 'person:eve' WHERE id = 3", 3),
        ("UPDATE audit SET details = '{}' WHERE id = 4", 4),
        ("UPDATE audit SET at = at + 1 WHERE id = 2", 2),
        ("DELETE FROM audit WHERE id = 3", 3),
        ("UPDATE audit SET previous = digest WHERE id = 5", 5),
    ],
)
def test_tampering_shows(world: World, change: str, bad: int) -> None:
    fill(world)
    with write_session(world.engine) as session:
        session.execute(text(change))
    assert verified(world) == bad


def test_cutting_off_the_end_shows_against_a_noted_head(world: World) -> None:
    head = fill(world)
    with write_session(world.engine) as session:
        session.execute(text("DELETE FROM audit WHERE id = :id"), {"id": head.id})
    assert verified(world) is None
    assert verified(world, head) == head.id


def test_the_trail_is_for_staff_and_newest_first(world: World) -> None:
    fill(world)
    customer = world.customer()
    with read_session(world.engine) as session:
        ids = [row.id for row in audit.trail(session, HUB, limit=3)]
        assert ids == sorted(ids, reverse=True)
        assert [row.object for row in audit.trail(session, HUB, object_="thing:2")] == ["thing:2"]
        with pytest.raises(ForbiddenError):
            audit.trail(session, customer)
