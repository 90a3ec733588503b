"""The catalogue that is kept is the one that each session sees."""

import pytest
from sqlalchemy import event

from hub.errors import ConflictError
from hub.ports.database.engine import open_engine, read_session, write_session
from hub.services import catalogue
from hub.services.caller import HUB
from hub.services.catalogue_facts import Catalogue, load_catalogue
from tests.hub.services.service_world import CATALOGUE, T0, World

KETTLE = '[models.kettle]\n[[models.kettle.metrics]]\nname = "water_c"\nunit = "Cel"\n'


def seen(world: World) -> Catalogue:
    with read_session(world.engine) as session:
        return load_catalogue(session)


def apply(world: World, text: str, *, dry_run: bool = False) -> None:
    with write_session(world.engine) as session:
        catalogue.apply(session, HUB, catalogue.parse(text), T0, dry_run=dry_run)


def test_a_known_catalogue_takes_one_statement(world: World) -> None:
    first = seen(world)
    statements: list[str] = []

    def count(*args: object) -> None:
        statements.append(str(args[2]))

    event.listen(world.engine, "before_cursor_execute", count)
    assert seen(world) is first
    event.remove(world.engine, "before_cursor_execute", count)
    assert len([text for text in statements if text.startswith("SELECT")]) == 1


def test_a_change_shows_at_once_and_only_to_sessions_that_see_it(world: World) -> None:
    before = seen(world)
    with read_session(world.engine) as old:
        assert load_catalogue(old) is before
        apply(world, CATALOGUE + KETTLE)
        assert "kettle" in {model.code for model in seen(world).models.values()}
        assert load_catalogue(old) == before
    after = seen(world)
    assert len(after.models) == len(before.models) + 1
    assert seen(world) is after


def test_another_process_sees_the_change(world: World) -> None:
    other = open_engine(world.engine.url.render_as_string(hide_password=False))
    with read_session(other) as session:
        before = load_catalogue(session)
    apply(world, CATALOGUE + KETTLE)
    with read_session(other) as session:
        assert len(load_catalogue(session).models) == len(before.models) + 1


def test_what_does_not_change_it_leaves_it_known(world: World) -> None:
    known = seen(world)
    apply(world, CATALOGUE)
    apply(world, CATALOGUE + KETTLE, dry_run=True)
    with pytest.raises(ConflictError):
        apply(world, CATALOGUE.replace("value = 20", "value = 21"))
    assert seen(world) is known
