"""Metered usage beside everything that goes wrong: what is told and given meanwhile, and whether all of it adds up.

1. What is told and given over the API has an id and is repeated until it is answered, as a careful caller does.
2. What must come out is said by the plain definition (`entitlements.billing.meters.tally`) over the rows that the API
   returns, which the ledger compares with what products recorded; nothing that the hub counts is believed.
3. Two meters: one of a hard quota with credit, one of a soft limit whose overage is billed.
What must never live here: what is hurt.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, TypeVar

import httpx

from entitlements.billing.meters import Aggregation, Meter, Reading, tally
from entitlements.billing.money import Money
from entitlements.billing.periods import renewal
from entitlements.billing.price import UnitPrice
from firmware_sim import onboarding
from firmware_sim.hub_client import HubAnswerError, HubClient, rfc3339
from firmware_sim.recording import time_ns
from tests.chaos.fleet import NAMING, Fleet, Product
from tests.e2e import world
from tests.e2e.world import DAY_NS, Home, Unit, World

PLAN: Final = "metered"
QUOTA: Final = 400
INCLUDED: Final = 5_000
PRICE: Final = UnitPrice(Money(1, "EUR"), 10)
ROWS: Final = Meter("rows", 0, Aggregation.COUNT)
HEAT: Final = Meter("heat", 0, Aggregation.SUM, 7)
"""Every row has a value of its own, so a sum is right only if each counted once."""
LEAP_H: Final = 6
"""How far (hours) the clock goes: two to the end of the month, one until it may be closed, one until each product was
looked at again, and what is left to spare. Nobody is signed out."""
_ENDS_NS: Final = 2 * 3_600 * 10**9
_PATIENCE_S: Final = 120.0

T = TypeVar("T")


def document() -> dict[str, Any]:
    """Return the catalogue: the model that all products are of, with meters, and a plan with limits."""
    model = world.catalogue_document()["models"][world.MODEL]
    meters = {
        "rows": {"metric": NAMING, "aggregation": "count"},
        "heat": {"metric": NAMING, "aggregation": "sum", "decimals": HEAT.decimals},
    }
    features = {
        **model["features"],
        "readings": {"kind": "metered", "meter": "rows"},
        "warmth": {"kind": "metered", "meter": "heat"},
    }
    version = {
        "version": 1,
        "features": {
            "telemetry": {},
            "readings": {"value": QUOTA, "limit": "hard"},
            "warmth": {"value": INCLUDED, "limit": "soft"},
        },
        "overage": {"heat": {"EUR": "0.01", "per": PRICE.per}},
    }
    return {
        "models": {
            world.MODEL: {
                **model,
                "meters": {**model.get("meters", {}), **meters},
                "features": features,
            }
        },
        "plans": {PLAN: {"title": "Metered", "versions": [version]}},
        "taxes": {"DE": {"rates": {"standard": "19"}}},
    }


def sold(where: World, home: Home) -> Unit:
    """Sell a product whose month of usage ends within hours."""
    unit = where.make()
    onboarding.claim(home.api, unit.made)
    now = time.time_ns()
    begins = (  # not every day is there in every month
        now + _ENDS_NS - days * DAY_NS
        for days in range(27, 63)
        if any(
            renewal("UTC", now + _ENDS_NS - days * DAY_NS, months) == now + _ENDS_NS
            for months in (1, 2)
        )
    )
    where.subscribe(home, unit, PLAN, next(begins) - now, 365 * DAY_NS)
    return unit


def again(ask: Callable[[], T]) -> T:
    """Ask until somebody answers: the process that does may have been killed."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return ask()
        except (httpx.TransportError, HubAnswerError) as error:
            refused = isinstance(error, HubAnswerError) and error.status < 500
            if refused or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@dataclass
class _Told:
    """What a product's usage has beside telemetry: events `(meter, quantity, ns)`, and credit for rows."""

    events: list[tuple[str, int, int]] = field(default_factory=list)
    credit: int = 0


