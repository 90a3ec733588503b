"""`homeport fleet`: connects a described fleet to a hub that runs, and lets a scenario happen to it.

1. Everything is done as a manufacturer and its products would: the hub's public API with the
   operator's token, enrolment, mutual TLS, the SDK.
2. What the devices must remember is in the state folder; a fleet started again is the same fleet.
3. Nothing outlives the command but that folder.
4. Never here: starting hubs, physics, or the grammar of scenarios.
"""

import csv
import io
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from device_sdk import files
from device_sdk.errors import DeviceError
from firmware_sim import (
    catalogue,
    commissioning,
    demo_press,
    fleet_plan,
    local_hub,
    onboarding,
    scenario,
)
from firmware_sim.demo_door import Door, Request
from firmware_sim.descriptors import DescriptorLimitError, allow_devices
from firmware_sim.fleet import Fleet, FleetError
from firmware_sim.fleet_plan import FleetFileError, FleetPlan
from firmware_sim.hub_client import HubAnswerError, HubClient
from firmware_sim.hub_time import HubTime
from firmware_sim.interruption import until_interrupted
from firmware_sim.local_hub import Address, LocalHubError
from firmware_sim.onboarding import Made, OnboardingError
from firmware_sim.scenario import Scenario, ScenarioError
from firmware_sim.scenario_player import (
    ScenarioPlayer,
    UnknownScenarioError,
    load_shipped,
    shipped,
)
from firmware_sim.simulated import SimulatedProduct

ENOUGH_S: Final = 0.2  # how exactly a scenario keeps time
SAID_EVERY_S: Final = 10.0
HISTORY_STEP_S: Final = 300.0
RECENT_S: Final = 900.0  # lived at the live pace, so that the hub's detector knows it
OWNER_TIMEOUT_S: Final = 60.0
PLAN: Final = "care"


class FleetCommandError(Exception):
    """The command cannot begin or go on; the message says why and what to do."""


def command(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Fleet file (TOML); left out: the sixty products that ship with Homeport."
        ),
    ] = None,
    hub: Annotated[
        str, typer.Option(help="Data folder of a hub on this machine, or https:// address of one.")
    ] = "data",
    ca: Annotated[
        Path | None, typer.Option(help="With an address: PEM file of the hub's authority.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="With an address: file with the operator's token.")
    ] = None,
    state: Annotated[
        Path, typer.Option(help="Folder for what the devices remember; made if it is not there.")
    ] = Path("fleet-state"),
    scenario_: Annotated[
        str | None,
        typer.Option(
            "--scenario", help="Scenario file, or the name of one that ships with Homeport."
        ),
    ] = None,
    owner: Annotated[
        str | None,
        typer.Option(help="E-mail of a customer to be made, who claims and subscribes for all."),
    ] = None,
    history: Annotated[
        float | None,
        typer.Option(min=1.0, max=8784.0, help="Hours of history, once for new products."),
    ] = None,
    for_: Annotated[
        float | None, typer.Option("--for", min=1.0, help="End after so many seconds.")
    ] = None,
) -> None:
    """Connect simulated products, as a file describes them, to a hub that runs."""
    console, errors = Console(soft_wrap=True), Console(stderr=True, soft_wrap=True)
    try:
        plan = fleet_plan.load(file) if file else fleet_plan.demo()
        script = _script(scenario_)
        allow_devices(len(plan.members))
        with ExitStack() as stack, until_interrupted():
            address = _address(hub, ca, token_file)
            vendor = stack.enter_context(HubClient(address.api, address.ca_file, address.token))
            run = _Run(console, plan, address, state)
            fleet = run.bring_up(stack, vendor, owner, history)
            run.live(fleet, script, for_, run.door(stack))
    except KeyboardInterrupt:
        console.print("Stopped. What was not sent yet waits in the state folder.")
    except (
        FleetFileError,
        ScenarioError,
        UnknownScenarioError,
        DescriptorLimitError,
        FleetCommandError,
        FleetError,
        LocalHubError,
        HubAnswerError,
        OnboardingError,
        DeviceError,
        OSError,
        httpx.TransportError,
    ) as error:
        errors.print(f"[bold red]Error:[/] {escape(str(error))}")
        raise typer.Exit(1) from None


