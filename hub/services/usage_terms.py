"""Which products are counted by which meters, in which periods and with which marks: from the facts.

1. Marks are shares of what may be used in the present period by what is given now (`usage_balance`);
   where there is no limit there are none.
2. Changes only mark products; one thread compiles and publishes, and what fails is tried again. When a
   grant begins, renews or ends, or a period does, the product is marked by itself.

What must never live here: counting (the process `meter` does), or what follows from a mark (`usage`).
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from entitlements.billing.allowance import marks
from entitlements.billing.meters import Aggregation, Meter
from entitlements.facts import Facts
from hub.ports.database.engine import read_session
from hub.ports.database.product_tables import Product
from hub.ports.store.port import TelemetryStore
from hub.services import changes
from hub.services.facts import load_some
from hub.services.meter_terms import AccountTerms, compile_terms
from hub.services.snapshot_file import publish_snapshot
from hub.services.usage_balance import Given, entries, standing
from hub.services.usage_meters import Meters, ModelMeter, load_meters
from hub.services.usage_periods import DAY, edges

COALESCE_S: Final = 0.1
RETRY_S: Final = 2.0
_SPARED: Final = 4
"""Publishing rests for so many times as long as it took: it writes the terms of all products."""
_ANEW: Final = 20 * DAY
"""After so long all terms are made anew, as time has come nearer to their last edges."""
_CHUNK: Final = 2_000

_log = logging.getLogger("homeport.usage")


class Listed(NamedTuple):
    """A product that is counted: its id, facts and IANA zone."""

    id: str
    facts: Facts
    zone: str


def account_terms(
    session: Session,
    store: TelemetryStore,
    product: Listed,
    meters: Iterable[ModelMeter],
    given: Given,
    at: int,
) -> tuple[list[AccountTerms], int]:
    """Return what is counted for one product, and when that may change by itself (ns).

    Args:
        session: any session.
        store: the archive, for what earlier periods leave to this one.
        product: which.
        meters: of its model.
        given: credit and entries of it.
        at: now, ns.
    """
    made: list[AccountTerms] = []
    cut = at + _ANEW
    for one in meters:
        facts, zone = product.facts, product.zone
        whose = given.metered(product.id, facts, zone, one)
        begins = edges(facts, None if whose is None else whose.feature, zone, at)
        marked: tuple[int, ...] = ()
        if whose is not None:
            plain = not whose.grants and not whose.entries
            stands = standing(session, store, whose, at, 0 if plain else None)
            if not plain or stands.period.terms.carries:
                cut = min(cut, stands.cut)
            start, end = stands.period.start, stands.period.end
            apart = entries(session, product.id, one.number, start, end) if whose.entries else 0
            marked = marks(stands.allowance, stands.period.terms.shares, apart)
        made.append(AccountTerms(facts.device.slot, one.number, begins, marked))
    return made, cut


class _Made(NamedTuple):
    """Terms by device slot, and when those of products turn by themselves."""

    accounts: dict[int, list[AccountTerms]]
    cuts: dict[str, int]


class MeterTermsPublisher:
    """Publishes the terms of all accounts after changes; made by the process `control`.

    Args:
        engine: the database, whose committed changes it follows.
        store: the archive.
        folder: folder of the snapshots.
        clock: the present time, ns.
        settle: told which products stand otherwise now (or `EVERY_PRODUCT`).
        monotonic: seconds of a clock that never steps back.
    """

    def __init__(
        self,
        engine: Engine,
        store: TelemetryStore,
        folder: Path,
        clock: Callable[[], int],
        settle: Callable[[Iterable[str]], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._store = store
        self._folder = folder
        self._clock = clock
        self._settle = settle
        self._monotonic = monotonic
        self._due = threading.Event()
        self._lock = threading.Lock()
        self._marked: set[str] = {changes.EVERY_PRODUCT}
        self._accounts: dict[int, list[AccountTerms]] = {}
        self._table: list[Meter] = []
        self._cuts: dict[str, int] = {}
        self._all_at = 0
        self._unsettled: set[str] = set()
        self._ahead = False
        self._rests_until = 0.0
        changes.listen(engine, self._hear)

    def _hear(self, products: frozenset[str]) -> None:
        with self._lock:
            self._marked |= products
        self._due.set()

    def step(self) -> bool:
        """Take in what changed, and publish; say whether terms were published."""
        self._due.clear()
        at = self._clock()
        turned = {product_id for product_id, cut in self._cuts.items() if cut <= at}
        with self._lock:
            marked, self._marked = self._marked | turned, set()
        if at - self._all_at > _ANEW:
            marked.add(changes.EVERY_PRODUCT)
        try:
            if marked and (self._compile(marked, at) or turned):
                self._unsettled |= marked
            if self._unsettled:
                self._settle(self._unsettled)
                self._unsettled = set()
        except BaseException:
            with self._lock:
                self._marked |= marked
            raise
        return self._publish()

    def run(self, stop: threading.Event) -> None:
        """Publish after each change and when terms turn by themselves, until `stop` is set."""
        self._due.set()
        while not stop.is_set():
            turns = min(self._cuts.values(), default=self._all_at + _ANEW) <= self._clock()
            if not self._due.wait(0.25) and not turns and not self._ahead:
                continue
            stop.wait(COALESCE_S)
            try:
                self.step()
            except Exception:  # noqa: BLE001  whatever it was, the terms in force stay
                _log.exception("the terms of meters could not be compiled; those in force stay")
                self._due.set()
                stop.wait(RETRY_S)

    def _compile(self, marked: set[str], at: int) -> bool:
        """Compile the terms of products; say whether any are others now."""
        with read_session(self._engine) as session:
            meters = load_meters(session)
            every = changes.EVERY_PRODUCT in marked
            if every:
                self._all_at = at
            if not meters and not self._accounts:
                return False
            made = _Made({}, {}) if every else _Made(dict(self._accounts), dict(self._cuts))
            if every:
                counted = select(Product.id).where(Product.model_number.in_(meters))
                products = list(session.scalars(counted))
            else:
                products = sorted(marked)
            for start in range(0, len(products), _CHUNK):
                self._take(session, products[start : start + _CHUNK], meters, made, at)
        known = {one.number: one.meter for found in meters.values() for one in found}
        table = [known.get(number, _UNUSED) for number in range(max(known, default=0) + 1)]
        changed = made.accounts != self._accounts
        self._accounts, self._cuts = made
        self._ahead |= changed or table != self._table
        self._table = table
        return changed

    def _take(
        self, session: Session, product_ids: list[str], meters: Meters, made: _Made, at: int
    ) -> None:
        counted = {
            product_id: facts
            for product_id, facts in load_some(session, product_ids).items()
            if facts.device.slot and meters.get(facts.model.number)
        }
        given = Given.load(session, list(counted))
        query = select(Product.id, Product.zone).where(Product.id.in_(counted))
        for product_id, zone in session.execute(query):
            facts = counted[product_id]
            listed = Listed(product_id, facts, zone)
            found = meters[facts.model.number]
            terms, cut = account_terms(session, self._store, listed, found, given, at)
            made.accounts[facts.device.slot] = terms
            made.cuts.pop(product_id, None)
            if cut < at + _ANEW:
                made.cuts[product_id] = cut

    def _publish(self) -> bool:
        begin = self._monotonic()
        if not self._ahead or begin < self._rests_until:
            return False
        accounts = (account for found in self._accounts.values() for account in found)
        publish_snapshot(self._folder, compile_terms(self._table, accounts).arrays())
        self._ahead = False
        end = self._monotonic()
        self._rests_until = end + _SPARED * (end - begin)
        return True


_UNUSED: Final = Meter("", 0, Aggregation.COUNT)
"""In place of numbers that no meter has."""
