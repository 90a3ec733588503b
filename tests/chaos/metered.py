"""The simulated hub and device with a meter beside them: what is stored once is counted once, whatever is killed.

1. The meter reads the real journal and archive of the simulated hub, under the same faults; it is killed too, between
   any two of its writes to disk and what they stand for.
2. Every row has a value of its own, so the sum of all that is stored can only be right if each counted once.
"""

from entitlements.billing.meters import Aggregation, Meter
from hub.app.usage_meter import MeterPlaces, UsageMeter
from hub.ports.journal.writer import JournalWriter
from hub.ports.store.compaction import Compactor
from hub.ports.store.embedded import EmbeddedStore
from hub.services.meter_terms import AccountTerms
from hub.services.meter_terms_table import compile_terms
from hub.services.snapshot_file import publish_snapshot, read_snapshot
from hub.services.usage_accounts import accounts_of
from tests.chaos.simulation import SLOT, Simulation
from tests.hub.pipeline.frame_bench import NOW

METERS = (Meter("rows", 0, Aggregation.COUNT), Meter("sum", 0, Aggregation.SUM, 6))
_DAY = 86_400_000_000_000
_EDGES = (NOW - _DAY, NOW + 30 * _DAY, NOW + 60 * _DAY)
METER_FAULTS = {"count_usage": 6, "kill_meter": 2, "agree_anew": 1, "compact": 1}


class MeteredSimulation(Simulation):
    """A simulation whose rows are counted; see `Simulation`."""

    def __post_init__(self) -> None:
        self._meter: UsageMeter | None = None
        self._log: JournalWriter | None = None
        super().__post_init__()
        self._journals = {"0": self.folder / "hub" / "journal"}
        self._places = MeterPlaces(self.folder / "terms", self.folder / "accounts", self._journals)
        self._store = EmbeddedStore(self.folder / "hub" / "store", self._journals)
        self.agree_anew()

    def agree_anew(self) -> None:
        """Publish terms, with other marks each time."""
        mark = self.chance.randint(1, 400)
        terms = (AccountTerms(SLOT, number, _EDGES, (mark,)) for number in range(len(METERS)))
        publish_snapshot(self._places.terms, compile_terms(METERS, terms).arrays())

    def count_usage(self) -> None:
        """Let the meter count what is synced by now, once."""
        if self._meter is None:
            self._log = JournalWriter.open(self.folder / "usage", now_ns=self.hub.now)
            self._meter = UsageMeter(self._places, self._log, self._store, lambda: self.hub.now)
        self._meter.step({"0": self.hub._journals[0].synced})

    def kill_meter(self) -> None:
        """`kill -9` the meter; half of the time after it told and before it published."""
        meter, self._meter = self._meter, None
        if meter is not None and self.chance.random() < 0.5:
            vars(meter)["_publish"] = lambda: None
            meter.step({"0": self.hub._journals[0].synced})
        if self._log is not None:
            self._log._dead = "it was killed"
            self._log.close()
            self._log = None

    def compact(self) -> None:
        """Bring sealed segments into the archive."""
        with Compactor(self.folder / "hub" / "store", self._journals) as compactor:
            compactor.run(self.hub.now, {"0": self.hub._journals[0].synced})

    def counted(self) -> tuple[list[int], list[int]]:
        """Return what the accounts say, and what the stored rows themselves say."""
        for _ in range(4):  # terms are taken, then rows, then what the archive must count
            self.count_usage()
        accounts = accounts_of(read_snapshot(self._places.accounts))
        rows, _ = self.hub.returned()
        quantities = [round(value * METERS[1].scale) for _, value in rows]
        return accounts["total"].tolist(), [len(rows), sum(quantities)]

    def end(self) -> None:
        """Close everything."""
        self.kill_meter()
        super().end()
