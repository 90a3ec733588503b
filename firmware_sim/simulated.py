"""A simulated product: physics behind a real device of the SDK, and what befalls the two.

1. A product does what its hub says: pushed configuration changes the physics, commands are obeyed,
   notices are kept, and its display says who owns it and what it may do.
2. Faults of the physics go to the product. Those of the link are carried out for real: the network
   goes away, the clock is reset, another process is the same device.
3. Time is an argument; what was done for a while is undone by `attend`.
4. Never here: other products, or what is asked of the hub as a manufacturer or a customer.
"""

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from device_sdk import files
from device_sdk.client import Device
from firmware_sim.clone import Clone
from firmware_sim.device_clock import DeviceClock
from firmware_sim.display import Display
from firmware_sim.fleet_plan import Member
from firmware_sim.products.fault import NS_PER_HOUR, Fault, FaultKind, UnknownFaultError
from firmware_sim.products.history import NS_PER_S, Columns, live_through
from firmware_sim.products.product import Product
from firmware_sim.scenario import Act, Event

if TYPE_CHECKING:
    from device_sdk.wire.messages import Notice

METER: Final = "meter"  # file beside the device's own
SLOWEST_STEP_S: Final = 600.0
GAP_S: Final = 3_600.0
"""A product that did not live for longer catches up on it, as one does that was out of reach."""
CHUNK: Final = 8_192
PRESS_S: Final = 600
"""How long a product can be claimed after its button was pressed."""
# How long a fault takes from its beginning to the end, if nobody hurries it.
NATURAL_H: Final = {
    FaultKind.BEARING_WEAR: 600.0,
    FaultKind.STUCK_SENSOR: 0.0,
    FaultKind.LEAK: 240.0,
    FaultKind.FOULED_FILTER: 720.0,
    FaultKind.MEMORY_LEAK: 72.0,
    FaultKind.BATTERY_FADE: 1500.0,
}
# How long what befalls the link lasts, if nobody says.
LASTING_S: Final = {
    FaultKind.WIFI_FLAPPING: 20,
    FaultKind.CLOCK_RESET: 60,
    FaultKind.CLONE: 60,
}


@dataclass(frozen=True, slots=True)
class Home:
    """Where a device's memory is, and the hub that it knows.

    Args:
        folder: the device's state folder.
        hub: base address of the hub's API.
        ca_file: certificate of the hub's authority.
    """

    folder: Path
    hub: str
    ca_file: Path


