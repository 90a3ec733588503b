"""Any sequence of changes of owner, with telemetry in any order, against a model in a few lines."""

import itertools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select
from sqlalchemy.orm import Session

from hub.errors import HubError
from hub.ports.database.alert_tables import Alert
from hub.ports.database.engine import open_engine, read_session, write_session
from hub.ports.database.ownership_tables import Dispute, Ownership, TransferOffer
from hub.ports.store.columns import visible_mask
from hub.services import (
    alert_desk,
    audit,
    disputes,
    former,
    ownership,
    possession,
    products,
    pushes,
    resets,
    telemetry,
    theft,
    transfers,
    waiting,
)
from hub.services.alerts import apply_findings
from hub.services.caller import HUB, Caller
from hub.services.found import Found
from hub.services.own_time import own_time
from tests.hub.database.postgresql_server import PostgresServer
from tests.hub.services.ownership_world import DISPUTE_DAYS, ISSUER
from tests.hub.services.service_world import DAY, T0, S, World, new_world

PEOPLE = 3
who = st.integers(-2, PEOPLE - 1)
"""One of the people; negative: whoever owns the product, as most acts are an owner's."""
spans = st.sampled_from([1, S, 60 * S, DAY, DISPUTE_DAYS * DAY])


class Fact(NamedTuple):
    """An ownership as the database has it."""

    epoch: int
    owner: str
    start: int
    end: int | None
    undone: int | None


class Measured(NamedTuple):
    """A row: when it was measured and the owner epoch then, and what it says of the two."""

    at: int
    epoch: int
    said: int
    time: int