class _Run:
    """One run of the command.

    Args:
        console: where to tell.
        plan: the fleet.
        address: the hub.
        state: folder for what the devices remember.
    """

    def __init__(self, console: Console, plan: FleetPlan, address: Address, state: Path) -> None:
        self._console, self._plan, self._address, self._state = console, plan, address, state
        self._made: list[Made] = []
        self._clock = HubTime()

    def bring_up(
        self, stack: ExitStack, vendor: HubClient, owner: str | None, history: float | None
    ) -> Fleet:
        """Make what is not made yet, and connect everything."""
        members, folder = self._plan.members, self._state
        files.private_folder(folder)
        onboarding.apply_catalogue(vendor)
        fresh = not any((folder / member.serial).exists() for member in members)
        made = commissioning.make(vendor, members, folder)
        self._claim_codes(made)
        self._made = made
        with self._counting("Connecting", len(members)) as (progress, task):
            products = commissioning.switch_on(
                members,
                made,
                folder,
                self._address,
                self._clock,
                report_s=self._plan.report_s,
                progress=lambda more: progress.advance(task, more),
            )
        fleet = Fleet(products, self._clock, self._clock.hear)
        stack.callback(fleet.stop)
        if owner is not None:
            self._sell(vendor, owner, made, products)
        self._console.print(f"{len(products)} products are connected to {self._address.api}.")
        if history and fresh:
            step_s = self._plan.report_s
            rows = int((history * 3600 - RECENT_S) / HISTORY_STEP_S) + int(RECENT_S / step_s)
            with self._counting("Living the past, rows", rows * len(products)) as (progress, task):
                fleet.seed_history(
                    history,
                    HISTORY_STEP_S,
                    lambda more: progress.advance(task, more),
                    recent_s=RECENT_S,
                    recent_step_s=step_s,
                )
        return fleet

    def live(
        self, fleet: Fleet, script: Scenario | None, for_s: float | None, door: Door | None
    ) -> None:
        """Live until somebody interrupts or the time is up; do what is asked at the door."""
        began_ns = self._clock()
        player = ScenarioPlayer(script, fleet, began_ns) if script else None
        fleet.start(self._plan.report_s)
        self._console.print(
            f"Each reports every {self._plan.report_s:g} s. Ctrl-C stops; start again with "
            f"--state {self._state} to go on."
        )
        said = end = time.monotonic()
        end += for_s if for_s is not None else float("inf")
        while time.monotonic() < end:
            if fleet.failure is not None:
                raise FleetCommandError(f"The fleet stopped: {fleet.failure}") from fleet.failure
            for event, products in player.advance(self._clock()) if player else ():
                serials = ", ".join(product.serial for product in products[:6])
                more = f" and {len(products) - 6} more" if len(products) > 6 else ""
                self._console.print(f"[yellow]{escape(str(event))}[/] ({serials}{more})")
            if time.monotonic() - said >= SAID_EVERY_S:
                said = time.monotonic()
                self._say(fleet)
            for request in door.requests() if door else ():
                request.reply(self._do(request, fleet))
            time.sleep(ENOUGH_S)

    def door(self, stack: ExitStack) -> Door | None:
        """Open the way in for `homeport press`; the fleet lives without it if there is none."""
        try:
            door = Door.open()
        except OSError as error:
            self._console.print(f"`homeport press` will not reach this fleet: {escape(str(error))}")
            return None
        stack.callback(door.close)
        return door

    def _do(self, request: Request, fleet: Fleet) -> dict[str, Any]:
        serial = request.what.get("press")
        if serial is None:
            return {"error": "This is `homeport fleet`: its scenario is given with --scenario."}
        return demo_press.answer(str(serial), fleet.products, self._made, self._address.api)

    def _say(self, fleet: Fleet) -> None:
        devices = [product.device for product in fleet.products]
        counters = [device.counters for device in devices]
        self._console.print(
            f"{sum(device.connected for device in devices)} of {len(devices)} connected, "
            f"{sum(each.rows_settled for each in counters):,} rows with a receipt, "
            f"{sum(each.rows_pending for each in counters):,} waiting"
        )

    def _sell(
        self,
        vendor: HubClient,
        email: str,
        made: Sequence[Made],
        products: Sequence[SimulatedProduct],
    ) -> None:
        """Make a customer who claims every product and has the largest plan for it."""
        customer = onboarding.customer(vendor, email, email.partition("@")[0])
        now = self._clock()
        with onboarding.sign_in(self._address, customer.email, customer.password) as home:
            for product in products:  # all before the first claim: the hub hears of it meanwhile
                if catalogue.has_button(product.member.model):
                    product.press()
            for entry, product in zip(made, products, strict=True):
                onboarding.claim_pressing(home, entry, product.press)
        for entry in made:
            onboarding.subscribe(vendor, customer.owner_id, entry.product_id, PLAN, now)
        end = time.monotonic() + OWNER_TIMEOUT_S  # for all of them together
        for product in products:
            if not product.owned.wait(max(0.0, end - time.monotonic())):
                raise FleetCommandError(
                    f"{product.serial} is claimed but did not hear of its owner within "
                    f"{OWNER_TIMEOUT_S:.0f} s. Is the hub's process `control` running?"
                )
        self._console.print(f"Customer {email}, one-time password {customer.password}")

    def _claim_codes(self, made: Sequence[Made]) -> None:
        text = io.StringIO()
        table = csv.writer(text)
        table.writerow(("serial", "claim_code"))
        table.writerows((entry.serial, entry.claim_code) for entry in made)
        path = self._state / "claim-codes.csv"
        files.write_private(path, text.getvalue().encode())
        self._console.print(f"Claim codes are in {path}.")

    def _counting(self, what: str, total: int) -> "_Counting":
        return _Counting(self._console, what, total)


class _Counting:
    """A progress bar; gives the bar and its task."""

    def __init__(self, console: Console, what: str, total: int) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._what, self._total = what, total

    def __enter__(self) -> tuple[Progress, TaskID]:
        self._bar.start()
        return self._bar, self._bar.add_task(escape(self._what), total=self._total)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def _address(hub: str, ca: Path | None, token_file: Path | None) -> Address:
    """The hub, by data folder or by address."""
    if not hub.startswith("https://"):
        return local_hub.running(Path(hub))
    if ca is None or token_file is None:
        raise FleetCommandError(
            f"With the address {hub}, --ca (its authority's certificate) and --token-file (a file with "
            "the operator's token) are needed too."
        )
    token = token_file.read_text(encoding="utf-8").strip()
    return Address(hub.rstrip("/"), ca, token, ca.parent, {})


def _script(name: str | None) -> Scenario | None:
    if name is None:
        return None
    if name in shipped():
        return load_shipped(name)
    path = Path(name)
    if not path.exists():
        known = ", ".join(shipped())
        raise FleetCommandError(
            f"There is no scenario file {name}, and no scenario of that name ships with Homeport. "
            f"There are: {known}."
        )
    return scenario.parse(path.read_text(encoding="utf-8"), name)
