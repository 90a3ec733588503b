"""The process that counts usage: over real journals and the real archive, with restarts in between."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import pytest

from device_sdk.wire import cbor
from entitlements.billing.meters import Aggregation, Meter, Reading, tally
from hub.app.log_records import checked
from hub.app.usage_meter import MeterPlaces, UsageMeter
from hub.ports.journal.beat import Beat
from hub.ports.journal.block import Kind
from hub.ports.journal.reader import JournalReader
from hub.ports.journal.telemetry import REASON_SHIFT, TelemetryBatch, encode
from hub.ports.journal.writer import JournalWriter, Rotation
from hub.ports.store.compaction import Compactor
from hub.ports.store.embedded import EmbeddedStore
from hub.services.meter_terms import AccountTerms, MeterTerms
from hub.services.meter_terms_table import TermsTable
from hub.services.snapshot_file import publish_patch, publish_snapshot, read_snapshot
from hub.services.usage_accounts import accounts_of
from hub.services.usage_archive import Totals, count

S = 1_000_000_000
DAY = 86_400 * S
START = 20_000 * DAY
EDGES = tuple(START + k * 10 * DAY for k in range(5))
PERIODS = (EDGES, EDGES[:3], EDGES[1:])
NOW = START + 12 * DAY
METERS = (
    Meter("energy", 0, Aggregation.INCREASE, 3),
    Meter("rows", 1, Aggregation.COUNT),
    Meter("sum", 1, Aggregation.SUM, 2),
    Meter("peak", 1, Aggregation.MAX, 1),
    Meter("modes", 2, Aggregation.UNIQUE),
    Meter("state", 2, Aggregation.LAST),
)
SLOTS = (1, 2, 5)
MARKS = (500, 1_000)


class Stored(NamedTuple):
    slot: int
    time: int
    values: tuple[float, float, float]
    hidden: bool


class World:
    """A journal, an archive and a meter, on disk."""

    def __init__(self, folder: Path) -> None:
        self.journals = {"0": folder / "journal"}
        self.writer = JournalWriter.open(
            folder / "journal", now_ns=NOW, rotation=Rotation(size=8_192, age_ns=DAY)
        )
        self.places = MeterPlaces(folder / "terms", folder / "accounts", self.journals)
        self.log_folder = folder / "usage"
        self.store = EmbeddedStore(folder / "store", self.journals)
        self.compactor = Compactor(folder / "store", self.journals)
        self.table, self.base = TermsTable(METERS), 0
        self.rows: list[Stored] = []
        self.log: JournalWriter | None = None
        self.meter = self.started()

    def started(self) -> UsageMeter:
        if self.log is not None:
            self.log.close()
        self.log = JournalWriter.open(self.log_folder, now_ns=NOW)
        return UsageMeter(self.places, self.log, self.store, lambda: NOW)

    def agree(
        self,
        edges: tuple[int, ...] = EDGES,
        marks: tuple[int, ...] = MARKS,
        slots: tuple[int, ...] = SLOTS,
    ) -> None:
        for slot in slots:
            accounts = [AccountTerms(slot, number, edges, marks) for number in range(len(METERS))]
            self.table.put(slot, accounts)
        patch = self.table.patch()
        if patch is None:
            self.base = publish_snapshot(self.places.terms, self.table.whole().arrays())
        else:
            publish_patch(self.places.terms, self.base, patch)

    def another_publisher(self) -> None:
        terms = MeterTerms.of(read_snapshot(self.places.terms).arrays)
        self.table = TermsTable(METERS, terms)

    def write(self, rows: list[Stored], received: int | None = None) -> None:
        n = len(rows)
        batch = TelemetryBatch(
            slot=np.array([row.slot for row in rows], np.uint32),
            epoch=np.ones(n, np.uint32),
            flags=np.array([row.hidden << REASON_SHIFT for row in rows], np.uint32),
            count=np.full(n, 3, np.uint32),
            stream=np.ones(n, np.uint64),
            seq=np.arange(len(self.rows), len(self.rows) + n, dtype=np.uint64),
            raw_time=np.zeros(n, np.int64),
            time=np.array([row.time for row in rows], np.int64),
            metric=np.tile(np.arange(3, dtype=np.uint16), n),
            value=np.array([value for row in rows for value in row.values], np.float64),
        )
        came = max(row.time for row in rows) if received is None else received
        self.writer.append(Kind.TELEMETRY, encode(batch), came)
        self.writer.sync()
        self.rows += rows

    def settle(self) -> None:
        while self.meter.step({"0": self.writer.synced}):
            pass

    def readings(self, slot: int, metric: int) -> list[Reading]:
        return [
            Reading(row.time, 1, seq, row.values[metric])
            for seq, row in enumerate(self.rows)
            if row.slot == slot and not row.hidden
        ]

    def told(self) -> Iterator[dict[str, int]]:
        for block in JournalReader(self.log_folder).blocks():
            for item in cbor.decode(bytes(block.payload)):
                yield dict(checked(Kind.USAGE, item))

    def check(self) -> None:
        levels: dict[tuple[int, int, int], int] = defaultdict(int)
        for record in self.told():
            if not record["late"]:
                levels[record["slot"], record["meter"], record["start"]] = record["level"]
        accounts = accounts_of(read_snapshot(self.places.accounts))
        assert accounts.size == len(SLOTS) * len(METERS)
        for account in accounts:
            slot, number = int(account["slot"]), int(account["meter"])
            start, end = int(account["start"]), int(account["end"])
            total = tally(METERS[number], self.readings(slot, METERS[number].metric), start, end)
            assert (METERS[number].code, int(account["total"])) == (METERS[number].code, total)
            assert levels[slot, number, start] == sum(mark <= total for mark in MARKS)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.writer.close()
    assert made.log is not None
    made.log.close()
    made.compactor.close()


def rows_of(random: Random, steps: Iterator[int]) -> list[Stored]:
    """Some rows, most of them in order; a counter that is reset now and then."""
    made = []
    for _ in range(random.randrange(1, 40)):
        step = next(steps)
        time = START + step * DAY // 60 - (random.random() < 0.05) * random.randrange(15 * DAY)
        energy = (step % 170) * 0.25
        values = (energy, random.randrange(400) / 100, float(random.randrange(4)))
        made.append(Stored(random.choice((1, 2, 3, 5)), time, values, random.random() < 0.05))
    return made


@pytest.mark.parametrize("seed", range(6))
def test_accounts_survive_restarts_compaction_and_late_rows(world: World, seed: int) -> None:
    random = Random(seed)  # noqa: S311  seeded, and no secret
    steps = itertools.count()
    deeds: list[tuple[float, Callable[[], object]]] = [
        (1.0, lambda: world.write(rows_of(random, steps))),
        (0.4, lambda: world.meter.step({"0": world.writer.synced})),
        (0.1, lambda: setattr(world, "meter", world.started())),
        (0.1, lambda: list(world.compactor.steps(NOW, {"0": world.writer.synced}))),
        (0.1, lambda: world.agree(random.choice(PERIODS), slots=(random.choice(SLOTS),))),
        (0.1, lambda: world.agree(random.choice(PERIODS))),
        (0.05, world.another_publisher),
    ]
    world.agree(slots=SLOTS[:2])
    for _ in range(60):
        for chance, deed in deeds:
            if random.random() < chance:
                deed()
    world.agree()
    world.settle()
    world.check()
    for number, meter in enumerate(METERS):
        for start, end in itertools.pairwise(EDGES):
            found = count(world.store, 1, meter, start, end)
            expected = tally(meter, world.readings(1, meter.metric), start, end)
            assert (seed, number, found.total) == (seed, number, expected)
            ends = sorted(random.randrange(start, end) for _ in range(4))
            parts = [tally(meter, world.readings(1, meter.metric), start, until) for until in ends]
            assert Totals(world.store)(1, meter, start, ends) == parts


def test_accounts_are_made_anew_where_the_last_file_is_torn(world: World) -> None:
    world.agree()
    random = Random(1)  # noqa: S311  seeded, and no secret
    steps = itertools.count(600)
    for _ in range(3):
        world.write(rows_of(random, steps))
        world.settle()
    newest = (world.places.accounts / "CURRENT").resolve()
    newest.write_bytes(newest.read_bytes()[:-9] + b"\xff" * 9)
    world.meter = world.started()
    world.settle()
    world.check()


def test_a_row_of_a_closed_period_is_told_as_a_correction(world: World) -> None:
    world.agree()
    world.write([Stored(1, EDGES[1] + S, (1.0, 1.0, 1.0), hidden=False)])
    world.settle()
    late = EDGES[0] + 5 * S
    world.write([Stored(1, late, (0.5, 1.0, 1.0), hidden=False)])
    world.settle()
    corrections = [record for record in world.told() if record["late"]]
    assert {record["meter"] for record in corrections} == set(range(len(METERS)))
    assert {record["late"] for record in corrections} == {late}
    world.check()


def test_a_row_that_comes_after_its_period_is_told_though_none_of_a_later_one_came(
    world: World,
) -> None:
    """A product was offline when its period ended, and sends what it measured before."""
    world.agree()
    world.write([Stored(1, EDGES[0] + S, (1.0, 1.0, 1.0), hidden=False)])
    world.settle()
    assert [record for record in world.told() if record["late"]] == []
    late = EDGES[0] + 5 * S
    world.write([Stored(1, late, (1.5, 1.0, 1.0), hidden=False)], EDGES[1])
    world.settle()
    corrections = [record for record in world.told() if record["late"]]
    assert {(record["meter"], record["late"]) for record in corrections} == {
        (number, late) for number in range(len(METERS))
    }
    world.check()


def test_a_row_that_was_counted_by_the_old_marks_is_told_by_the_new_ones(world: World) -> None:
    world.agree()
    rows = [Stored(1, START + k * S, (k * 0.1, 1.0, 1.0), hidden=False) for k in range(4)]
    world.write(rows)
    world.settle()
    assert list(world.told()) == []
    world.agree(marks=(200, 300))  # control has looked at the account, and then this came
    world.settle()
    told = [(one["meter"], one["level"], one["total"]) for one in world.told()]
    assert told == [(0, 2, 300), (2, 2, 400)]
    world.agree(marks=(200, 300))
    world.settle()
    assert len(list(world.told())) == 2  # as before: nothing to tell
    world.meter = world.started()
    world.settle()
    assert len(list(world.told())) == 4  # what is used up is told again after a start


class Machine:
    """A machine with a worker on it, whose clocks a test turns by hand (seconds)."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.boot, self.up, self.at = 1, 0, 0
        self.ahead = 0

    def beats(self, *, after: int) -> None:
        self.up += after
        self.at += after
        beat = Beat(bytes([self.boot]) * 16, self.up * S, START + self.at * S)
        received = START + (self.at + self.ahead) * S
        self.world.writer.append(Kind.BEAT, [beat.encode()], received)
        self.world.writer.sync()
        self.world.meter._outage_ns = 600 * S
        self.world.settle()

    def told(self) -> list[tuple[int, int, int]]:
        found = {(one["slot"], one["start"], one["total"]) for one in self.world.told()}
        return [
            (slot, (start - START) // S, (end - START) // S) for slot, start, end in sorted(found)
        ]


def test_a_pause_between_beats_is_told_as_an_outage_also_over_a_restart(world: World) -> None:
    world.agree()
    machine = Machine(world)
    for after in (0, 5, 495, 400):
        machine.beats(after=after)
    # Rows tell nothing of how long somebody listened: their time may have leapt.
    world.write([Stored(1, START + 1_000 * S, (1.0, 1.0, 1.0), hidden=False)])
    world.settle()
    world.meter = world.started()
    machine.beats(after=4_100)
    machine.beats(after=5)
    assert machine.told() == [(0, 900, 5_000)]


def test_a_leap_of_the_clock_is_no_outage_and_hides_none(world: World) -> None:
    world.agree()
    machine = Machine(world)
    machine.beats(after=0)
    machine.ahead = 40 * DAY // S  # `homeport clock advance 40d`
    machine.beats(after=5)
    machine.ahead = 39 * DAY // S  # and back: somebody sets the machine's clock
    machine.beats(after=5)
    assert machine.told() == []
    machine.ahead += 3_600  # while the hub is down
    machine.beats(after=1_000)
    end = machine.at + machine.ahead
    assert machine.told() == [(0, end - 1_000, end)]
    # After a boot the world's time is all there is to go by; how far the hub's is ahead of it does not count.
    world.meter = world.started()
    machine.boot, machine.up, machine.ahead = 2, 0, 80 * DAY // S
    machine.beats(after=60)
    assert len(machine.told()) == 1
    machine.boot, machine.up = 3, -1_990
    machine.beats(after=2_000)
    end = machine.at + machine.ahead
    assert machine.told()[1:] == [(0, end - 2_000, end)]


def test_beats_of_an_older_hub_tell_nothing(world: World) -> None:
    world.agree()
    world.writer.append(Kind.BEAT, [], START)
    Machine(world).beats(after=5_000)
    assert list(world.told()) == []


def test_what_the_meter_did_and_has_left_to_do_is_measured(world: World) -> None:
    def measured(name: str, **labels: str) -> float | None:
        return world.meter._metrics.registry.get_sample_value(f"homeport_{name}", labels)

    world.agree(marks=(2,))
    world.write([Stored(1, EDGES[1] + S, (1.0, 1.0, 1.0), hidden=False)])
    world.meter.step({})
    assert measured("meter_rows_total") == 0
    world.meter.step({"0": world.writer.synced})
    assert (measured("meter_rows_total"), measured("meter_lag_bytes", journal="0")) == (1, 0)
    assert measured("meter_accounts") == len(SLOTS) * len(METERS)
    assert measured("meter_terms_timestamp_seconds") == NOW / S
    received = EDGES[1] + S  # a row that reached a mark is told with the time at which it came
    assert {one["received"] for one in world.told()} == {received}
    world.write([Stored(2, START + S, (0.5, 1.0, 1.0), hidden=False)])
    world.write([Stored(2, START, (0.5, 1.0, 1.0), hidden=False)])
    world.settle()
    assert measured("meter_recounts_total")
    assert measured("meter_recounts_waiting") == 0
