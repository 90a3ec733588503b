"""`homeport demo`: a hub, ten heat pumps with their owners, a fault and a push, on this machine.

1. Everything is the real thing: the hub's processes, TLS, the SDK; only the houses are simulated.
2. Nothing outlives the command, however it ends; without `--keep` no file does either.
3. With `--exit` or without a terminal it ends when the fault was found and the push applied.
4. Never here: physics (`products`), the fleet's life (`fleet`), words for people (`demo_screen`).
"""

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import httpx
import typer
from rich.console import Console
from rich.markup import escape

from device_sdk.errors import DeviceError
from firmware_sim import local_hub, onboarding
from firmware_sim.demo_screen import Screen
from firmware_sim.fleet import Fleet
from firmware_sim.fleet_plan import Member, Region
from firmware_sim.households import HOUSEHOLDS, Household
from firmware_sim.hub_client import HubAnswerError, HubClient
from firmware_sim.interruption import until_interrupted
from firmware_sim.local_hub import Address, LocalHubError
from firmware_sim.onboarding import Customer, Made, OnboardingError
from firmware_sim.products.fault import Fault, FaultKind
from firmware_sim.products.heat_pump import HeatPump
from firmware_sim.recording import time_ns
from firmware_sim.simulated import SimulatedProduct

HISTORY_STEP_S: Final = 60.0
RECEIPTS_TIMEOUT_S: Final = 120.0
STATE_TIMEOUT_S: Final = 20.0
STORY_TIMEOUT_S: Final = 90.0
QUIET_BEFORE_FAULT_S: Final = 8.0
FAULT_RATE_PER_H: Final = 120.0  # a bearing that lives for years is gone in half a minute
FAULT_METRIC: Final = "vibration_mm_s"
PUSHED: Final = {"flow_offset_k": -3.0}
DAY_NS: Final = 86_400_000_000_000
POLL_S: Final = 0.3

Found = TypeVar("Found")


class DemoError(Exception):
    """The demo cannot go on; the message says why and what to look at."""


@dataclass(slots=True)
class Home:
    """A household of the demo with what it got.

    Args:
        household: who they are.
        made: their product.
        customer: how they sign in.
        product: the product, once it is switched on.
    """

    household: Household
    made: Made
    customer: Customer
    product: SimulatedProduct | None = field(default=None)


def command(
    data: Annotated[
        Path | None, typer.Option(help="Data folder of the demo's hub; must be empty or new.")
    ] = None,
    hours: Annotated[
        float, typer.Option(min=24.0, max=744.0, help="Hours of seeded history.")
    ] = 48.0,
    seed: Annotated[int, typer.Option(help="Seed of houses, weather and people.")] = 1,
    exit_: Annotated[  # noqa: FBT002  a command-line flag
        bool, typer.Option("--exit", help="End when the fault was found and the push applied.")
    ] = False,
    for_: Annotated[
        float | None, typer.Option("--for", min=1.0, help="End after so many seconds.")
    ] = None,
    keep: Annotated[  # noqa: FBT002  a command-line flag
        bool, typer.Option("--keep", help="Keep the data folder.")
    ] = False,
) -> None:
    """Run a hub with ten simulated heat pumps, let one fail, find it, and push a setting."""
    console = Console()
    leaves = exit_ or (for_ is None and not sys.stdout.isatty())
    deadline = time.monotonic() + (for_ if for_ is not None else float("inf"))
    try:
        with ExitStack() as stack, until_interrupted():
            folder = _folder(stack, data, keep=keep)
            demo = Demo(stack, folder, seed, Screen(console), deadline)
            demo.run(hours)
            if not leaves:
                demo.stay()
    except KeyboardInterrupt:
        console.print("Stopped; nothing is left running.")
    except (
        DemoError,
        LocalHubError,
        HubAnswerError,
        OnboardingError,
        DeviceError,
        httpx.TransportError,
    ) as error:
        Console(stderr=True, soft_wrap=True).print(f"[bold red]Error:[/] {escape(str(error))}")
        raise typer.Exit(1) from None


