"""No sequence of changes of owner breaks a promise: lives that were thought out, and any others."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.hub.database.postgresql_server import PostgresServer
from tests.hub.database.sqlite_template import open_sharing
from tests.hub.services.ownership_machine import Ownerships
from tests.hub.services.service_world import World, new_world

DAY = "86400000000000"
LIVES = {
    "sold while it is away": f"""
        find 1; claim 0; learn; command 0; find 1; time_passes {DAY}; offer 0; !claim 1;
        !accept 0 0; accept 1 0; find 10; find 1; !command 0; command 1; !release 0; learn;
        find {DAY}; !accept 2 0; release 1; find 1; claim 2; find 1""",
    "bought back": """
        claim 0; learn; offer 0; accept 1 0; find 1; find 3; learn; offer 1; accept 0 1; find 1;
        find 3; !accept 2 0; !accept 2 1; command 0""",
    "given up and claimed again by the same": f"""
        claim 0; learn; command 0; release 0; find 1; time_passes {DAY}; claim 0; find 1; release 0;
        claim 1; find 1""",
    "claimed at the same time": """
        claim_unaware 0; !claim_unaware 1; !claim 1; !claim_unaware 0; release 0; claim_unaware 1;
        !claim_unaware 2""",
    "claimed wrongly, and given back": f"""
        claim 0; learn; command 0; find 1; release 0; claim 1; learn; command 1; find 1;
        time_passes {DAY}; undo restore; find 1; find 3; command 0; undo nobody; claim 2; find 1""",
    "claimed wrongly by the first": """
        find 1; claim 0; learn; command 0; find 1; undo restore; find 1; claim 1; find 1; find 4;
        release 1; claim 0""",
    "disputed": f"""
        claim 0; learn; command 0; offer 0; press; dispute 1; !end_dispute 1 0 complete;
        stop_dispute 1 0 withdraw; press; dispute 1; time_passes {int(DAY) * 14}; press;
        end_dispute 1 1 complete; find 1; !accept 2 0; command 1; !end_dispute 1 1 decide""",
    "disputed, and sold before the answer": """
        claim 0; offer 0; press; dispute 1; !accept 2 0; stop_dispute 0 0 refuse; accept 2 0;
        !end_dispute 0 0 agree; !end_dispute 1 0 decide; press; dispute 1; end_dispute 2 1 agree; find 1""",
    "disputed, and undone before the answer": """
        claim 0; press; dispute 1; undo nobody; claim 2; !end_dispute 1 0 decide""",
    "stolen, then reset": f"""
        claim 0; learn; thief 0 lock; !release 0; !offer 0; reset 0; !claim 1; thief 0 unlock;
        prepare 0; reset {int(DAY)}; !claim 1; reset 0; find 1; claim 1; find 1; reset 0; !claim 0""",
    "offered by who is no owner any more": """
        claim 0; offer 0; release 0; !accept 1 0; claim 0; !accept 1 0; offer 0; cancel 0 1;
        !accept 1 1; offer 0; undo nobody; !accept 1 2""",
}
"""Steps of the machine with their arguments; `!`: must be refused."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    folder = tmp_path_factory.mktemp("template")
    made = new_world(folder)
    made.engine.dispose()
    return made, folder / "hub.db"


@pytest.fixture
def on_copies(template: tuple[World, Path]) -> type[Ownerships]:
    made, database = template

    class OnCopies(Ownerships):
        """Each run has a copy of a database that was made once."""

        @staticmethod
        def fresh(folder: Path, url: str) -> World:
            del url
            shutil.copy(database, folder / "hub.db")
            return replace(made, engine=open_sharing(f"sqlite:///{folder / 'hub.db'}"))

    return OnCopies


def run(machine: type[RuleBasedStateMachine], examples: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            # What fails is shrunk little: each step is many transactions.
            phases=(Phase.generate,),
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


def live(machine: Ownerships, life: str) -> None:
    """Go through a life, and check every promise after every step."""
    try:
        for step in life.split(";"):
            name, *arguments = step.split()
            refused, name = name.startswith("!"), name.removeprefix("!")
            machine.refused = False
            getattr(machine, name)(*(int(one) if one.isdecimal() else one for one in arguments))
            assert machine.refused == refused, step
            machine.look()
    finally:
        machine.teardown()


@pytest.mark.parametrize("life", LIVES.values(), ids=LIVES)
def test_a_life_keeps_every_promise(on_copies: type[Ownerships], life: str) -> None:
    live(on_copies(), life)


def test_no_sequence_of_changes_breaks_a_promise(on_copies: type[Ownerships]) -> None:
    run(on_copies, 6)


def test_nor_on_postgresql(postgresql: PostgresServer) -> None:
    class OnPostgresql(Ownerships):
        def __init__(self) -> None:
            super().__init__(postgresql.migrated())

    live(OnPostgresql(), LIVES["claimed at the same time"])
    run(OnPostgresql, 1)
