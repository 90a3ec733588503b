"""The published gate against a compile of everything, whatever happened before."""

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from device_sdk.wire.topics import ROOT, shard_of
from entitlements import gate_table
from entitlements.decision import decide
from entitlements.decision_arrays import Decisions
from entitlements.facts import HoldKind
from entitlements.gate import compile_gate
from entitlements.grants import feature_names
from hub.errors import ConflictError, NotFoundError, StorageError
from hub.pipeline.directory import Directory
from hub.ports.database.engine import read_session, write_session
from hub.services import catalogue, enrolment, holds, outages, ownership, pushes, subscriptions
from hub.services.caller import HUB, Caller
from hub.services.fact_columns import Part, load_part
from hub.services.gate import GatePublisher
from hub.services.products import Manufactured
from hub.services.snapshot_file import Snapshot, read_snapshot
from tests.entitlements.gate_lookup import assert_same_snapshot
from tests.hub.services.service_world import CATALOGUE, DAY, T0, S, World, all_enrolled

MORE_METRICS = CATALOGUE.replace(
    "[models.heat-pump.features.telemetry]",
    '[[models.heat-pump.metrics]]\nname = "flow_c"\nunit = "Cel"\n'
    "[models.heat-pump.features.telemetry]",
)
FREE_TELEMETRY = MORE_METRICS.replace(
    "[models.heat-pump.features.telemetry]", "[models.heat-pump.features.telemetry]\nsafe = true"
)


@dataclass
class Life:
    """Things that happen to products, in an order that a seed decides."""

    world: World
    chance: random.Random
    now: int = T0
    products: list[tuple[Manufactured, Caller]] = field(default_factory=list)
    holds: list[str] = field(default_factory=list)

    def happens(self) -> None:
        self.now += self.chance.randrange(DAY)
        kind = self.chance.randrange(6)
        if kind < 2 or not self.products:
            self.make()
            return
        try:
            (self.claim, self.subscribe, self.change, self.outage)[kind - 2](
                *self.chance.choice(self.products)
            )
        except (ConflictError, NotFoundError):
            return  # not possible now; nothing has changed then

    def make(self) -> None:
        made = self.world.product()
        self.products.append((made, self.world.customer()))
        if self.chance.random() < 0.8:
            self.world.enrol(made, self.now)

    def claim(self, made: Manufactured, caller: Caller) -> None:
        self.world.claim(made, caller, self.now)

    def subscribe(self, made: Manufactured, _: Caller) -> None:
        until = self.chance.choice([None, self.now + self.chance.randrange(40 * DAY)])
        with write_session(self.world.engine) as session:
            subscriptions.start(
                session, HUB, made.product_id, "comfort", self.now, self.world.tokens,
                paid_until=until,
            )  # fmt: skip

    def outage(self, _made: Manufactured, _caller: Caller) -> None:
        start = self.now - self.chance.randrange(20 * DAY)
        with write_session(self.world.engine) as session:
            outages.note(session, 0, start, self.now)

    def change(self, made: Manufactured, caller: Caller) -> None:
        kind = self.chance.randrange(5)
        with write_session(self.world.engine) as session:
            if kind == 0:
                ownership.release(session, caller, made.product_id, self.now)
            elif kind == 1:
                enrolment.revoke(session, HUB, made.product_id, self.now, "stolen")
            elif kind == 2:
                hold = self.chance.choice(list(HoldKind))
                self.holds.append(
                    holds.place(
                        session, HUB, made.product_id, hold, "said so", self.now, self.world.tokens
                    ).id
                )
            elif kind == 3 and self.holds:
                holds.lift(session, HUB, self.holds.pop(), self.now)
            else:
                pushes.configure(session, HUB, made.product_id, {"target_c": 21.5}, self.now)


def apply(world: World, text: str) -> None:
    with write_session(world.engine) as session:
        catalogue.apply(session, HUB, catalogue.parse(text), T0)


def assert_right(world: World, snapshot: Snapshot, at: int) -> None:
    with read_session(world.engine) as session:
        everything = all_enrolled(session)
    models = {one.model.number: one.model for one in everything.values()}
    fresh = compile_gate(everything.values(), models.values(), at)
    assert_same_snapshot(snapshot.arrays, fresh)


