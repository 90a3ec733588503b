"""`homeport replay`: a recorded series through a real simulated device, as fast as the hub can.

1. The whole file is checked before anything is sent or started; a broken line changes nothing.
2. "Stored" is what the customer's query returns after every row has its receipt.
3. Exit codes: 0 every row stored exactly once, 1 not so, 2 the input cannot be used.
4. Never here: reading CSV (`recording`), comparing (`comparison`), starting hubs (`local_hub`), or
   how the outcome looks (`replay_report`).
"""

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from device_sdk.client import Device
from device_sdk.errors import DeviceError
from firmware_sim import catalogue, local_hub, onboarding, replay_report
from firmware_sim.comparison import compare
from firmware_sim.hub_client import HubAnswerError, HubClient
from firmware_sim.interruption import until_interrupted
from firmware_sim.local_hub import Address, LocalHubError
from firmware_sim.onboarding import OnboardingError
from firmware_sim.recording import Recording, RecordingError, Row, Summary
from firmware_sim.replay_report import Outcome

CHUNK_ROWS: Final = 8_192
# Rows that may wait on the device: a large file must not become a large spool first.
WAITING_ROWS: Final = 131_072
RECEIPT_TIMEOUT_S: Final = 120.0
STATE_TIMEOUT_S: Final = 20.0
QUIET_S: Final = 5.0  # a busy machine may leave the process `control` waiting for seconds
FINDINGS_TIMEOUT_S: Final = 60.0
DAY_NS: Final = 86_400_000_000_000


class ReplayError(Exception):
    """The replay cannot begin or go on; the message says why and what to do."""


def command(
    file: Annotated[Path, typer.Argument(help="CSV file with the header timestamp,value.")],
    model: Annotated[str, typer.Option(help="Product model that measured it.")],
    metric: Annotated[str, typer.Option(help="Metric of the model that it measured.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Data folder of a hub. If none runs there, one is started there."),
    ] = None,
    keep: Annotated[  # noqa: FBT002  a command-line flag
        bool, typer.Option("--keep", help="Keep the data folder of the hub that is started.")
    ] = False,
) -> None:
    """Send a recorded series as history through a simulated device, and check what is stored."""
    console, errors = Console(), Console(stderr=True, soft_wrap=True)
    try:
        recording, summary = _usable(file, model, metric)
    except (RecordingError, ReplayError) as error:
        errors.print(f"[bold red]Error:[/] {escape(str(error))}")
        raise typer.Exit(2) from None
    try:
        with ExitStack() as stack, until_interrupted():
            address = _hub(stack, console, data, keep=keep)
            made_in = tempfile.TemporaryDirectory(prefix="homeport-device-")
            folder = Path(stack.enter_context(made_in))
            outcome = replay(recording, summary, model, metric, address, folder, console)
            replay_report.show(console, file, metric, outcome)
    except KeyboardInterrupt:
        errors.print("Stopped. Rows that have a receipt are stored, the others were not sent.")
        raise typer.Exit(130) from None
    except (
        LocalHubError,
        HubAnswerError,
        OnboardingError,
        ReplayError,
        DeviceError,
        httpx.TransportError,
    ) as error:
        errors.print(f"[bold red]Error:[/] {escape(str(error))}")
        raise typer.Exit(1) from None
    if not outcome.comparison.exact:
        raise typer.Exit(1)


def replay(
    recording: Recording,
    summary: Summary,
    model: str,
    metric: str,
    address: Address,
    folder: Path,
    console: Console,
) -> Outcome:
    """Send a checked recording through a new device and read it back.

    Args:
        recording: the file.
        summary: what `recording.check` said.
        model: product model.
        metric: its metric.
        address: the hub.
        folder: where the device keeps its keys and spool.
        console: shows progress.

    Returns:
        What happened.

    Raises:
        ReplayError: no state or no receipts come.
        OnboardingError: the device does not connect.
        HubAnswerError: the hub refused a request.
        RecordingError: the file changed since it was checked.
    """
    with ExitStack() as stack:
        vendor = stack.enter_context(HubClient(address.api, address.ca_file, address.token))
        mark = f"{time.time_ns() // 1_000_000:x}"  # each replay into a hub is another product
        onboarding.apply_catalogue(vendor)
        made = onboarding.make(vendor, model, f"REPLAY-{mark}".upper())
        customer = onboarding.customer(vendor, f"replay-{mark}@example.com", "Replay")
        home = stack.enter_context(onboarding.sign_in(address, customer.email, customer.password))
        device = stack.enter_context(onboarding.switch_on(made, folder / "device", address))
        onboarding.claim_pressing(home, made, device.open_claim_window)
        _subscribe(vendor, made, customer, summary)
        _wait_owned(device)
        began = time.monotonic()
        _send(recording, summary, metric, device, console)
        send_s = time.monotonic() - began

        def stored(start_ns: int | None, end_ns: int | None) -> Iterator[Row]:
            return home.rows(device.device_id, metric, start_ns, end_ns)

        with console.status("Reading every row back"):
            began = time.monotonic()
            comparison = compare(recording.rows, stored)
            query_s = time.monotonic() - began
        findings = _settled_findings(home, device.device_id, console)
        return Outcome(summary, comparison, send_s, query_s, device.device_id, findings)


