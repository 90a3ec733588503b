"""What is done to a hub and its products, one function a scenario: `(nemesis, faults wanted) -> outcome`.

1. A scenario has products of its own; its outcome is checked when they are switched off.
2. What an accident may take by its nature is said where it happens (`forgive`); nothing else is forgiven.
3. `SCENARIOS` names them all.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.chaos import usage
from tests.chaos.fleet import FAIR, Conditions, Fleet, Product
from tests.chaos.nemesis import PRODUCTS, Nemesis, Outcome
from tests.chaos.network import Weather

YEARS_NS = 3_652 * 86_400 * 10**9
ROLES = ("ingest-0",) * 12 + ("broker", "control", "authd", "compactor", "compactor")
_AT_ONCE = (
    ("ingest-0",),
    ("meter",),
    ("meter", "meter"),
    ("meter", "ingest-0"),
    ("ingest-0", "meter"),
    ("control", "meter"),
    ("control",),
    ("broker",),
    ("compactor", "meter"),
    ("device",),
)
"""Who is killed, one after the other before anything has recovered."""
_PLACES = ("kill-before-sync", "kill-after-sync", "", "", "")

Scenario = Callable[[Nemesis, int], Outcome]


def hub_kill(nemesis: Nemesis, count: int) -> Outcome:
    """`kill -9` of a role, ingest above all, also while it starts again, and at precise places of a sync."""
    hub, draw = nemesis.hub, nemesis.random
    with nemesis.fleet() as (fleet, out):
        while out.faults.total() < count:
            role, place = draw.choice(ROLES), draw.choice(_PLACES)
            nemesis.wait(0.0, 0.6)
            since = time.monotonic()
            if role == "ingest-0" and place:
                hub.order(place)
                nemesis.hit(hub.obeyed)
            else:
                nemesis.hit(partial(hub.kill, role))
            out.faults[f"kill_{role}"] += 1
            while draw.random() < 0.6 and out.faults.total() < count:
                nemesis.wait(0.0, 1.2)
                if hub.kill(role):
                    since = time.monotonic()
                    out.faults[f"kill_{role}"] += 1
            nemesis.recover(fleet, since, out)
    return out


def broker_wipe(nemesis: Nemesis, count: int) -> Outcome:
    """Kill the broker and delete all that it remembers."""

    def wipe() -> None:
        nemesis.hub.wipe_broker()

    return _blows(nemesis, count, "broker_wiped", wipe)


def store_outage(nemesis: Nemesis, count: int) -> Outcome:
    """The store stands still for a while and dies, or is killed in the middle of a batch."""
    hub = nemesis.hub

    def outage() -> None:
        if nemesis.random.random() < 0.5:
            nemesis.hit(partial(hub.pause, "compactor"))
            nemesis.wait(1.0, 4.0)
        nemesis.hit(partial(hub.kill, "compactor"))

    return _blows(nemesis, count, "store_down", outage)


def io_error(nemesis: Nemesis, count: int) -> Outcome:
    """A sync of the journal fails with EIO."""

    def fail() -> None:
        nemesis.hub.order("eio")
        nemesis.hit(nemesis.hub.obeyed)

    return _blows(nemesis, count, "eio", fail)


def disk_full(nemesis: Nemesis, count: int) -> Outcome:
    """No room for the journal for some seconds."""
    with nemesis.fleet() as (fleet, out):
        while out.faults.total() < count:
            nemesis.wait(0.0, 1.0)
            with nemesis.hub.disk.full() as kind:
                nemesis.wait(3.0, 6.0)
            out.faults[f"disk_full_{kind}"] += 1
            nemesis.recover(fleet, time.monotonic(), out)
    return out


def fleet_reconnect(nemesis: Nemesis, count: int) -> Outcome:
    """All connections are cut hard, and all products come back at once."""
    return _blows(nemesis, count, "reset", nemesis.hub.network.reset_all, 3 * PRODUCTS)


def half_open(nemesis: Nemesis, count: int) -> Outcome:
    """Connections swallow everything and nobody is told."""
    return _blows(nemesis, count, "half_open", nemesis.hub.network.half_open)


def paused_ingest(nemesis: Nemesis, count: int) -> Outcome:
    """The consumer stands still while products go on; time counts from when it may go on."""
    with nemesis.fleet() as (fleet, out):
        while out.faults.total() < count:
            nemesis.wait(0.0, 0.6)
            nemesis.hit(partial(nemesis.hub.pause, "ingest-0"))
            nemesis.wait(1.0, 6.0)
            nemesis.hub.resume("ingest-0")
            out.faults["paused"] += 1
            nemesis.recover(fleet, time.monotonic(), out)
    return out


def worker_kill(nemesis: Nemesis, count: int, products: int = PRODUCTS) -> Outcome:
    """`kill -9` of one of two workers, in turns, also while it is just getting its lane back."""
    with nemesis.fleet(products) as (fleet, out):
        while out.faults.total() < count:
            nemesis.wait(0.0, 1.5)
            role = f"ingest-{out.faults.total() % 2}"
            since = time.monotonic()
            nemesis.hit(partial(nemesis.hub.kill, role))
            out.faults["kill_worker"] += 1
            nemesis.recover(fleet, since, out)
    return out


def worker_pause(nemesis: Nemesis, count: int, products: int = PRODUCTS) -> Outcome:
    """One of two workers stands still for longer than its lease, and goes on while the other has its lane."""
    with nemesis.fleet(products) as (fleet, out):
        while out.faults.total() < count:
            nemesis.wait(0.0, 1.5)
            role = f"ingest-{out.faults.total() % 2}"
            since = time.monotonic()
            nemesis.hit(partial(nemesis.hub.pause, role))
            out.faults["pause_worker"] += 1
            nemesis.recover(fleet, since, out)
            nemesis.wait(0.0, 2.0)
            nemesis.hub.resume(role)
            nemesis.wait(0.0, 4.0)
            nemesis.recover(fleet, time.monotonic())
    return out


def network_loss(nemesis: Nemesis, count: int) -> Outcome:
    """A fifth of packs and receipts vanish; the rest meets retransmissions and cut connections."""
    weather = Weather(stall=0.05, reset=0.005)
    return _spells(nemesis, count, "lossy_spell", weather, Conditions(loss=0.2))


def network_delay(nemesis: Nemesis, count: int) -> Outcome:
    """Everything takes up to half a second each way."""
    return _spells(nemesis, count, "slow_spell", Weather(delay_s=0.5), FAIR)


def poison(nemesis: Nemesis, count: int) -> Outcome:
    """One message in twenty is followed by garbage."""
    return _spells(nemesis, count, "poisoned_spell", Weather(), Conditions(poison=0.05))


def clock_skew(nemesis: Nemesis, count: int) -> Outcome:
    """Clocks are ten years behind or ahead."""
    out = Outcome()
    for i in range(count):
        conditions = Conditions(skew_ns=YEARS_NS if i % 2 else -YEARS_NS)
        with nemesis.fleet(conditions=conditions) as (fleet, one):
            nemesis.wait(1.0, 2.0)
            one.faults["ten_years_ahead" if i % 2 else "ten_years_behind"] += 1
            nemesis.recover(fleet, time.monotonic(), one)
        out.add(one)
    return out


@dataclass(frozen=True, slots=True)
class _Backup:
    """A copy of a folder, taken while nobody uses it."""

    folder: Path
    copy: Path

    def take(self) -> None:
        shutil.copytree(self.folder, self.copy, symlinks=True)

    def put_back(self) -> None:
        shutil.rmtree(self.folder)
        self.copy.rename(self.folder)


def device_restore(nemesis: Nemesis, count: int) -> Outcome:
    """A product's folder goes back to a copy taken in the midst of its life: same stream, seqs used already.

    Half of the time it measures a while before it can speak to the hub. What had no receipt and is not in the copy is
    gone with the device, and excused.
    """
    with nemesis.fleet() as (fleet, out):
        while out.faults.total() < count:
            product = nemesis.random.choice(fleet.products)
            backup = _Backup(product.unit.folder, nemesis.folder / "device-backup")
            _while_off(fleet, product, backup.take)
            copied = time.monotonic()
            nemesis.recover(fleet, copied)
            nemesis.wait(0.0, 1.0)
            offline = nemesis.random.random() < 0.5
            nemesis.hub.network.set(Weather(closed=offline))
            _while_off(fleet, product, backup.put_back, copied)
            nemesis.wait(1.0, 3.0)
            nemesis.hub.network.set(Weather())
            out.faults["restored_offline" if offline else "restored"] += 1
            nemesis.recover(fleet, time.monotonic(), out)
    return out


def hub_restore(nemesis: Nemesis, count: int) -> Outcome:
    """The hub's folder goes back to a copy, and the operator says so (`homeport restored`).

    What was stored before the copy is all there, and once. What was receipted after the copy and forgotten by its
    product is gone with the hub's disk, and excused; what products still held comes again, and all goes on.
    """
    hub = nemesis.hub
    with nemesis.fleet() as (fleet, out):
        while out.faults.total() < count:
            nemesis.recover(fleet, time.monotonic())
            backup = _Backup(hub.data_dir, nemesis.folder / "hub-backup")
            hub.stop()
            backup.take()
            copied = time.monotonic()
            hub.start()
            nemesis.recover(fleet, time.monotonic())
            nemesis.wait(0.0, 1.0)
            hub.stop()
            backup.put_back()
            hub.declare_restored()
            since = time.monotonic()
            for product in fleet.products:
                product.ledger.forgive_stored(copied)
            hub.start()
            out.faults["restored"] += 1
            nemesis.recover(fleet, since, out)
    return out


def backup_restore(nemesis: Nemesis, count: int) -> Outcome:
    """The hub is backed up while products send, loses its disk, and is made anew of the backup.

    What was receipted before the backup began is all there, and once; what was receipted later may be gone with the
    disk. What products still held comes again.
    """
    hub = nemesis.hub
    with nemesis.fleet() as (fleet, out):
        while out.faults.total() < count:
            nemesis.recover(fleet, time.monotonic())
            nemesis.wait(0.0, 1.0)
            file = nemesis.folder / f"backup-{out.faults.total()}.tar"
            began = time.monotonic()
            hub.back_up(file)
            nemesis.recover(fleet, time.monotonic())
            hub.stop()
            hub.lose_and_restore(file)
            since = time.monotonic()
            for product in fleet.products:
                product.ledger.forgive_stored(began)
            hub.start()
            out.faults["restored_from_backup"] += 1
            nemesis.recover(fleet, since, out)
    return out


def metered_usage(nemesis: Nemesis, count: int) -> Outcome:
    """Everything that counts is killed in turns while usage with limits, credit and bills goes on.

    Half-way the hub's month of usage ends: the clock leaps behind it, and with it half of the products; what
    the others measure then comes late to the month that is closed. At the end all must add up: what was
    counted, what grants paid for, and what was billed.
    """
    hub, draw = nemesis.hub, nemesis.random
    usage.again(lambda: nemesis.world.vendor.call("POST", "/catalogue", usage.document()))
    ahead = 0
    with nemesis.fleet(sell=usage.sold) as (fleet, out):
        book = usage.UsageBook(nemesis.world.vendor, fleet, draw)
        while out.faults.total() < count:
            if not ahead and out.faults.total() >= count // 2:
                ahead = usage.LEAP_H * 3_600 * 10**9
                usage.again(nemesis.world.vendor.ready)
                hub.advance_clock(f"{usage.LEAP_H}h")
                for product in fleet.products[::2]:
                    product.endure(Conditions(skew_ns=ahead))
            book.write(time.time_ns() + ahead * draw.randrange(2))
            since = time.monotonic()
            for role in draw.choice(_AT_ONCE):
                if role == "device":
                    _while_off(fleet, draw.choice(fleet.products), bool)
                else:
                    nemesis.hit(partial(hub.kill, role))
                out.faults[f"kill_{role}"] += 1
                nemesis.wait(0.0, 0.8)
            nemesis.recover(fleet, since, out)
    out.miscounted = book.settled()
    return out


SCENARIOS: dict[str, Scenario] = {
    "hub_kill": hub_kill,
    "broker_wipe": broker_wipe,
    "store_outage": store_outage,
    "io_error": io_error,
    "disk_full": disk_full,
    "fleet_reconnect": fleet_reconnect,
    "half_open": half_open,
    "paused_ingest": paused_ingest,
    "network_loss": network_loss,
    "network_delay": network_delay,
    "poison": poison,
    "clock_skew": clock_skew,
    "device_restore": device_restore,
    "hub_restore": hub_restore,
    "backup_restore": backup_restore,
    "metered_usage": metered_usage,
}


def _blows(
    nemesis: Nemesis, count: int, name: str, blow: Callable[[], object], products: int = PRODUCTS
) -> Outcome:
    """Strike, wait for recovery, strike again."""
    with nemesis.fleet(products) as (fleet, out):
        while out.faults.total() < count:
            nemesis.wait(0.0, 0.6)
            since = time.monotonic()
            blow()
            out.faults[name] += 1
            nemesis.recover(fleet, since, out)
    return out


def _spells(
    nemesis: Nemesis, count: int, name: str, weather: Weather, conditions: Conditions
) -> Outcome:
    """Bad times of some seconds, each followed by fair ones; recovery counts from the end of the bad."""
    with nemesis.fleet() as (fleet, out):
        while out.faults.total() < count:
            nemesis.hub.network.set(weather)
            for product in fleet.products:
                product.endure(conditions)
            nemesis.wait(3.0, 5.0)
            nemesis.hub.network.set(Weather())
            for product in fleet.products:
                product.endure(FAIR)
            out.faults[name] += 1
            nemesis.recover(fleet, time.monotonic(), out)
    return out


def _while_off(
    fleet: Fleet, product: Product, deed: Callable[[], object], copied: float | None = None
) -> None:
    """Do something to a product's folder while it is switched off; `copied`: it goes back to how it was then."""
    with fleet.still():
        product.close()
        deed()
        if copied is not None:
            product.ledger.forgive_held(copied)
        product.open()
