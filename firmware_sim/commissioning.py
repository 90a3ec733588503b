"""A planned fleet becomes devices of a hub: made, enrolled, connected, many at a time.

1. What was made before is found in the state folder and only switched on again; nothing is made twice.
2. Either every product comes to life or every one that did is closed again.
3. Never here: customers and what they pay for.
"""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from device_sdk import files
from device_sdk.client import Device
from firmware_sim import onboarding
from firmware_sim.device_clock import DeviceClock
from firmware_sim.fleet_plan import Member
from firmware_sim.hub_client import HubClient
from firmware_sim.local_hub import Address
from firmware_sim.onboarding import CONNECT_TIMEOUT_S, Made, OnboardingError
from firmware_sim.simulated import Home, SimulatedProduct

AT_ONCE: Final = 8  # enrolments; each is a TLS connection and a signature
PATIENCE_S: Final = 600  # a whole fleet enrols from one address, so the hub lets it wait


def make(
    vendor: HubClient,
    members: Sequence[Member],
    folder: Path,
    made_ns: Mapping[str, int] | None = None,
) -> list[Made]:
    """Register the products of a fleet that have not been made yet.

    Args:
        vendor: the manufacturer.
        members: the products.
        folder: state folder; a subfolder per serial number. Secrets and claim codes are kept there
            (mode 0600), so that a fleet whose making was interrupted can go on.
        made_ns: when they were made, ns since 1970 UTC, by serial number; others are made now.

    Returns:
        What was made, now or before, in the order of `members`.

    Raises:
        HubAnswerError: the hub refused; nothing was made.
        OnboardingError: a product's note in the state folder is damaged.
    """
    made = {member.serial: _note(folder, member.serial) for member in members}
    wanted = [member for member in members if made[member.serial] is None]
    for entry in onboarding.make_all(vendor, wanted, made_ns):
        home = folder / entry.serial
        files.private_folder(home)
        note = {
            "product_id": entry.product_id,
            "model": entry.model,
            "serial": entry.serial,
            "secret": entry.secret,
            "claim_code": entry.claim_code,
        }
        files.write_private(home / "made.json", json.dumps(note).encode())
        made[entry.serial] = entry
    return [entry for entry in made.values() if entry is not None]


def switch_on(
    members: Sequence[Member],
    made: Sequence[Made],
    folder: Path,
    address: Address,
    clock: Callable[[], int],
    *,
    report_s: float,
    progress: Callable[[int], None] = lambda _products: None,
) -> list[SimulatedProduct]:
    """Enrol and connect the products of a fleet.

    Args:
        members: the products.
        made: what `make` returned for them.
        folder: state folder; a subfolder per serial number.
        address: the hub.
        clock: the true time, ns since 1970 UTC.
        report_s: seconds between two reports.
        progress: told how many products more are open, now and then.

    Returns:
        The products, connected; the caller closes them.

    Raises:
        OnboardingError: one did not connect in time.
        DeviceError: one could not enrol or be opened.
    """

    def open_one(member: Member, entry: Made) -> SimulatedProduct:
        home = Home(folder / member.serial, address.api, address.ca_file)
        own = DeviceClock(clock)
        device = Device.open(
            home.folder,
            hub=home.hub,
            ca_file=home.ca_file,
            serial=member.serial,
            model=member.model,
            firmware=member.firmware,
            secret=entry.secret,
            enrol_within_s=PATIENCE_S,
            clocks=own.clocks(),
        )
        progress(1)
        return SimulatedProduct(
            member, member.product(), device, clock=own, home=home, report_s=report_s
        )

    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = [
            pool.submit(open_one, member, entry)
            for member, entry in zip(members, made, strict=True)
        ]
    products = [future.result() for future in futures if future.exception() is None]
    failures = [error for future in futures if (error := future.exception()) is not None]
    end = time.monotonic() + CONNECT_TIMEOUT_S  # for all of them together
    late = [
        product
        for product in products
        if not product.device.wait_connected(max(0.0, end - time.monotonic()))
    ]
    if not failures and not late:
        return products
    for product in products:
        product.close()
    if failures:
        raise failures[0]
    raise OnboardingError(
        f"{len(late)} of {len(products)} products, {late[0].serial} first, could not connect within "
        f"{CONNECT_TIMEOUT_S:.0f} s. Look at the logs in {address.data_dir / 'run'}."
    )


def _note(folder: Path, serial: str) -> Made | None:
    path = folder / serial / "made.json"
    try:
        fields: dict[str, Any] = json.loads(path.read_bytes())
        return Made(**{name: str(value) for name, value in fields.items()})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise OnboardingError(
            f"{path} cannot be used ({error}). Remove {os.fspath(path.parent)} and register the "
            "product anew, or give another state folder."
        ) from error
