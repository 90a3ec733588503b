"""Which products are counted by which meters, in which periods and with which marks: from the facts.

1. Marks are shares of what may be used in the present period by what is given now (`usage_balance`);
   where there is no limit there are none.
2. Changes only mark products; one thread compiles those and publishes a patch, and what fails is tried
   again. When a grant begins, renews or ends, or a period or a plan does, the product is marked by itself.
3. All products are gone through after a start, a change of the catalogue and an outage, some at a time:
   what is marked goes first. A start begins with what the run before it published.

What must never live here: counting (the process `meter` does), or what follows from a mark (`usage`).
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from heapq import heappop, heappush
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from entitlements.billing.allowance import marks
from entitlements.billing.meters import Aggregation, Meter
from entitlements.facts import Facts
from entitlements.status import ended_at
from hub.errors import StorageError
from hub.ports.database.engine import read_session
from hub.ports.database.product_tables import Product
from hub.ports.store.port import TelemetryStore
from hub.services import changes
from hub.services.catalogue_facts import load_catalogue
from hub.services.facts import load_some
from hub.services.meter_terms import AccountTerms, MeterTerms
from hub.services.meter_terms_table import TermsTable
from hub.services.snapshot_file import (
    current_version,
    publish_patch,
    publish_snapshot,
    read_snapshot,
)
from hub.services.usage_archive import Totals
from hub.services.usage_balance import Given, entries, standing
from hub.services.usage_meters import Meters, ModelMeter
from hub.services.usage_periods import DAY, edges

COALESCE_S: Final = 0.02
"""Rest after a step, in which further changes gather."""
RETRY_S: Final = 2.0
_SPARED: Final = 2
"""Going through all products rests for so many times as long as a part of them took."""
_LOOK_S: Final = 0.25
"""How often it is looked whether terms turn by themselves."""
_ANEW: Final = 20 * DAY
"""After so long all terms are made anew, as time has come nearer to their last edges."""
_PART: Final = 200
"""Products that are compiled between two looks at what changed."""

_log = logging.getLogger("homeport.usage")


class Listed(NamedTuple):
    """A product that is counted: its id, facts and IANA zone."""

    id: str
    facts: Facts
    zone: str


def account_terms(
    session: Session,
    archive: Totals,
    product: Listed,
    meters: Iterable[ModelMeter],
    given: Given,
    at: int,
) -> tuple[list[AccountTerms], int]:
    """Return what is counted for one product, and when that may change by itself (ns).

    Args:
        session: any session.
        archive: reads it, for what earlier periods and credit leave.
        product: which.
        meters: of its model.
        given: credit and entries of it.
        at: now, ns.
    """
    made: list[AccountTerms] = []
    ends = (ended_at(subscription) for subscription in product.facts.subscriptions)
    cut = min([at + _ANEW, *(end for end in ends if end is not None and end > at)])
    for one in meters:
        facts, zone = product.facts, product.zone
        whose = given.metered(product.id, facts, zone, one)
        begins = edges(facts, None if whose is None else whose.feature, zone, at)
        marked: tuple[int, ...] = ()
        if whose is not None:
            plain = not whose.grants and not whose.entries
            stands = standing(session, archive, whose, at, 0 if plain else None)
            if not plain or stands.period.terms.carries:
                cut = min(cut, stands.cut)
            start, end = stands.period.start, stands.period.end
            apart = entries(session, product.id, one.number, start, end) if whose.entries else 0
            marked = marks(stands.allowance, stands.period.terms.shares, apart)
        made.append(AccountTerms(facts.device.slot, one.number, begins, marked))
    return made, cut


class MeterTermsPublisher:
    """Publishes the terms of all accounts after changes; made by the process `control`.

    Args:
        engine: the database, whose committed changes it follows.
        store: the archive.
        folder: folder of the snapshots.
        clock: the present time, ns.
        settle: told which products stand otherwise now (or `EVERY_PRODUCT`), and what was read of the archive for it.
    """

    def __init__(
        self,
        engine: Engine,
        store: TelemetryStore,
        folder: Path,
        clock: Callable[[], int],
        settle: Callable[[Iterable[str], Totals], None],
    ) -> None:
        self._engine = engine
        self._store = store
        self._folder = folder
        self._clock = clock
        self._settle = settle
        self._due = threading.Event()
        self._lock = threading.Lock()
        self._marked: set[str] = {changes.EVERY_PRODUCT}
        self._table: TermsTable | None = None
        # Whether the table may be published, is ahead of what is published, and of which whole version.
        self._complete = self._ahead = False
        self._base: int | None = None
        self._published = 0  # accounts
        self._cuts: dict[str, int] = {}
        self._turns: list[tuple[int, str]] = []
        self._round: deque[str] = deque()
        self._seen: set[int] = set()
        self._all_at = 0
        self._unsettled: set[str] = set()
        changes.listen(engine, self._hear, changes.About.COUNTING)

    def _hear(self, products: frozenset[str]) -> None:
        with self._lock:
            self._marked |= products
        self._due.set()

    def step(self, *, goes_on: bool = True) -> bool:
        """Take in what changed; say whether terms were published.

        Args:
            goes_on: also take some of those that are gone through, if there are any.
        """
        self._due.clear()
        at, archive = self._clock(), Totals(self._store)
        with self._taken(at) as (marked, turned):
            with read_session(self._engine) as session:
                meters = load_catalogue(session).meters
            table = self._described(meters)
            every = changes.EVERY_PRODUCT in marked or at - self._all_at > _ANEW
            named = sorted(marked - {changes.EVERY_PRODUCT})
            changed = self._compile(table, archive, named, meters, at)
            self._unsettled |= changed | turned
            if every:
                self._begin_round(meters, at)
        published = self._publish(table)
        self._settle_changed(archive)
        if goes_on and (not self._complete or self._round):
            archive = Totals(self._store)
            self._go_on(table, archive, meters, at)
            if self._is_worth_it(table):
                published |= self._publish(table)
            self._settle_changed(archive)
        return published

    def run(self, stop: threading.Event) -> None:
        """Publish after each change and when terms turn by themselves, until `stop` is set."""
        self._due.set()
        rests_until = 0.0
        while not stop.is_set():
            rest = min(rests_until - time.monotonic(), _LOOK_S) if self._round else _LOOK_S
            if rest > 0 and not self._due.wait(rest) and not self._turns_by(self._clock()):
                continue
            began = time.monotonic()
            goes_on = began >= rests_until
            try:
                self.step(goes_on=goes_on)
            except Exception:  # noqa: BLE001  whatever it was, the terms in force stay
                _log.exception("the terms of meters could not be compiled; those in force stay")
                self._due.set()
                stop.wait(RETRY_S)
            if goes_on:  # nobody waits for it, and the other threads of the process have work
                now = time.monotonic()
                rests_until = now + _SPARED * (now - began)
            stop.wait(COALESCE_S)

    def _settle_changed(self, archive: Totals) -> None:
        if self._unsettled:
            self._settle(self._unsettled, archive)
            self._unsettled = set()

    def _is_worth_it(self, table: TermsTable) -> bool:
        """Say whether to publish while all products are gone through: all of it is written where many are new."""
        new = table.accounts - self._published
        return not self._round or new < _PART or new >= self._published

    def _turns_by(self, at: int) -> bool:
        return bool(self._turns and self._turns[0][0] <= at) or at - self._all_at > _ANEW

    @contextmanager
    def _taken(self, at: int) -> Iterator[tuple[set[str], set[str]]]:
        """Take what is marked and, of that, what turned by itself; put it back if that fails."""
        turned = set()
        while self._turns and self._turns[0][0] <= at:
            cut, product_id = heappop(self._turns)
            if self._cuts.get(product_id) == cut:
                turned.add(product_id)
        with self._lock:
            marked, self._marked = self._marked | turned, set()
        try:
            yield marked, turned
        except BaseException:
            with self._lock:
                self._marked |= marked
            self._unsettled |= turned
            raise

    def _described(self, meters: Meters) -> TermsTable:
        """Return the table with the meters that there are; numbers that no meter has stay."""
        table = self._table
        known = {one.number: one.meter for found in meters.values() for one in found}
        before = self._earlier() if table is None else None
        numbers = len(table.meters) if table else 0 if before is None else before.metric.size
        listed = [known.get(n, _UNUSED) for n in range(max(numbers, max(known, default=-1) + 1))]
        if table is None:
            table = self._table = TermsTable(listed, before)
            # Where nothing was ever published, nobody is forgotten while some are still missing.
            young = current_version(self._folder) is None
            self._complete, self._ahead = young or before is not None, young
            self._published = table.accounts
        else:
            self._ahead |= table.describe(listed)
        return table

    def _earlier(self) -> MeterTerms | None:
        """Return what an earlier run published, unless it is of an older version or damaged."""
        try:
            return MeterTerms.of(read_snapshot(self._folder).arrays)
        except StorageError:  # there is none, or a power failure tore a patch
            return None

    def _compile(
        self,
        table: TermsTable,
        archive: Totals,
        product_ids: Sequence[str],
        meters: Meters,
        at: int,
    ) -> set[str]:
        """Compile the terms of products; return those that have others now."""
        changed: set[str] = set()
        if not meters:
            return changed
        for start in range(0, len(product_ids), _PART):
            with read_session(self._engine) as session:
                part = product_ids[start : start + _PART]
                changed |= self._take(session, table, archive, part, meters, at)
        self._ahead |= bool(changed)
        return changed

    def _take(
        self,
        session: Session,
        table: TermsTable,
        archive: Totals,
        product_ids: Sequence[str],
        meters: Meters,
        at: int,
    ) -> set[str]:
        counted = {
            product_id: facts
            for product_id, facts in load_some(session, product_ids).items()
            if facts.device.slot and meters.get(facts.model.number)
        }
        given = Given.load(session, list(counted))
        query = select(Product.id, Product.zone).where(Product.id.in_(counted))
        changed = set()
        for product_id, zone in session.execute(query):
            facts = counted[product_id]
            listed = Listed(product_id, facts, zone)
            found = meters[facts.model.number]
            terms, cut = account_terms(session, archive, listed, found, given, at)
            if table.put(facts.device.slot, terms):
                changed.add(product_id)
            self._seen.add(facts.device.slot)
            self._turn(product_id, cut if cut < at + _ANEW else None)
        return changed

    def _turn(self, product_id: str, cut: int | None) -> None:
        if cut == self._cuts.get(product_id):
            return
        if cut is None:
            del self._cuts[product_id]
        else:
            self._cuts[product_id] = cut
            heappush(self._turns, (cut, product_id))

    def _begin_round(self, meters: Meters, at: int) -> None:
        counted = select(Product.id).where(Product.model_number.in_(meters))
        with read_session(self._engine) as session:
            self._round = deque(session.scalars(counted.order_by(Product.id)))
        self._seen, self._all_at = set(), at

    def _go_on(self, table: TermsTable, archive: Totals, meters: Meters, at: int) -> None:
        """Compile some more of all products; whoever is not among them is not counted any more."""
        part = [self._round.popleft() for _ in range(min(_PART, len(self._round)))]
        try:
            self._compile(table, archive, part, meters, at)
        except BaseException:
            self._round.extendleft(reversed(part))
            raise
        if self._round:
            return
        for slot in table.slots.tolist():
            if slot not in self._seen:
                self._ahead |= table.put(slot, ())
        self._ahead |= not self._complete
        self._complete = True
        self._unsettled.add(changes.EVERY_PRODUCT)

    def _publish(self, table: TermsTable) -> bool:
        if not self._complete or not self._ahead:
            return False
        patch = None if self._base is None else table.patch()
        if self._base is None or patch is None:
            self._base = None  # patches of it are not made any more, even if this fails
            self._base = publish_snapshot(self._folder, table.whole().arrays())
        else:
            publish_patch(self._folder, self._base, patch)
        self._ahead, self._published = False, table.accounts
        return True


_UNUSED: Final = Meter("", 0, Aggregation.COUNT)
"""In place of numbers that no meter has."""
