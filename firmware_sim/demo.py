"""`homeport demo`: a hub, a fleet of products with their owners, a fault and a push, on this machine.

1. Everything is the real thing: the hub's processes, TLS, the SDK; only the houses are simulated.
2. Nothing outlives the command, however it ends; without `--keep` no file does either.
3. There is something to look at as soon as the first product is switched on; the rest follows.
4. With `--exit` or without a terminal it ends when all is there and the story was told.
5. Never here: physics (`products`), settling (`demo_settling`), the story (`demo_story`), words for
   people (`demo_screen`).
"""

import json
import queue
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import httpx
import typer
from rich.console import Console
from rich.markup import escape

from device_sdk.errors import DeviceError
from firmware_sim import (
    demo_press,
    demo_scenarios,
    descriptors,
    fleet_plan,
    local_hub,
    onboarding,
    scenario_player,
)
from firmware_sim.demo_door import Door, Request
from firmware_sim.demo_scenarios import Playing
from firmware_sim.demo_screen import Screen
from firmware_sim.demo_settling import Settling, place
from firmware_sim.demo_story import Cast, Story, StoryError
from firmware_sim.descriptors import DescriptorLimitError
from firmware_sim.fleet import FleetError
from firmware_sim.households import NAMED
from firmware_sim.hub_client import HubAnswerError, HubClient
from firmware_sim.hub_time import HubTime
from firmware_sim.interruption import until_interrupted
from firmware_sim.local_hub import LocalHub, LocalHubError
from firmware_sim.onboarding import OnboardingError
from firmware_sim.scenario_player import UnknownScenarioError

if TYPE_CHECKING:
    from device_sdk.wire.messages import Notice
    from firmware_sim.simulated import SimulatedProduct

_END: Final = object()
TURN_S: Final = 0.1
LOOK_FOR_ALERTS_S: Final = 1.0
SETTLING_TIMEOUT_S: Final = 600.0
QUIET_S: Final = 40.0  # time to sign in and see that all is well
QUIET_WITHOUT_AUDIENCE_S: Final = 8.0

SETTINGS: Final = {
    "DEMO": "true",
    "BILLING__LOCAL_METHOD": "local:ok",
    "OWNERSHIP__BUTTON_HINTS": json.dumps(
        {
            "en": "In this demo you press it in another terminal: homeport press {serial}",
            "de": "In dieser Demo drücken Sie sie in einem anderen Terminal: homeport press {serial}",
        }
    ),
}
"""The clock may be moved, invoices count as paid; and what the page that waits for a button says, by language tag."""


class DemoError(Exception):
    """The demo cannot go on; the message says why and what to look at."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What kind of demo it shall be.

    Args:
        products: how many.
        hours: hours of history of each.
        quiet_s: how long all is well before the fault.
        deadline: monotonic instant at which to end.
        leaves: whether to end when the story was told.
    """

    products: int
    hours: float
    quiet_s: float
    deadline: float
    leaves: bool


def command(
    data: Annotated[
        Path | None, typer.Option(help="Data folder of the demo's hub; must be empty or new.")
    ] = None,
    products: Annotated[int, typer.Option(min=1, max=60, help="Products to simulate.")] = 60,
    hours: Annotated[
        float, typer.Option(min=1.0, max=1_488.0, help="Hours of seeded history.")
    ] = 720.0,
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
    """Run a hub with simulated products and customers; one product fails, is found and is helped."""
    console = Console()
    leaves = exit_ or (for_ is None and not sys.stdout.isatty())
    plan = Plan(
        products=products,
        hours=hours,
        quiet_s=QUIET_WITHOUT_AUDIENCE_S if leaves else QUIET_S,
        deadline=time.monotonic() + (for_ if for_ is not None else float("inf")),
        leaves=leaves,
    )
    try:
        with ExitStack() as stack, until_interrupted():
            Demo(stack, _folder(stack, data, console, keep=keep), plan, Screen(console)).run()
    except KeyboardInterrupt:
        with suppress(OSError):  # the terminal may be gone
            console.print("Stopped; nothing is left running.")
    except (
        DemoError,
        StoryError,
        LocalHubError,
        HubAnswerError,
        DescriptorLimitError,
        OnboardingError,
        DeviceError,
        httpx.TransportError,
    ) as error:
        Console(stderr=True, soft_wrap=True).print(f"[bold red]Error:[/] {escape(str(error))}")
        raise typer.Exit(1) from None


def _folder(stack: ExitStack, data: Path | None, console: Console, *, keep: bool) -> Path:
    if data is not None:
        if data.exists() and any(data.iterdir()):
            raise DemoError(f"{data} is not empty. The demo starts afresh: give another folder.")
        return data
    if keep:
        kept = Path(tempfile.mkdtemp(prefix="homeport-demo-"))
        console.print(f"Everything stays in {kept}", soft_wrap=True)
        return kept
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="homeport-demo-")))


