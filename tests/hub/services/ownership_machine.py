"""A machine that changes the owner of a product in any way, with a model of what must hold.

1. The model keeps who must own the product, what was undone and when what was measured by what the
   machine did, not by what the product says of it.
2. After every step it measures, and looks as every household.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)
from sqlalchemy import select
from sqlalchemy.orm import Session

from hub.errors import HubError
from hub.ports.database.alert_tables import Alert, Command
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.ownership_tables import Dispute, Ownership, TransferOffer
from hub.ports.database.product_tables import Product
from hub.ports.store.columns import visible_mask
from hub.services import (
    alert_desk,
    audit,
    cut,
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
from tests.hub.services.ownership_world import DISPUTE_DAYS, ISSUER
from tests.hub.services.service_world import DAY, T0, S, World, new_world

PEOPLE = 3
who = st.integers(-2, PEOPLE - 1)
"""One of the people; negative: whoever owns the product, as most acts are an owner's."""
spans = st.sampled_from([1, S, 60 * S, DAY, DISPUTE_DAYS * DAY])
which = st.integers(0, 7)
"""One of several, counted around."""
KEPT = "the owner of before"
ANYBODY = "anybody"


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
        self.disputes: list[tuple[str, str | None]] = []  # and the claimant
        self.undone: set[int] = set()
        self.rows: list[Measured] = []
        self.commands: dict[bytes, int] = {}
        self.found: list[int] = []
        self.refused = False

    @staticmethod
    def fresh(folder: Path, url: str) -> World:
        return new_world(folder, url)

    def teardown(self) -> None:
        self.world.engine.dispose()
        self.folder.cleanup()

    @contextmanager
    def attempt(self, then: str | None = KEPT) -> Iterator[Session]:
        """Try something in one transaction; a refusal must leave nothing behind.

        Args:
            then: who must own the product if it is not refused.
        """
        self.now += 1
        before = self.facts()
        try:
            with write_session(self.world.engine) as session:
                yield session
        except HubError:
            assert self.facts() == before
            self.refused = True
        else:
            self.check_change(before, then)

    def check_change(self, before: list[Fact], then: str | None) -> None:
        """Check that only the present ownership ended, and that what began did so now."""
        after = self.facts()
        last = before[-1] if before else None
        if last is not None and last.end is None and after[len(before) - 1] != last:
            undone = self.now if last.epoch in self.undone else None
            before = [*before[:-1], last._replace(end=self.now, undone=undone)]
        assert after[: len(before)] == before
        assert all(fact.start == self.now for fact in after[len(before) :])
        if then != ANYBODY:
            owner = last.owner if then == KEPT and last and last.end is None else then
            assert self.present()[1] == (None if owner == KEPT else owner)
        if then == KEPT:
            assert after == before

    def facts(self) -> list[Fact]:
        with read_session(self.world.engine) as session:
            rows = session.scalars(select(Ownership).order_by(Ownership.epoch)).all()
            return [
                Fact(row.epoch, row.owner_id, row.started_at, row.ended_at, row.undone_at)
                for row in rows
            ]

    def owners(self, facts: list[Fact]) -> dict[int, str]:
        """Return whose each owner epoch is; one that was undone is nobody's."""
        return {fact.epoch: fact.owner for fact in facts if fact.epoch not in self.undone}

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
        caller = self.person(i)
        with self.attempt(caller.owner_id) as session:
            ownership.claim(session, caller, self.made.claim_code, self.now, self.world.tokens)

    @rule(i=who)
    def claim_unaware(self, i: int) -> None:
        """Somebody claims who saw that nobody owns it just before somebody else claimed it."""
        owner = self.person(i).owner_id
        assert owner is not None
        with self.attempt(owner) as session:
            product = session.get_one(Product, self.made.product_id)
            cut.begin(session, product, owner, self.now)

    @rule(i=who)
    def release(self, i: int) -> None:
        with self.attempt(None) as session:
            ownership.release(session, self.person(i), self.made.product_id, self.now)

    @rule(then=st.sampled_from(["restore", "nobody"]))
    def undo(self, then: str) -> None:
        epoch, _ = self.present()
        owners = [
            fact.owner
            for fact in self.facts()
            if fact.epoch < epoch and fact.epoch not in self.undone
        ]
        before = owners[-1] if owners and then == "restore" else None
        with self.attempt(before) as session:
            ownership.undo(
                session,
                HUB,
                self.made.product_id,
                "wrong",
                self.now,
                self.world.tokens,
                restore=then == "restore",
            )
            self.undone.add(epoch)

    @rule(i=who)
    def offer(self, i: int) -> None:
        with self.attempt() as session:
            self.offers.append(
                transfers.offer(
                    session, self.person(i), self.made.product_id, self.now, self.world.tokens
                )
            )

    @precondition(lambda self: self.offers)
    @rule(i=who, one=which)
    def accept(self, i: int, one: int) -> None:
        caller, code = self.person(i), self.offers[one % len(self.offers)].code
        with self.attempt(caller.owner_id) as session:
            transfers.accept(session, caller, self.now, self.world.tokens, ISSUER, code=code)

    @precondition(lambda self: self.offers)
    @rule(i=who, one=which)
    def cancel(self, i: int, one: int) -> None:
        with self.attempt() as session:
            offered = self.offers[one % len(self.offers)]
            transfers.cancel(session, self.person(i), offered.id, self.now)

    @rule(i=who)
    def dispute(self, i: int) -> None:
        caller = self.person(i)
        with self.attempt() as session:
            row = disputes.begin(
                session,
                caller,
                self.made.claim_code,
                self.now,
                self.world.tokens,
                DISPUTE_DAYS,
            )
            self.disputes.append((row.id, caller.owner_id))

    @precondition(lambda self: self.disputes)
    @rule(i=who, one=which, act=st.sampled_from(["refuse", "withdraw"]))
    def stop_dispute(self, i: int, one: int, act: str) -> None:
        named, _ = self.disputes[one % len(self.disputes)]
        stop = disputes.refuse if act == "refuse" else disputes.withdraw
        with self.attempt() as session:
            stop(session, self.person(i), named, self.now)

    @precondition(lambda self: self.disputes)
    @rule(i=who, one=which, act=st.sampled_from(["agree", "complete", "decide"]))
    def end_dispute(self, i: int, one: int, act: str) -> None:
        named, claimant = self.disputes[one % len(self.disputes)]
        caller, tokens = self.person(i), self.world.tokens
        with self.attempt(claimant) as session:
            if act == "agree":
                disputes.agree(session, caller, named, self.now, tokens, ISSUER)
            elif act == "complete":
                disputes.complete(session, caller, named, self.now, tokens, ISSUER)
            else:
                disputes.decide(
                    session, HUB, named, "seen", self.now, tokens, ISSUER, to_claimant=True
                )

    @rule(i=who, act=st.sampled_from(["lock", "unlock"]))
    def thief(self, i: int, act: str) -> None:
        with self.attempt() as session:
            caller, named = self.person(i), self.made.product_id
            if act == "lock":
                theft.lock(session, caller, named, self.now, self.world.tokens)
            else:
                theft.unlock(session, caller, named, self.now)

    @rule(i=who)
    def prepare(self, i: int) -> None:
        with self.attempt() as session:
            resets.prepare(session, self.person(i), self.made.product_id, self.now)

    @rule(late=st.sampled_from([0, S, DAY, -DAY]))
    def reset(self, late: int) -> None:
        with self.attempt(ANYBODY) as session:
            resets.was_reset(session, self.made.product_id, self.now - late, self.now)

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
            self.commands[row.id] = epoch

    @rule()
    def learn(self) -> None:
        """The device hears of its present owner epoch."""
        self.known_epoch, _ = self.present()

    @rule(ago=spans)
    def find(self, ago: int) -> None:
        """Something is found of some time ago, perhaps of the time of another owner."""
        self.now += 1
        time = self.now - ago + 1
        self.found.append(time)
        found = Found(
            id=len(self.found).to_bytes(16, "big"),
            slot=self.slot,
            metric=0,
            kind=6,
            severity=2,
            time=time,
            since=time,
            surprise=20.0,
            observed=99.0,
            low=None,
            high=95.0,
        )
        with write_session(self.world.engine) as session:
            apply_findings(session, [found], self.now)

    def look(self) -> None:
        """Check every promise, for who goes through a life without hypothesis."""
        self.one_owner_at_any_instant_and_epochs_rise()
        self.each_sees_the_own_time_and_nothing_else()
        self.nothing_of_a_former_owner_acts()
        self.what_was_found_is_whose_time_it_speaks_of()

    @invariant()
    def one_owner_at_any_instant_and_epochs_rise(self) -> None:
        facts = self.facts()
        epochs = [fact.epoch for fact in facts]
        assert epochs == list(range(1, len(epochs) + 1))
        assert {fact.epoch for fact in facts if fact.undone is not None} == self.undone
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
        facts = self.facts()
        owners = self.owners(facts)
        first = next(iter(owners.values()), None)
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
                owner = owners.get(row.epoch)
                if is_shown:  # what was measured in nobody's time may show to who came first
                    unowned = row.epoch == 0 and (row.said == 0 or row.at < facts[0].start)
                    whose = first if unowned else owner
                    assert whose == caller.owner_id, (row, own)
                elif row.said == row.epoch and row.time == row.at:
                    assert owner != caller.owner_id or owner is None, (row, own)

    @invariant()
    def nothing_of_a_former_owner_acts(self) -> None:
        epoch, owner = self.present()
        with read_session(self.world.engine) as session:
            waits = (Command.replied_at.is_(None), Command.expires_at > self.now)
            for command in session.scalars(select(Command).where(*waits)):
                assert self.commands[command.id] == epoch
            for command in waiting.of(session, self.slot, self.now).commands:
                assert self.commands[command.id] == epoch
            alerts = session.scalars(select(Alert).where(Alert.resolved_at.is_(None))).all()
            assert all(alert.epoch == epoch for alert in alerts)
            for caller in self.people:
                seen = [one.product_id for one in products.listed(session, caller)]
                assert seen == ([self.made.product_id] if caller.owner_id == owner else [])
                for one in former.listed(session, caller):
                    assert one.ended_at <= self.now
                    assert caller.owner_id != owner
            assert audit.verify(session) is None

    @invariant()
    def what_was_found_is_whose_time_it_speaks_of(self) -> None:
        facts = self.facts()
        owners = self.owners(facts)
        whose: dict[str | None, set[int]] = {caller.owner_id: set() for caller in self.people}
        for at in self.found:
            for fact in facts:
                if fact.start <= at and (fact.end is None or at < fact.end):
                    whose[owners.get(fact.epoch)] = whose.get(owners.get(fact.epoch), set()) | {at}
        before = {at for at in self.found if facts and at < facts[0].start}
        with read_session(self.world.engine) as session:
            for caller in self.people:
                seen = alert_desk.findings(session, caller, at=self.now, limit=1_000)
                times = {one.at for one in seen}
                # What was found before anybody claimed it may show to who came first.
                allowed = before if caller.owner_id == owners.get(1) else set()
                assert whose[caller.owner_id] <= times <= whose[caller.owner_id] | allowed