def _usable(file: Path, model: str, metric: str) -> tuple[Recording, Summary]:
    known = catalogue.metrics(model)
    if not known:
        raise ReplayError(
            f"There is no model {model!r}. Known models: {', '.join(catalogue.models())}."
        )
    if metric not in known:
        raise ReplayError(
            f"The model {model!r} has no metric {metric!r}. Its metrics: {', '.join(known)}."
        )
    recording = Recording(file)
    return recording, recording.check()


def _hub(stack: ExitStack, console: Console, data: Path | None, *, keep: bool) -> Address:
    """Find the hub, or start one that ends with `stack`."""
    if data is not None:
        try:
            return local_hub.running(data)
        except LocalHubError:
            pass
    elif keep:
        data = Path(tempfile.mkdtemp(prefix="homeport-replay-"))
    else:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="homeport-replay-")))
    with console.status("Starting a hub"):
        address = stack.enter_context(local_hub.started(data))
    console.print(f"Hub started at {address.api}, data folder {data}", soft_wrap=True)
    return address


def _subscribe(
    vendor: HubClient, made: onboarding.Made, customer: onboarding.Customer, summary: Summary
) -> None:
    """Give the product a plan that covers the recording and today."""
    onboarding.subscribe(
        vendor,
        customer.owner_id,
        made.product_id,
        "care",
        summary.first_ns - DAY_NS,
        paid_until=max(time.time_ns(), summary.last_ns) + 365 * DAY_NS,
    )


def _wait_owned(device: Device) -> None:
    """Wait for the signed state of its owner: rows recorded before it would be nobody's."""
    owned = threading.Event()

    def note(epoch: int) -> None:
        if epoch:
            owned.set()

    device.on_owner_change(note)
    if not owned.wait(STATE_TIMEOUT_S):
        raise ReplayError(
            f"The device {device.device_id} is connected but got no signed state of its owner within "
            f"{STATE_TIMEOUT_S:.0f} s. Is the hub's process `control` running?"
        )


def _send(
    recording: Recording, summary: Summary, metric: str, device: Device, console: Console
) -> None:
    """Send every row and wait for the last receipt."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} rows"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("Sending", total=summary.rows)
        rows = recording.rows()
        while chunk := [(row.time_ns, {metric: row.value}) for row in islice(rows, CHUNK_ROWS)]:
            device.record(chunk, historical=True)
            _wait_until_waiting(device, WAITING_ROWS)
            progress.advance(task, len(chunk))
        progress.update(task, description="Waiting for receipts")
        _wait_until_waiting(device, 0)


def _wait_until_waiting(device: Device, rows: int) -> None:
    """Wait until at most so many rows are without receipt; patient while receipts come."""
    if device.pending <= rows:
        return
    before, since = device.pending, time.monotonic()
    while (waiting := device.pending) > rows:
        if waiting < before:
            before, since = waiting, time.monotonic()
        elif time.monotonic() - since > RECEIPT_TIMEOUT_S:
            raise ReplayError(
                f"No receipt came for {RECEIPT_TIMEOUT_S:.0f} s; {waiting:,} rows wait. "
                "Is the hub's process `ingest` running?"
            )
        device.flush(0.05)


def _settled_findings(home: HubClient, device_id: str, console: Console) -> list[dict[str, Any]]:
    """Return the findings once no new one has come for a moment: they follow the receipts."""
    deadline = time.monotonic() + FINDINGS_TIMEOUT_S
    found: list[dict[str, Any]] = []
    with console.status("Waiting for findings to settle"):
        since = time.monotonic()
        while time.monotonic() < min(since + QUIET_S, deadline):
            time.sleep(0.25)
            fresh = list(home.pages("/findings", device_id=device_id))
            if len(fresh) != len(found):
                found, since = fresh, time.monotonic()
    return found