def assert_decided(world: World, decisions: Decisions, life: Life) -> None:
    """Every answer of the arrays is that of the facts."""
    with read_session(world.engine) as session:
        everything = all_enrolled(session)
    assert decisions.slots.tolist() == sorted(one.device.slot for one in everything.values())
    at = life.now + life.chance.randrange(-20, 20) * DAY
    for one in everything.values():
        for name in (*feature_names(one), "no_such_feature"):
            assert decisions.decide(one.device.slot, name, at) == decide(one, name, at)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_the_published_gate_is_that_of_a_fresh_compile(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    # Little room, so that whole versions and patches take turns.
    monkeypatch.setattr(gate_table, "_ROOM", 3)
    life = Life(world, random.Random(seed))  # noqa: S311  the same in every run
    folder = tmp_path / "gate"
    publisher = GatePublisher(world.engine, folder, lambda: life.now)
    world.enrol(world.product())
    publisher.step()
    following, directory = read_snapshot(folder), Directory.read(folder, ROOT)
    patched = whole = 0
    for turn in range(40):
        for _ in range(life.chance.randrange(4)):
            life.happens()
        if turn in {15, 30}:
            apply(world, MORE_METRICS if turn == 15 else FREE_TELEMETRY)
        version = publisher.step()
        if version != following.version:
            following = read_snapshot(folder, following)
            directory = Directory.read(folder, ROOT, directory)
            patched += version != following.base
            whole += version == following.base
        assert following.version == directory.version == version
        assert_right(world, following, life.now)
        assert_right(world, read_snapshot(folder), life.now)
        assert_decided(world, publisher.decisions, life)
        for slot in directory.device_id[:, 0].nonzero()[0].tolist():
            name = directory.device_id[slot].tobytes().decode()
            assert directory.shard[slot].tobytes().decode() == shard_of(name)
    assert patched > 5
    assert whole > 3


def test_what_is_not_a_fact_publishes_nothing(world: World, tmp_path: Path) -> None:
    publisher = GatePublisher(world.engine, tmp_path / "gate", lambda: T0)
    made, caller = world.product(), world.customer()
    world.enrol(made)
    world.claim(made, caller)
    version = publisher.step()
    with write_session(world.engine) as session:
        pushes.configure(session, caller, made.product_id, {"target_c": 21.5}, T0)
    assert not publisher.settle(0)
    assert publisher.step() == version
    assert publisher.settle(0)


def test_a_new_metric_compiles_no_product(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = GatePublisher(world.engine, tmp_path / "gate", lambda: T0)
    world.enrol(world.product())
    publisher.step()
    compiled: list[object] = []

    def load(*given: Any) -> Part | None:
        compiled.append(given)
        return load_part(*given)

    monkeypatch.setattr("hub.services.gate.load_part", load)
    apply(world, MORE_METRICS)
    publisher.step()
    assert len(read_snapshot(tmp_path / "gate").arrays["metric_index"]) == 3
    assert not compiled
    apply(world, FREE_TELEMETRY)
    publisher.step()
    assert compiled
    assert_right(world, read_snapshot(tmp_path / "gate"), T0)


@pytest.mark.parametrize("whole", [False, True])
def test_a_publication_that_fails_is_made_up_for(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, whole: bool
) -> None:
    folder, elsewhere = tmp_path / "gate", tmp_path / "elsewhere"
    publisher = GatePublisher(world.engine, folder, lambda: T0)
    world.enrol(world.product())
    publisher.step()
    if whole:
        monkeypatch.setattr(gate_table, "_ROOM", 0)
        apply(world, MORE_METRICS)
    made = world.product()
    world.enrol(made)
    folder.rename(elsewhere)
    folder.write_text("in the way")
    with pytest.raises((OSError, StorageError), match="gate"):
        publisher.step()
    assert not publisher.settle(0)
    folder.unlink()
    elsewhere.rename(folder)
    assert publisher.step() == 2
    assert publisher.settle(0)
    following = read_snapshot(folder)
    assert (following.base == following.version) == whole
    assert_right(world, following, T0)
    assert publisher.step() == 2
    world.claim(made, world.customer(), T0 - S)
    assert publisher.step() == 3
    assert_right(world, read_snapshot(folder, following), T0)