def _folder(stack: ExitStack, data: Path | None, *, keep: bool) -> Path:
    if data is not None:
        if data.exists() and any(data.iterdir()):
            raise DemoError(f"{data} is not empty. The demo starts afresh: give another folder.")
        return data
    if keep:
        return Path(tempfile.mkdtemp(prefix="homeport-demo-"))
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="homeport-demo-")))


class Demo:
    """One run of the demo.

    Args:
        stack: ends what the demo starts.
        folder: for the hub's data and the devices' memory.
        seed: see `command`.
        screen: shows what happens.
        deadline: monotonic instant at which to end.
    """

    def __init__(
        self, stack: ExitStack, folder: Path, seed: int, screen: Screen, deadline: float
    ) -> None:
        self._stack, self._folder, self._seed = stack, folder, seed
        self._screen, self._deadline = screen, deadline
        self._fleet: Fleet | None = None

    def run(self, hours: float) -> None:
        """Play the story until the push is applied.

        Args:
            hours: hours of history.
        """
        screen = self._screen
        with screen.step("Starting the hub"):
            address = self._stack.enter_context(
                local_hub.started(self._folder / "hub", fixed_ports=local_hub.default_ports_free())
            )
        vendor = self._stack.enter_context(HubClient(address.api, address.ca_file, address.token))
        with screen.step("Making ten heat pumps and selling them"):
            onboarding.apply_catalogue(vendor)
            homes = [self._sell(vendor, address, number) for number in range(len(HOUSEHOLDS))]
            support = onboarding.staff(vendor, "support@example.com", "Support")
        with screen.step("Switching them on"):
            for number, home in enumerate(homes):
                home.product = self._switch_on(home, address, number)
        products = [home.product for home in homes if home.product is not None]
        self._fleet = fleet = Fleet(products, time.time_ns)
        self._stack.callback(fleet.stop)
        self._inform(products)
        self._history(fleet, hours)
        fleet.start()
        screen.addresses(address, homes, support)
        self._fail_and_find(vendor, products[0])
        self._push(vendor, products[0])

    def stay(self) -> None:
        """Live on until somebody interrupts, or the time is up."""
        self._screen.staying()
        while time.monotonic() < self._deadline:
            self._check()
            time.sleep(0.2)

    def _sell(self, vendor: HubClient, address: Address, number: int) -> Home:
        household = HOUSEHOLDS[number]
        now = time.time_ns()
        made = onboarding.make(
            vendor,
            "heat-pump",
            f"HP-{self._seed:03}-{number + 1:04}",
            zone=household.zone,
            region=household.climate.name,
        )
        customer = onboarding.customer(vendor, household.email, household.name, household.zone)
        if household.claimed:
            with onboarding.sign_in(address, customer.email, customer.password) as client:
                onboarding.claim(client, made)
        if household.plan is not None:
            starts = now - household.since_days * DAY_NS
            onboarding.subscribe(
                vendor,
                customer.owner_id,
                made.product_id,
                household.plan,
                starts,
                trial_end=_after(starts, household.trial_days),
                paid_until=_after(now, household.paid_days),
                cancelled_at=_after(now, household.cancelled_days, -1),
            )
        return Home(household, made, customer)

    def _switch_on(self, home: Home, address: Address, number: int) -> SimulatedProduct:
        device = onboarding.switch_on(
            home.made, self._folder / "devices" / home.made.serial, address
        )
        household = home.household
        pump = HeatPump(
            f"{self._seed}/{number}",
            climate=household.climate,
            loss_w_per_k=household.loss_w_per_k,
        )
        region = Region(household.climate.name, household.climate.name, household.zone)
        member = Member(home.made.serial, "heat-pump", onboarding.FIRMWARE, "A", region)
        return SimulatedProduct(member, pump, device)

    def _inform(self, products: list[SimulatedProduct]) -> None:
        for product in products:
            if not product.informed.wait(STATE_TIMEOUT_S):
                raise DemoError(
                    f"{product.serial} is connected but got no signed state within "
                    f"{STATE_TIMEOUT_S:.0f} s. Look at {self._folder}/hub/run."
                )

    def _history(self, fleet: Fleet, hours: float) -> None:
        total = int(hours * 3600 / HISTORY_STEP_S) * len(fleet.products)
        with self._screen.counting(f"Living the last {hours:g} hours", total) as advance:
            fleet.seed_history(hours, HISTORY_STEP_S, advance)
        with self._screen.counting("Waiting for receipts", total) as advance:
            waiting, end = total, time.monotonic() + RECEIPTS_TIMEOUT_S
            while waiting:
                left = sum(product.device.pending for product in fleet.products)
                advance(waiting - left)
                waiting = left
                self._check()
                if time.monotonic() > end:
                    raise DemoError(
                        f"{left:,} rows of history have no receipt after "
                        f"{RECEIPTS_TIMEOUT_S:.0f} s. Look at {self._folder}/hub/run."
                    )
                time.sleep(0.1)

    def _fail_and_find(self, vendor: HubClient, product: SimulatedProduct) -> None:
        with self._screen.step("All is well for a moment"):
            self._wait(QUIET_BEFORE_FAULT_S)
            self._until(
                lambda: product.latest.get("compressor_hz", 0.0) > 0.0 or None,
                f"The compressor of {product.serial} did not start",
            )
        onset_ns = time.time_ns()
        product.inject(Fault(FaultKind.BEARING_WEAR, onset_ns, FAULT_RATE_PER_H))
        device_id = product.device.device_id

        def finding() -> dict[str, Any] | None:
            for entry in vendor.pages("/findings", device_id=device_id):
                seen = time_ns(entry["at"])
                if entry["metric"] == FAULT_METRIC and seen is not None and seen > onset_ns:
                    return entry
            return None

        with self._screen.step(f"The compressor bearing of {product.serial} begins to fail"):
            found = self._until(finding, "No alert came for the failing bearing")
        seconds = (time.time_ns() - onset_ns) / 1e9
        alerts = vendor.pages("/alerts", device_id=device_id)
        alert = next((entry for entry in alerts if entry["id"] == found["alert_id"]), None)
        if alert is None:
            raise DemoError(f"The finding {found['id']} of {product.serial} has no alert.")
        self._screen.found(alert, found, seconds)

    def _push(self, vendor: HubClient, product: SimulatedProduct) -> None:
        began = time.monotonic()
        with self._screen.step(f"Pushing {PUSHED} to {product.serial}"):
            onboarding.push_configuration(vendor, product.device.device_id, PUSHED)
            self._until(
                lambda: product.configuration.items() >= PUSHED.items() or None,
                "The product did not apply the configuration",
                poll_s=0.01,
            )
        self._screen.applied(product, time.monotonic() - began)

    def _until(
        self, look: Callable[[], Found | None], otherwise: str, poll_s: float = POLL_S
    ) -> Found:
        """Look again and again until there is something to see."""
        end = time.monotonic() + STORY_TIMEOUT_S
        while True:
            found = look()
            if found is not None:
                return found
            if time.monotonic() > end:
                raise DemoError(
                    f"{otherwise} within {STORY_TIMEOUT_S:.0f} s. Look at {self._folder}/hub/run."
                )
            self._wait(poll_s)

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._check()
            time.sleep(min(left, 0.2))

    def _check(self) -> None:
        """Raise if the fleet failed or the time of `--for` is over before the story is."""
        if self._fleet is not None and self._fleet.failure is not None:
            raise DemoError(f"The fleet stopped: {self._fleet.failure}") from self._fleet.failure
        if time.monotonic() > self._deadline:
            raise DemoError("The time given by --for is over before the story was told.")


def _after(instant_ns: int, days: int | None, sign: int = 1) -> int | None:
    return None if days is None else instant_ns + sign * days * DAY_NS