class SimulatedProduct:
    """One product and its device.

    Args:
        member: which product of the fleet it is.
        product: its physics.
        device: its connection to the hub.
        clock: the device's clock, which it was opened with; None if it cannot be reset.
        home: where its meter's reading is kept; needed to clone it.
        report_s: how often a clone of it reports.
    """

    def __init__(
        self,
        member: Member,
        product: Product,
        device: Device,
        *,
        clock: DeviceClock | None = None,
        home: Home | None = None,
        report_s: float = 1.0,
    ) -> None:
        self.member, self.product, self.device = member, product, device
        self.configuration: dict[str, Any] = {}
        self.notices: list[Notice] = []
        self.display = Display()
        # Set by the first signed state: from then on the device knows its owner's epoch.
        self.informed = threading.Event()
        # While somebody owns it, as far as the device knows.
        self.owned = threading.Event()
        if device.owner_epoch:
            self.owned.set()
        self.latest: dict[str, float] = {}
        self.clone: Clone | None = None
        self._clock, self._home, self._report_s = clock, home, report_s
        self._lived_ns = 0
        if home is not None and (home.folder / METER).exists():
            product.meter = float((home.folder / METER).read_text())
        self._restarts = product.module.restarts
        self._network_back_ns = self._clock_set_ns = math.inf
        # Handlers are called by the device's thread while the fleet's thread lives.
        self._lock = threading.Lock()
        device.on_owner_change(self._change_owner)
        device.on_configuration(self._configure)
        for name in product.commands:
            device.on_command(name, partial(self._command, name))
        device.on_notice(self.notices.append)

    @property
    def serial(self) -> str:
        """Its serial number."""
        return self.member.serial

    def can(self, event: Event) -> str | None:
        """Tell why an event cannot happen to this product; None if it can."""
        what = event.what
        if what is FaultKind.CLOCK_RESET and self._clock is None:
            return f"{self.serial} has a clock that cannot be reset"
        if what is FaultKind.CLONE and self._home is None:
            return f"{self.serial} has a memory that cannot be reached"
        if what in NATURAL_H and what not in self.product.faults:
            return f"a {self.product.model} such as {self.serial} cannot have {what.value}"
        return None

    def suffer(self, event: Event, now_ns: int) -> None:
        """Let an event happen to this product.

        Args:
            event: what happens; its target is not looked at.
            now_ns: when, ns since 1970 UTC.

        Raises:
            UnknownFaultError: it cannot happen to this product.
        """
        reason = self.can(event)
        if reason is not None:
            raise UnknownFaultError(f"{reason}.")
        with self._lock:
            if event.what is Act.USE:
                self.product.use(now_ns)
            elif event.what is Act.REPAIR:
                self._recover()
            elif event.what in LASTING_S:
                lasting = event.lasting_ns
                self._befall(
                    event.what,
                    now_ns,
                    LASTING_S[event.what] * NS_PER_S if lasting is None else lasting,
                )
            else:
                self.product.inject(_fault(event, now_ns))

    def inject(self, fault: Fault) -> None:
        """Let something go wrong in the product's physics."""
        with self._lock:
            self.product.inject(fault)

    def history(self, start_ns: int, end_ns: int, step_s: float) -> Columns:
        """Live from one instant to another without waiting.

        Args:
            start_ns: ns since 1970 UTC.
            end_ns: the last instant is not after it.
            step_s: seconds between two rows.

        Returns:
            What the product measured.
        """
        with self._lock:
            lived = live_through(self.product, start_ns, end_ns, step_s)
        if len(lived):
            self._lived_ns = int(lived.time[-1])
        return lived

    def live(self, now_ns: int) -> None:
        """Live until now and measure.

        Args:
            now_ns: the true time, ns since 1970 UTC; the row carries what the device's clock shows.
        """
        elapsed_s = (now_ns - self._lived_ns) / NS_PER_S if self._lived_ns else self._report_s
        if elapsed_s <= 0.0:  # the clock stepped back: nothing has happened yet
            return
        if elapsed_s > GAP_S:
            self._catch_up(now_ns)
            elapsed_s = (now_ns - self._lived_ns) / NS_PER_S
        with self._lock:
            self.latest = self.product.step(min(elapsed_s, SLOWEST_STEP_S), now_ns)
            offset_ns = self._clock.offset_ns if self._clock else 0
        self._lived_ns = now_ns
        self.device.measure_many(self.latest, at_ns=now_ns + offset_ns)
        self.display.entitlements(self.device.entitlements())
        if self.product.module.restarts != self._restarts:
            self._restarts = self.product.module.restarts
            self.device.event("restarted", {"count": self._restarts})

    def _catch_up(self, now_ns: int) -> None:
        """Live through a leap of time, and send what was measured meanwhile as it was recorded."""
        end_ns = now_ns - int(SLOWEST_STEP_S * NS_PER_S)
        rows = self.history(self._lived_ns, end_ns, SLOWEST_STEP_S).rows()
        while chunk := list(islice(rows, CHUNK)):
            self.device.record(chunk, historical=True)

    def press(self) -> bool:
        """Press its button: it can be claimed for a while; tells whether it could tell the hub."""
        return self.device.open_claim_window(PRESS_S)

    def attend(self, now_ns: int) -> None:
        """Undo what was done for a while and is over.

        Args:
            now_ns: the true time, ns since 1970 UTC.
        """
        if now_ns >= self._network_back_ns:
            with self._lock:
                self._network_back()
        if now_ns >= self._clock_set_ns:
            with self._lock:
                self._set_clock()

    def close(self) -> None:
        """End a clone, note the meter's reading and close the device; its spool keeps what waits."""
        if self.clone is not None:
            self.clone.stop()
        if self._home is not None:
            reading = f"{self.product.meter!r}\n"
            files.write_private(self._home.folder / METER, reading.encode())
        self.device.close()

    def _befall(self, what: FaultKind, now_ns: int, lasting_ns: int) -> None:
        if what is FaultKind.WIFI_FLAPPING:
            self.device.set_network(available=False)
            self._network_back_ns = now_ns + lasting_ns
        elif what is FaultKind.CLOCK_RESET and self._clock is not None:
            self._clock.reset(now_ns)
            self.device.set_clock_state(self._clock.state)
            self._clock_set_ns = now_ns + lasting_ns
        elif what is FaultKind.CLONE and self._home is not None:
            if self.clone is not None:
                self.clone.stop()
            self.device.sync()
            self.clone = Clone(self._order(self._home, lasting_ns / NS_PER_S))

    def _order(self, home: Home, seconds: float) -> dict[str, Any]:
        member = self.member
        return {
            "source": str(home.folder.absolute()),
            "folder": str(home.folder.absolute().with_name(f"{home.folder.name}.clone")),
            "hub": home.hub,
            "ca_file": str(home.ca_file.absolute()),
            "serial": member.serial,
            "model": member.model,
            "firmware": member.firmware,
            "climate": member.region.climate,
            "zone": member.region.zone,
            "report_s": self._report_s,
            "seconds": seconds,
        }

    def _recover(self) -> None:
        self.product.repair()
        if math.isfinite(self._network_back_ns):
            self._network_back()
        if math.isfinite(self._clock_set_ns):
            self._set_clock()
        if self.clone is not None:
            self.clone.stop()
            self.clone = None

    def _network_back(self) -> None:
        self._network_back_ns = math.inf
        self.device.set_network(available=True)

    def _set_clock(self) -> None:
        self._clock_set_ns = math.inf
        if self._clock is not None:
            self._clock.set()
            self.device.set_clock_state(self._clock.state)

    def _change_owner(self, epoch: int) -> None:
        self.notices.clear()  # what was said to the former owner
        self.display.owner(epoch)
        if epoch:
            self.owned.set()
        else:
            self.owned.clear()

    def _configure(self, settings: Mapping[str, Any]) -> dict[str, str]:
        with self._lock:
            errors = self.product.configure(settings)
        self.configuration = {name: value for name, value in settings.items() if name not in errors}
        self.informed.set()
        return errors

    def _command(self, name: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        with self._lock:
            return self.product.perform(name, arguments)


def _fault(event: Event, now_ns: int) -> Fault:
    """The fault that an event means, beginning now."""
    kind = FaultKind(event.what)
    if event.within_ns is None:
        rate = 1.0 / NATURAL_H[kind] if NATURAL_H[kind] else math.inf
    else:
        rate = NS_PER_HOUR / event.within_ns if event.within_ns else math.inf
    until = None if event.lasting_ns is None else now_ns + event.lasting_ns
    return Fault(kind, now_ns, rate, until)