@dataclass
class UsageBook:
    """What was told and given of the usage of a fleet.

    Args:
        vendor: tells it.
        fleet: whose.
        chance: draws everything.
    """

    vendor: HubClient
    fleet: Fleet
    chance: random.Random
    _of: dict[str, _Told] = field(default_factory=dict)
    _number: int = 0

    def write(self, now: int) -> None:
        """Tell some usage of each product, some of it a second time, and give one of them credit."""
        for product in self.fleet.products:
            self._tell(product, now)
        self._give(self.chance.choice(self.fleet.products))

    def _tell(self, product: Product, now: int) -> None:
        told = self._of.setdefault(product.unit.id, _Told())
        events = []
        for _ in range(self.chance.randrange(1, 4)):
            self._number += 1
            meter = self.chance.choice((ROWS, HEAT))
            units = self.chance.randrange(1, 9)
            at = now - self.chance.randrange(1_000_000)  # not before the product was sold
            told.events.append((meter.code, units * 10**meter.decimals, at))
            events.append(
                {
                    "id": f"e{self._number}",
                    "meter": meter.code,
                    "quantity": str(units),
                    "at": rfc3339(at),
                }
            )
        body = {"events": events + events[:1]}
        path = f"/products/{product.unit.id}/usage-events"
        answer = again(lambda: self.vendor.call("POST", path, body))
        fates = Counter(one["fate"] for one in answer["events"])
        # All are duplicates if the one who took them was killed before it answered.
        assert not fates["rejected"], answer
        assert fates["duplicate"] in {1, len(events) + 1}, answer

    def _give(self, product: Product) -> None:
        self._number += 1
        amount = self.chance.randrange(50, 800)
        body = {
            "meter": ROWS.code,
            "kind": "topup",
            "amount": str(amount),
            "reason": "bought",
            "cause": f"order:{self._number}",
        }
        path = f"/products/{product.unit.id}/credit-grants"
        again(lambda: self.vendor.call("POST", path, body))
        self._of[product.unit.id].credit += amount

    def settled(self) -> list[str]:
        """Wait until all adds up; returns what does not, one sentence each."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            wrong = [text for product in self.fleet.products for text in self._wrong(product)]
            if not wrong or time.monotonic() > deadline:
                return wrong
            time.sleep(0.5)

    def _wrong(self, product: Product) -> Iterator[str]:
        api = self.fleet.home.api
        unit, told = product.unit, self._of.get(product.unit.id, _Told())
        found = again(lambda: list(self.fleet.returned(product)[0]))
        readings = [Reading(at, 0, seq, value) for seq, (at, value) in enumerate(found)]
        usages = again(lambda: api.call("GET", f"/products/{unit.id}/usage"))["usage"]
        listed = again(lambda: api.call("GET", f"/products/{unit.id}/usage-statements"))
        lines = again(lambda: list(_lines(api, unit.made.product_id)))
        for meter in (ROWS, HEAT):
            one = _Counted(
                meter,
                next(usage for usage in usages if usage["meter"] == meter.code),
                _newest(listed["statements"], meter.code),
                told.credit if meter is ROWS else 0,
            )
            events = [(at, units) for code, units, at in told.events if code == meter.code]
            for sentence in one.wrong(readings, events):
                yield f"{unit.id} {meter.code}: {sentence}"
            if meter is HEAT:
                for sentence in one.unbilled(lines):
                    yield f"{unit.id} {meter.code}: {sentence}"


@dataclass(frozen=True, slots=True)
class _Counted:
    """What the hub says of a meter: its present period, the newest statements of those that are over, and
    how much credit was given for it."""

    meter: Meter
    usage: Mapping[str, Any]
    statements: Mapping[int, Mapping[str, Any]]
    credit: int

    def wrong(
        self, readings: Sequence[Reading], events: Sequence[tuple[int, int]]
    ) -> Iterator[str]:
        """Compare with rows and events; yields what differs."""
        whole = 0
        for start, end, said in self._periods():
            must = tally(self.meter, readings, start, end)
            must += sum(units for at, units in events if start <= at < end)
            whole += must
            if said != must:
                yield f"{said} were counted in the period from {start} and {must} are stored"
        must = tally(self.meter, readings, -(1 << 63), (1 << 63) - 1) + sum(n for _, n in events)
        if whole != must:
            yield f"{must} were used, of which the periods have {whole}"
        yield from self._misspent()

    def _misspent(self) -> Iterator[str]:
        """Compare what grants paid for with what was used, and what was given with what is left."""
        usage = self.usage
        total, over = self._units(usage["total"]), self._units(usage["overage"])
        paid = {one["grant"]: self._units(one["paid"]) for one in usage["balances"]}
        if sum(paid.values()) + over != total:
            yield f"{total} were used, {sum(paid.values())} paid for and {over} not"
        stretches: Counter[str] = Counter()
        for one in usage["payments"]:
            stretches[one["grant"]] += self._units(one["quantity"])
        if stretches != Counter({grant: units for grant, units in paid.items() if units}):
            yield f"payments say {stretches} and balances {paid}"
        if usage["used_up"] is not (total >= self._units(usage["allowance"])):
            yield f"used up: {usage['used_up']} at {total} of {usage['allowance']}"
        quota = QUOTA if self.meter is ROWS else INCLUDED * 10**self.meter.decimals
        bought = [one for one in usage["balances"] if one["kind"] != "quota"]
        accounted = sum(self._units(one["paid"]) + self._units(one["left"]) for one in bought)
        for one in self.statements.values():
            used, overage = self._units(one["used"]), self._units(one["overage"])
            accounted += max(0, used - quota) - overage
        if accounted != self.credit:
            yield f"{self.credit} of credit were given, and {accounted} paid for something or are left"
        up: Counter[int] = Counter()
        for one in usage["thresholds"]:
            up[one["share"]] += 1 if one["up"] else -1
            if up[one["share"]] not in {0, 1}:
                yield f"the share {one['share']} was told twice in the same direction"

    def unbilled(self, lines: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        """Compare the lines of invoices with what statements say was used beyond."""
        for start, one in self.statements.items():
            used, overage = self._units(one["used"]), self._units(one["overage"])
            must = max(0, used - INCLUDED * 10**self.meter.decimals)
            own = [line for line in lines if time_ns(line["starts_at"]) == start]
            minor = sum(int(line["net"]["minor"]) for line in own)
            cost = PRICE.cost(0, must, self.meter.decimals).minor
            # Not the quantities of the lines: a revision that costs nothing has none.
            if overage != must or minor != cost:
                yield f"{must} are to be billed as {cost}; {overage} were, as {minor}"

    def _periods(self) -> Iterator[tuple[int, int, int]]:
        for start, one in self.statements.items():
            yield start, _instant(one["end"]), self._units(one["used"])
        usage = self.usage
        yield _instant(usage["start"]), _instant(usage["end"]), self._units(usage["total"])

    def _units(self, text: str) -> int:
        return int(Decimal(text).scaleb(self.meter.decimals))


def _instant(text: str) -> int:
    found = time_ns(text)
    assert found is not None, text
    return found


def _newest(statements: Sequence[Mapping[str, Any]], meter: str) -> dict[int, Mapping[str, Any]]:
    """Return the newest revision of each period of a meter, by its start (ns)."""
    newest: dict[int, Mapping[str, Any]] = {}
    for one in statements:
        start = _instant(one["start"])
        if one["meter"] == meter and one["revision"] >= newest.get(start, one)["revision"]:
            newest[start] = one
    return newest


def _lines(api: HubClient, product_id: str) -> Iterator[Mapping[str, Any]]:
    """Yield the lines for overage of a product on all invoices of its household."""
    after: str | None = None
    while True:
        page = api.call("GET", "/invoices", after=after)
        for invoice in page["items"]:
            whole = api.call("GET", f"/invoices/{invoice['id']}")
            for line in whole["lines"]:
                if line["kind"] == "overage" and line["product_id"] == product_id:
                    yield line
        after = page["next"]
        if after is None:
            return
