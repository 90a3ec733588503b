"""Which products are counted by which meters, in which periods and with which marks: from the facts.

1. A period is a month: of the subscription that covers a metered feature, counted from its start, else of
   the calendar where the product stands. A change of owner begins another: nobody pays, or is told, what
   somebody else used.
2. Marks are shares of the quota as the facts have it now; where no quota holds there are none.
3. Changes only mark products; one thread compiles and publishes, and what fails is tried again.

What must never live here: counting (the process `meter` does), or what follows from a mark (`usage`).
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from entitlements.billing.meters import Aggregation, Meter
from entitlements.billing.periods import month_begin, renewals
from entitlements.decision import decide
from entitlements.facts import Facts, Feature, FeatureKind, HoldKind
from entitlements.ladder import ownership
from entitlements.status import ENTITLED, status
from hub.ports.database.catalogue_tables import Metric
from hub.ports.database.engine import read_session
from hub.ports.database.product_tables import Product
from hub.ports.database.usage_tables import UsageMeter
from hub.services import changes
from hub.services.facts import load_some
from hub.services.meter_terms import AccountTerms, compile_terms
from hub.services.snapshot_file import publish_snapshot

SHARES: Final = (50, 80, 100)
"""Percent of a quota at which people are told."""
COALESCE_S: Final = 0.1
RETRY_S: Final = 2.0
_DAY: Final = 86_400_000_000_000
_BACK: Final = 40 * _DAY
_AHEAD: Final = 400 * _DAY
_ANEW: Final = 20 * _DAY
"""After so long all terms are made anew, as time has come nearer to their last edges."""
_CHUNK: Final = 2_000

_log = logging.getLogger("homeport.usage")


@dataclass(frozen=True, slots=True)
class ModelMeter:
    """A meter of a model.

    Args:
        number: its number.
        title: as people read it.
        unit: UCUM code of what it counts: of the metric that it reads, or `1` for numbers of rows.
        meter: what it counts.
    """

    number: int
    title: str
    unit: str
    meter: Meter


Meters = Mapping[int, tuple[ModelMeter, ...]]
"""Meters by number of the model."""


def load_meters(session: Session) -> Meters:
    """Return all meters, by number of the model."""
    found: dict[int, list[ModelMeter]] = {}
    query = (
        select(UsageMeter, Metric.unit)
        .join(
            Metric,
            (Metric.model_number == UsageMeter.model_number)
            & (Metric.index == UsageMeter.metric_index),
        )
        .order_by(UsageMeter.number)
    )
    for row, unit in session.execute(query):
        aggregation = Aggregation[row.aggregation.upper()]
        meter = Meter(row.name, row.metric_index, aggregation, row.decimals)
        plain = aggregation in {Aggregation.COUNT, Aggregation.UNIQUE}
        found.setdefault(row.model_number, []).append(
            ModelMeter(row.number, row.title, "1" if plain else unit, meter)
        )
    return {model: tuple(meters) for model, meters in found.items()}


def metered(facts: Facts, meter: str) -> Feature | None:
    """Return the feature of a product's model whose quota a meter counts; the first by name."""
    found = [
        feature
        for _, feature in sorted(facts.model.features.items())
        if feature.kind is FeatureKind.METERED and feature.meter == meter
    ]
    return found[0] if found else None


def quota(facts: Facts, feature: Feature, at: int) -> int | None:
    """Return how much of a metered feature may be used in a period, in the unit of its metric.

    Returns:
        None: without limit, or nothing grants the feature at all. That it is used up does not count.
    """
    holds = tuple(hold for hold in facts.holds if hold.kind is not HoldKind.QUOTA)
    decided = decide(replace(facts, holds=holds), feature.name, at)
    value = decided.value
    return value if decided.allowed and type(value) is int and value > 0 else None


def edges(facts: Facts, feature: Feature | None, zone: str, at: int) -> tuple[int, ...]:
    """Return the instants (ns) at which periods begin, from a while ago until far ahead.

    Args:
        facts: of the product.
        feature: the metered feature, `None` without one.
        zone: IANA zone of the product.
        at: now, ns.
    """
    first, last = at - _BACK, at + _AHEAD
    begins = list(
        takewhile(
            lambda begin: begin < last, renewals(zone, _anchor(facts, feature, zone, at), first)
        )
    )
    owners = [owned.start for owned in facts.ownership if first < owned.start <= at]
    return tuple(sorted({*begins, *owners}))


