"""Keeps the compiled gate snapshot, and the decisions on all features, in step with the facts.

1. The compiled tables stay in memory: a change compiles the products it names, and publishes a
   patch of the last whole snapshot. All products are compiled at the start, when a catalogue
   changes what it says of telemetry, and when very many change at once; then from columns.
2. Changes only mark products; one thread compiles, so many changes cost one publication.
3. Marks are taken before the facts are read: a change during a compile leads to another.
4. What fails leaves the snapshot in force; the marks are put back and tried again.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine

from entitlements.decision_arrays import Decisions
from entitlements.decision_table import DecisionTable
from entitlements.fact_columns import columns_of
from entitlements.facts import Facts
from entitlements.gate import gate_entry, gate_table, gate_terms
from entitlements.gate_fleet import GateFleet
from entitlements.gate_table import GateTable
from hub.ports.database.engine import read_session
from hub.services import changes
from hub.services.catalogue_facts import Catalogue, load_catalogue
from hub.services.fact_columns import load_part
from hub.services.facts import last_slot, load_some
from hub.services.snapshot_file import publish_patch, publish_snapshot

COALESCE_S = 0.02
"""Rest after a publication, in which further changes gather."""
RETRY_S = 2.0
_CHUNK = 2_000
"""Products that are loaded and compiled at once by their facts."""
_PART = 10_000
"""Products that are loaded and compiled at once by columns."""
_MANY = 20_000
"""Changed products from which compiling all is quicker."""
_PAUSE_S = 0.02
"""Between two chunks, for the other threads of the process."""

_log = logging.getLogger("homeport.gate")


class GatePublisher:
    """Publishes after changes; made and started by the process `control`.

    Args:
        engine: the database, whose committed changes it follows.
        folder: folder of the snapshots.
        clock: the present time, ns.
    """

    def __init__(self, engine: Engine, folder: Path, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._folder = folder
        self._clock = clock
        self._due = threading.Event()
        self._done = threading.Condition()
        self._version = 0
        self._marks = 0
        self._published_marks = 0
        self._marked: set[str] = set()
        self._table: GateTable | None = None
        self._known = DecisionTable({}, {})
        self._decisions = self._known.decisions()
        self._catalogue = Catalogue({}, {})
        # The whole version that patches are of, and whether the table is ahead of what is published.
        self._base: int | None = None
        self._ahead = False
        changes.listen(engine, self.mark, changes.About.DECISIONS)

    @property
    def version(self) -> int:
        """The version published last; 0 before the first."""
        return self._version

    @property
    def decisions(self) -> Decisions:
        """The decisions on all features of all enrolled products, as of the last `step`."""
        return self._decisions

    def mark(self, products: Iterable[str]) -> None:
        """Say that the facts of products (or of `EVERY_PRODUCT`) changed; returns at once."""
        with self._done:
            self._marks += 1
            self._marked.update(products)
        self._due.set()

    def step(self) -> int:
        """Take in what is marked and publish what differs; returns the version."""
        with self._taken() as (marks, marked):
            now = self._clock()
            if self._table is None:
                self._compile_all(now)
            else:
                self._compile(self._table, marked, now)
            version = self._publish()
            self._decisions = self._known.decisions()
            with self._done:
                self._version, self._published_marks = version, marks
                self._done.notify_all()
        return version

    def settle(self, timeout_s: float) -> bool:
        """Wait until all that was marked before this call is published; say whether it is."""
        with self._done:
            marks = self._marks
            return self._done.wait_for(lambda: self._published_marks >= marks, timeout_s)

    def run(self, stop: threading.Event) -> None:
        """Publish once, then after each change, until `stop` is set."""
        self._due.set()
        while not stop.is_set():
            if not self._due.wait(0.25):
                continue
            try:
                self.step()
            except Exception:  # noqa: BLE001  whatever it was, the gate in force stays
                _log.exception("the gate could not be compiled; the one in force stays")
                self._due.set()
                stop.wait(RETRY_S)
            stop.wait(COALESCE_S)

    @contextmanager
    def _taken(self) -> Iterator[tuple[int, set[str]]]:
        """Take the marks; put them back if that fails."""
        self._due.clear()
        with self._done:
            marks, marked, self._marked = self._marks, self._marked, set()
        try:
            yield marks, marked
        except BaseException:
            with self._done:
                self._marked |= marked
            raise

    def _compile_all(self, at: int) -> None:
        with read_session(self._engine) as session:
            catalogue, last = load_catalogue(session), last_slot(session)
        table, known = gate_table(), DecisionTable(catalogue.models, catalogue.plans)
        table.describe(catalogue.models.values())
        fleet = GateFleet(known, table, at)
        # A session for each part: each product is read in one state, and what changes meanwhile
        # is marked. The database's log must not grow for as long as all of them take.
        for first in range(1, last + 1, _PART):
            with read_session(self._engine) as session:
                part = load_part(session, known.vocabulary, first, min(first + _PART, last + 1))
            if part is None:
                continue
            known.put(part.columns)
            fleet.put(part.columns, part.device_id, part.cohort)
            if self._version:  # before the first version nobody waits
                time.sleep(_PAUSE_S)
        self._table, self._catalogue, self._base = table, catalogue, None
        self._known = known

    def _compile(self, table: GateTable, marked: set[str], at: int) -> None:
        products = sorted(marked - {changes.EVERY_PRODUCT})
        if len(products) > _MANY:
            self._compile_all(at)
            return
        if len(products) < len(marked):
            with read_session(self._engine) as session:
                catalogue = load_catalogue(session)
            if self._decides_otherwise(catalogue):
                self._compile_all(at)
                return
            self._ahead |= table.describe(catalogue.models.values())
            self._known.describe(catalogue.models, catalogue.plans)
            self._catalogue = catalogue
        for start in range(0, len(products), _CHUNK):
            with read_session(self._engine) as session:
                facts = load_some(session, products[start : start + _CHUNK])
            self._put(table, [one for one in facts.values() if one.device.slot], at)

    def _decides_otherwise(self, catalogue: Catalogue) -> bool:
        """Say whether a new catalogue may change a decision about a product of the one before."""
        before = gate_terms(self._catalogue.models.values(), self._catalogue.plans.values())
        now = gate_terms(catalogue.models.values(), catalogue.plans.values())
        return any(name not in now or now[name] != terms for name, terms in before.items())

    def _put(self, table: GateTable, facts: Sequence[Facts], at: int) -> None:
        self._ahead |= table.put([gate_entry(one, at) for one in facts])
        self._known.put(columns_of(facts, self._known.vocabulary))
        if len(facts) == _CHUNK:
            time.sleep(_PAUSE_S)

    def _publish(self) -> int:
        table = self._table
        if table is None or (self._base is not None and not self._ahead):
            return self._version
        patch = None if self._base is None else table.patch()
        if self._base is None or patch is None:
            self._base = None  # patches of it are not made any more, even if this fails
            version = self._base = publish_snapshot(self._folder, table.whole())
        else:
            version = publish_patch(self._folder, self._base, patch)
        self._ahead = False
        return version