class Ownerships(RuleBasedStateMachine):
    """One product, three households, support, and a device that may know late or have a bad clock."""

    def __init__(self, url: str = "") -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.world: World = self.fresh(Path(self.folder.name), url)
        self.people = [self.world.customer() for _ in range(PEOPLE)]
        self.made = self.world.product()
        self.slot = self.world.enrol(self.made).slot
        self.now = T0
        self.known_epoch = 0  # what the device knows
        self.epochs: list[int] = []
        self.offers: list[transfers.Offered] = []
        self.disputes: list[str] = []
        self.rows: list[Measured] = []
        self.commands: list[tuple[bytes, int]] = []
        self.found = 0

    @staticmethod
    def fresh(folder: Path, url: str) -> World:
        return new_world(folder, url)

    def teardown(self) -> None:
        self.world.engine.dispose()
        self.folder.cleanup()

    @contextmanager
    def attempt(self) -> Iterator[Session]:
        """Try something in one transaction; a refusal must leave nothing behind."""
        self.now += 1
        before = self.facts()
        try:
            with write_session(self.world.engine) as session:
                yield session
        except HubError:
            assert self.facts() == before

    def facts(self) -> list[Fact]:
        with read_session(self.world.engine) as session:
            rows = session.scalars(select(Ownership).order_by(Ownership.epoch)).all()
            return [
                Fact(row.epoch, row.owner_id, row.started_at, row.ended_at, row.undone_at)
                for row in rows
            ]

    def present(self) -> tuple[int, str | None]:
        with read_session(self.world.engine) as session:
            row = session.scalars(select(Ownership).where(Ownership.ended_at.is_(None))).first()
            return (0, None) if row is None else (row.epoch, row.owner_id)

    def person(self, i: int) -> Caller:
        _, owner = self.present()
        owners = [caller for caller in self.people if i < 0 and caller.owner_id == owner]
        return owners[0] if owners else self.people[i % PEOPLE]

    @rule(span=spans)
    def time_passes(self, span: int) -> None:
        self.now += span

    @rule()
    def press(self) -> None:
        with self.attempt() as session:
            possession.open_window(session, self.made.product_id, {}, self.now)

    @rule(i=who)
    def claim(self, i: int) -> None:
        with self.attempt() as session:
            ownership.claim(
                session, self.person(i), self.made.claim_code, self.now, self.world.tokens
            )

    @rule(i=who)
    def release(self, i: int) -> None:
        with self.attempt() as session:
            ownership.release(session, self.person(i), self.made.product_id, self.now)

    @rule(restore=st.booleans())
    def undo(self, *, restore: bool) -> None:
        with self.attempt() as session:
            ownership.undo(
                session,
                HUB,
                self.made.product_id,
                "wrong",
                self.now,
                self.world.tokens,
                restore=restore,
            )

    @rule(i=who)
    def offer(self, i: int) -> None:
        with self.attempt() as session:
            self.offers.append(
                transfers.offer(
                    session, self.person(i), self.made.product_id, self.now, self.world.tokens
                )
            )

    @precondition(lambda self: self.offers)
    @rule(i=who, data=st.data())
    def accept(self, i: int, data: st.DataObject) -> None:
        offered = data.draw(st.sampled_from(self.offers))
        with self.attempt() as session:
            transfers.accept(
                session, self.person(i), self.now, self.world.tokens, ISSUER, code=offered.code
            )

    @precondition(lambda self: self.offers)
    @rule(i=who, data=st.data())
    def cancel(self, i: int, data: st.DataObject) -> None:
        with self.attempt() as session:
            offered = data.draw(st.sampled_from(self.offers))
            transfers.cancel(session, self.person(i), offered.id, self.now)

    @rule(i=who)
    def dispute(self, i: int) -> None:
        with self.attempt() as session:
            row = disputes.begin(
                session,
                self.person(i),
                self.made.claim_code,
                self.now,
                self.world.tokens,
                DISPUTE_DAYS,
            )
            self.disputes.append(row.id)

    @precondition(lambda self: self.disputes)
    @rule(
        i=who,
        data=st.data(),
        answer=st.sampled_from(["refuse", "agree", "withdraw", "complete", "decide"]),
    )
    def answer(self, i: int, data: st.DataObject, answer: str) -> None:
        named, caller = data.draw(st.sampled_from(self.disputes)), self.person(i)
        tokens = self.world.tokens
        with self.attempt() as session:
            if answer == "refuse":
                disputes.refuse(session, caller, named, self.now)
            elif answer == "agree":
                disputes.agree(session, caller, named, self.now, tokens, ISSUER)
            elif answer == "withdraw":
                disputes.withdraw(session, caller, named, self.now)
            elif answer == "complete":
                disputes.complete(session, caller, named, self.now, tokens, ISSUER)
            else:
                disputes.decide(
                    session, HUB, named, "seen", self.now, tokens, ISSUER, to_claimant=True
                )

    @rule(i=who, lock=st.booleans())
    def thief(self, i: int, *, lock: bool) -> None:
        with self.attempt() as session:
            caller, named = self.person(i), self.made.product_id
            if lock:
                theft.lock(session, caller, named, self.now, self.world.tokens)
            else:
                theft.unlock(session, caller, named, self.now)

    @rule(i=who)
    def prepare(self, i: int) -> None:
        with self.attempt() as session:
            resets.prepare(session, self.person(i), self.made.product_id, self.now)

    @rule()
    def reset(self) -> None:
        with self.attempt() as session:
            resets.was_reset(session, self.made.product_id, self.now)

    @rule(i=who)
    def command(self, i: int) -> None:
        with self.attempt() as session:
            epoch, _ = self.present()
            _, row = pushes.command(
                session,
                self.person(i),
                self.made.product_id,
                "open",
                {},
                self.now + DAY,
                self.now,
                key=str(self.now),
            )
            self.commands.append((row.id, epoch))

    @rule()
    def learn(self) -> None:
        """The device hears of its present owner epoch."""
        self.known_epoch, _ = self.present()

    @rule()
    def find(self) -> None:
        self.now += 1
        self.found += 1
        found = Found(
            id=self.found.to_bytes(16, "big"),
            slot=self.slot,
            metric=0,
            kind=6,
            severity=2,
            time=self.now,
            since=self.now,
            surprise=20.0,
            observed=99.0,
            low=None,
            high=95.0,
        )
        with write_session(self.world.engine) as session:
            apply_findings(session, [found], self.now)

    @invariant()
    def one_owner_at_any_instant_and_epochs_rise(self) -> None:
        facts = self.facts()
        epochs = [fact.epoch for fact in facts]
        assert epochs == list(range(1, len(epochs) + 1))
        assert epochs[: len(self.epochs)] == self.epochs
        self.epochs = epochs
        for before, after in itertools.pairwise(facts):
            assert before.end is not None
            assert before.start <= before.end <= after.start
        with read_session(self.world.engine) as session:
            tables: tuple[type[TransferOffer | Dispute], ...] = (TransferOffer, Dispute)
            for table in tables:
                going_on = select(table.epoch).where(table.closed_at.is_(None))
                assert session.scalars(going_on).all() in ([], [self.present()[0]])

    def measure(self) -> None:
        """The device measures, perhaps offline, with a bad clock, or as somebody forged it.

        One of epoch and time is right: with both wrong nobody could tell.
        """
        self.now += 1
        epoch, _ = self.present()
        said = {epoch, self.known_epoch, 0, *range(max(epoch - 2, 0), epoch + 2)}
        self.rows += [Measured(self.now, epoch, one, self.now) for one in sorted(said)]
        self.rows += [
            Measured(self.now, epoch, epoch, self.now + off) for off in (-DAY, -3, 3, DAY)
        ]

    @invariant()
    def each_sees_the_own_time_and_nothing_else(self) -> None:
        self.measure()
        rows = sorted(self.rows, key=lambda row: (row.time, row.said))  # as if they came so
        times = np.array([row.time for row in rows], np.int64)
        epochs = np.array([row.said for row in rows], np.uint32)
        flags = np.zeros(len(rows), np.uint32)
        facts = {fact.epoch: fact for fact in self.facts()}
        for caller in self.people:
            shown = np.zeros(len(rows), bool)
            with read_session(self.world.engine) as session:
                own = own_time(session, self.made.product_id, caller.owner_id)
                if own is not None:
                    found = telemetry.series(
                        session, caller, self.made.product_id, "temp_c", self.now
                    )
                    assert found.visible.windows == own.windows
                    shown = visible_mask(epochs, flags, times, found.visible)
            for row, is_shown in zip(rows, shown.tolist(), strict=True):
                fact = facts.get(row.epoch)
                owner = None if fact is None or fact.undone is not None else fact.owner
                if is_shown:  # what was measured before anybody's time may show to who came first
                    unowned = row.epoch == 0 and (row.said == 0 or row.at < facts[1].start)
                    assert owner == caller.owner_id or unowned, (row, own)
                elif row.said == row.epoch and row.time == row.at:
                    assert owner != caller.owner_id or owner is None, (row, own)

    @invariant()
    def nothing_of_a_former_owner_acts(self) -> None:
        epoch, owner = self.present()
        of_epoch = dict(self.commands)
        with read_session(self.world.engine) as session:
            for command in waiting.of(session, self.slot, self.now).commands:
                assert of_epoch[command.id] == epoch
            alerts = session.scalars(select(Alert).where(Alert.resolved_at.is_(None))).all()
            assert all(alert.epoch == epoch for alert in alerts)
            for caller in self.people:
                seen = [one.product_id for one in products.listed(session, caller)]
                assert seen == ([self.made.product_id] if caller.owner_id == owner else [])
                for finding in alert_desk.findings(session, caller, at=self.now):
                    owners = {
                        fact.owner
                        for fact in self.facts()
                        if fact.start <= finding.at and (fact.end is None or finding.at < fact.end)
                    }
                    # What was found before anybody claimed it is the first owner's.
                    assert owners in ({caller.owner_id}, set())
                for one in former.listed(session, caller):
                    assert one.ended_at <= self.now
                    assert caller.owner_id != owner
            assert audit.verify(session) is None


def run(machine: type[RuleBasedStateMachine], examples: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            # What fails is shrunk little: each step is many transactions.
            phases=(Phase.generate,),
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


def test_no_sequence_of_changes_breaks_a_promise(tmp_path: Path) -> None:
    made = new_world(tmp_path)
    made.engine.dispose()

    class OnCopies(Ownerships):
        """Each run has a copy of a database that was made once."""

        @staticmethod
        def fresh(folder: Path, url: str) -> World:
            del url
            shutil.copy(tmp_path / "hub.db", folder / "hub.db")
            return replace(made, engine=open_engine(f"sqlite:///{folder / 'hub.db'}"))

    run(OnCopies, 8)


def test_nor_on_postgresql(postgresql: PostgresServer) -> None:
    class OnPostgresql(Ownerships):
        def __init__(self) -> None:
            super().__init__(postgresql.migrated())

    run(OnPostgresql, 1)