class Demo:
    """One run of the demo.

    Args:
        stack: ends what the demo starts.
        folder: for the hub's data and the devices' memory.
        plan: what kind of demo.
        screen: shows what happens.
    """

    def __init__(self, stack: ExitStack, folder: Path, plan: Plan, screen: Screen) -> None:
        self._stack, self._folder, self._plan, self._screen = stack, folder, plan, screen
        self._notices: queue.Queue[tuple[SimulatedProduct, Notice, int]] = queue.Queue()
        self._clock = HubTime()
        self._told: set[str] = set()
        self._concerned: set[str] = set()

    def run(self) -> None:
        """Start everything, tell the story, and stay until the end."""
        plan, screen, stack = self._plan, self._screen, self._stack
        descriptors.allow_devices(plan.products)
        hub = LocalHub(self._folder / "hub", SETTINGS, fixed_ports=local_hub.default_ports_free())
        stack.callback(hub.stop)
        hub.launch()
        fleet = fleet_plan.demo()  # while the hub starts
        homes = place(fleet, plan.products)
        with screen.step("Starting the hub"):
            address = hub.wait()
        vendor = stack.enter_context(HubClient(address.api, address.ca_file, address.token))
        settling = Settling(
            address,
            self._folder,
            homes,
            hours=plan.hours,
            heard=lambda product, notice: self._notices.put((product, notice, self._clock())),
            clock=self._clock,
        )
        stack.callback(settling.stop)
        with screen.step("Making the first product, selling it and switching it on"):
            onboarding.apply_catalogue(vendor)
            support = onboarding.staff(vendor, "support@example.com", "Support")
            agent = onboarding.staff(vendor, "sam@example.com", "Sam from support")
            home = settling.settle_first(vendor)
        screen.addresses(address, home, plan.products, support)
        settling.start()
        cast = Cast(home, home.products[0], agent)
        self._settling = settling
        self._playing = Playing(settling.fleet)
        story = Story(address, cast, self._playing, screen, plan.quiet_s, self._clock).tell()
        with screen.bars():
            self._live(hub, vendor, settling, self._door(), story)

    def _live(
        self,
        hub: LocalHub,
        vendor: HubClient,
        settling: Settling,
        door: Door | None,
        story: Iterator[None],
    ) -> None:
        """Turn round and round: story, requests, news; until the end."""
        plan, screen = self._plan, self._screen
        settled = told = False
        alerts_at, late = 0.0, time.monotonic() + SETTLING_TIMEOUT_S
        while not (told and settled and plan.leaves):
            if time.monotonic() > plan.deadline:
                if told:
                    return
                raise DemoError("The time given by --for is over before the story was told.")
            self._check(hub, settling)
            if not told:
                told = next(story, _END) is _END
                if told and not plan.leaves:
                    screen.staying(hub.data_dir)
            self._serve(door)
            self._tell_what_happened()
            if time.monotonic() > alerts_at:
                alerts_at = time.monotonic() + LOOK_FOR_ALERTS_S
                self._tell_alerts(vendor, "" if told else settling.homes[0].products[0].serial)
            settled = settled or self._tell_settling(settling, late)
            time.sleep(TURN_S)

    def _door(self) -> Door | None:
        try:
            door = Door.open()
        except OSError as error:
            self._screen.event(
                f"`homeport trigger` and `press` will not reach this demo: {escape(str(error))}"
            )
            return None
        self._stack.callback(door.close)
        return door

    def _serve(self, door: Door | None) -> None:
        """Do what was asked through the door."""
        for request in door.requests() if door else ():
            request.reply(self._do(request))

    def _do(self, request: Request) -> dict[str, Any]:
        if "press" in request.what:
            return self._press(str(request.what["press"]))
        name = request.what.get("trigger")
        if name is None:
            return {"scenarios": dict(demo_scenarios.listed())}
        try:
            self._playing.begin(scenario_player.load_shipped(str(name)), self._clock())
        except (UnknownScenarioError, FleetError) as error:
            return {"error": str(error)}
        self._screen.event(f"[bold magenta]Trigger[/] {escape(str(name))}")
        return {"said": f"{name} begins. Watch the demo's terminal and the pages."}

    def _press(self, serial: str) -> dict[str, Any]:
        settling = self._settling
        labels = [label for home in settling.homes for label in home.labels]
        done = demo_press.answer(serial, settling.switched_on, labels, settling.api)
        if "said" in done:
            self._screen.event(f"[bold magenta]Pressed[/] the button of {escape(serial.upper())}")
        return done

    def _tell_what_happened(self) -> None:
        for event, products in self._playing.advance(self._clock()):
            self._screen.happened(event, products)
            self._concerned.update(product.serial for product in products)
        with suppress(queue.Empty):
            while True:
                product, notice, at_ns = self._notices.get_nowait()
                if product.serial in self._concerned:
                    self._screen.noticed(product, notice, (at_ns - notice.time) / 1e9)

    def _tell_alerts(self, vendor: HubClient, but: str) -> None:
        """Tell of new alerts; not of those of the product whose alert the story tells itself."""
        for alert in vendor.call("GET", "/alerts", status="open", limit=20)["items"]:
            if alert["severity"] != "notice" and alert["id"] not in self._told:
                self._told.add(alert["id"])
                if alert["serial"] != but:
                    self._screen.alert(alert)

    def _tell_settling(self, settling: Settling, late: float) -> bool:
        now = settling.progress
        self._screen.settled(now)
        named = settling.homes[1 : len(NAMED)]
        if "customers" not in self._told and all(home.products for home in named):
            self._told.add("customers")
            self._screen.customers(named)
            self._screen.unclaimed(
                [home for home in named if not home.household.standing.claimed], settling.api
            )
        if now.complete:
            self._screen.event(
                f"[green]done[/] {now.products} products live; their past is stored: "
                f"{now.rows:,} rows, each with its receipt"
            )
        elif time.monotonic() > late:
            raise DemoError(
                f"Not every row of history has a receipt after {SETTLING_TIMEOUT_S:.0f} s. "
                f"Look at {self._folder}/hub/run, or run: homeport doctor"
            )
        return now.complete

    def _check(self, hub: LocalHub, settling: Settling) -> None:
        """Raise if something that must go on does not."""
        for failure in (settling.failure, settling.fleet.failure):
            if failure is not None:
                raise DemoError(f"The fleet stopped: {failure}") from failure
        if not hub.running():
            raise DemoError(f"The hub ended by itself. Its last words are in {hub.log_file}.")