def _anchor(facts: Facts, feature: Feature | None, zone: str, at: int) -> int:
    present = ownership(facts, at)
    starts = [
        subscription.start
        for subscription in facts.subscriptions
        if feature is not None
        and feature.name in facts.plan_of(subscription).features
        and status(subscription, at) in ENTITLED
        and (subscription.epoch is None or present is None or subscription.epoch == present.epoch)
    ]
    return min(starts, default=month_begin(zone, at - _BACK))


def account_terms(
    facts: Facts, meters: Iterable[ModelMeter], zone: str, at: int
) -> list[AccountTerms]:
    """Return what is counted for one product, ns for instants."""
    made = []
    for one in meters:
        feature = metered(facts, one.meter.code)
        limit = None if feature is None else quota(facts, feature, at)
        whole = 0 if limit is None else limit * 10**one.meter.decimals
        marks = {-(-whole * share // 100) for share in SHARES if whole}
        begins = edges(facts, feature, zone, at)
        made.append(AccountTerms(facts.device.slot, one.number, begins, tuple(sorted(marks))))
    return made


class MeterTermsPublisher:
    """Publishes the terms of all accounts after changes; made by the process `control`.

    Args:
        engine: the database, whose committed changes it follows.
        folder: folder of the snapshots.
        clock: the present time, ns.
        settle: told, after terms were published, which products changed (or `EVERY_PRODUCT`).
    """

    def __init__(
        self,
        engine: Engine,
        folder: Path,
        clock: Callable[[], int],
        settle: Callable[[Iterable[str]], None],
    ) -> None:
        self._engine = engine
        self._folder = folder
        self._clock = clock
        self._settle = settle
        self._due = threading.Event()
        self._lock = threading.Lock()
        self._marked: set[str] = {changes.EVERY_PRODUCT}
        self._accounts: dict[int, list[AccountTerms]] = {}
        self._all_at = 0
        changes.listen(engine, self._hear)

    def _hear(self, products: frozenset[str]) -> None:
        with self._lock:
            self._marked |= products
        self._due.set()

    def step(self) -> bool:
        """Take in what changed; say whether terms were published."""
        self._due.clear()
        at = self._clock()
        with self._lock:
            marked, self._marked = self._marked, set()
        if at - self._all_at > _ANEW:
            marked.add(changes.EVERY_PRODUCT)
        if not marked:
            return False
        try:
            changed = self._compile(marked, at)
        except BaseException:
            with self._lock:
                self._marked |= marked
            raise
        if changed:
            self._settle(marked)
        return changed

    def run(self, stop: threading.Event) -> None:
        """Publish after each change, until `stop` is set."""
        self._due.set()
        while not stop.is_set():
            self._due.wait(0.25)
            stop.wait(COALESCE_S)
            try:
                self.step()
            except Exception:  # noqa: BLE001  whatever it was, the terms in force stay
                _log.exception("the terms of meters could not be compiled; those in force stay")
                stop.wait(RETRY_S)

    def _compile(self, marked: set[str], at: int) -> bool:
        with read_session(self._engine) as session:
            meters = load_meters(session)
            if not meters and not self._accounts:
                self._all_at = at
                return False
            before = dict(self._accounts)
            if changes.EVERY_PRODUCT in marked:
                self._accounts, self._all_at = {}, at
                every = select(Product.id).where(Product.model_number.in_(meters))
                products = list(session.scalars(every))
            else:
                products = sorted(marked)
            for start in range(0, len(products), _CHUNK):
                chunk = load_some(session, products[start : start + _CHUNK])
                self._take(session, chunk, meters, at)
        if self._accounts == before:
            return False
        known = {one.number: one.meter for found in meters.values() for one in found}
        table = [known.get(number, _UNUSED) for number in range(max(known, default=0) + 1)]
        accounts = (account for found in self._accounts.values() for account in found)
        publish_snapshot(self._folder, compile_terms(table, accounts).arrays())
        return True

    def _take(self, session: Session, found: Mapping[str, Facts], meters: Meters, at: int) -> None:
        counted = {
            product_id: facts
            for product_id, facts in found.items()
            if facts.device.slot and meters.get(facts.model.number)
        }
        query = select(Product.id, Product.zone).where(Product.id.in_(counted))
        for product_id, zone in session.execute(query):
            facts = counted[product_id]
            terms = account_terms(facts, meters[facts.model.number], zone, at)
            self._accounts[facts.device.slot] = terms


_UNUSED: Final = Meter("", 0, Aggregation.COUNT)
"""In place of numbers that no meter has."""
