"""How a product gets to its customer: made, sold, signed in for, claimed, and switched on.

1. Each step is one call of the public API by the one who does it in life: manufacturer or customer.
2. Secrets and passwords are handed on in memory and shown to the person at the screen only.
3. Never here: what the product measures.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from device_sdk.client import Device
from firmware_sim import catalogue
from firmware_sim.fleet_plan import Member
from firmware_sim.hub_client import HubAnswerError, HubClient, rfc3339
from firmware_sim.local_hub import Address

MOST_AT_ONCE: Final = 1_000  # products that the hub registers in one call
CONNECT_TIMEOUT_S: Final = 30.0
FIRMWARE: Final = "2.4.0"
PRESS_TIMEOUT_S: Final = 30.0
PRESS_AGAIN_S: Final = 5.0
LOOK_AGAIN_S: Final = 0.05


class OnboardingError(Exception):
    """A product did not come to life; the message says what to look at."""


@dataclass(frozen=True, slots=True)
class Made:
    """A product as it leaves the factory.

    Args:
        product_id: the hub's id of it.
        model: product model.
        serial: serial number.
        secret: its enrolment secret.
        claim_code: printed on the box.
    """

    product_id: str
    model: str
    serial: str
    secret: str = field(repr=False)
    claim_code: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Login:
    """How somebody signs in.

    Args:
        email: sign-in name.
        password: the one-time password.
    """

    email: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Customer(Login):
    """A customer.

    Args:
        owner_id: their household.
    """

    owner_id: str


def apply_catalogue(vendor: HubClient) -> None:
    """Tell the hub what the manufacturer makes and sells."""
    vendor.call("POST", "/catalogue", catalogue.document())


def make(vendor: HubClient, model: str, serial: str, **facts: str) -> Made:
    """Register a product that was made.

    Args:
        vendor: the manufacturer.
        model: product model.
        serial: serial number.
        facts: zone, region and so on, as the API names them.
    """
    answer = vendor.call(
        "POST", "/products", {"products": [{"model": model, "serial": serial, **facts}]}
    )
    return _made(answer["products"][0])


def make_all(
    vendor: HubClient, members: Sequence[Member], made_ns: Mapping[str, int] | None = None
) -> list[Made]:
    """Register products of a fleet.

    Args:
        vendor: the manufacturer.
        members: the products; none is fine.
        made_ns: when they were made, ns since 1970 UTC, by serial number; others are made now.

    Returns:
        What was made, in the same order.

    Raises:
        HubAnswerError: the hub refused; of each thousand products all are made or none.
    """
    made: list[Made] = []
    days = {serial: rfc3339(at) for serial, at in (made_ns or {}).items()}
    for first in range(0, len(members), MOST_AT_ONCE):
        units = [
            {
                "model": member.model,
                "serial": member.serial,
                "hardware_lot": member.lot,
                "region": member.region.name,
                "zone": member.region.zone,
                "made_at": days.get(member.serial),
            }
            for member in members[first : first + MOST_AT_ONCE]
        ]
        answer = vendor.call("POST", "/products", {"products": units})
        made.extend(_made(unit) for unit in answer["products"])
    return made


def customer(vendor: HubClient, email: str, name: str, zone: str = "UTC") -> Customer:
    """Create a customer with a household of their own."""
    made = vendor.call(
        "POST", "/people", {"email": email, "name": name, "role": "customer", "zone": zone}
    )
    return Customer(email, made["one_time_password"], made["owner_id"])


def member(vendor: HubClient, household: Customer, email: str, name: str, zone: str) -> Login:
    """Create another person of a customer's household, with an account of their own."""
    made = vendor.call(
        "POST",
        "/people",
        {
            "email": email,
            "name": name,
            "role": "customer",
            "zone": zone,
            "owner_id": household.owner_id,
        },
    )
    return Login(email, made["one_time_password"])


def staff(vendor: HubClient, email: str, name: str) -> Login:
    """Create somebody of the manufacturer's support."""
    made = vendor.call("POST", "/people", {"email": email, "name": name, "role": "support"})
    return Login(email, made["one_time_password"])


def push_configuration(caller: HubClient, device_id: str, settings: dict[str, Any]) -> None:
    """Change settings of a product; what is not named stays as it is."""
    caller.call("PATCH", f"/products/{device_id}/configuration", {"values": settings})


def subscribe(
    vendor: HubClient,
    owner_id: str,
    product_id: str,
    plan: str,
    starts_ns: int,
    **dates_ns: int | None,
) -> None:
    """Record that a customer subscribed to a plan.

    Args:
        vendor: the manufacturer.
        owner_id: the customer's household.
        product_id: for which product.
        plan: name of the plan.
        starts_ns: when it begins, ns since 1970 UTC.
        dates_ns: `trial_end`, `paid_until`, `cancelled_at`, `ends_at`.
    """
    dates = {name: rfc3339(at) for name, at in dates_ns.items() if at is not None}
    body: dict[str, Any] = {
        "product_id": product_id,
        "plan": plan,
        "starts_at": rfc3339(starts_ns),
        **dates,
    }
    vendor.call("POST", f"/owners/{owner_id}/subscriptions", body)


def pay_by(vendor: HubClient, owner_id: str, method: str) -> None:
    """Say what comes of a household's payments on a hub that collects nothing, such as `local:ok`."""
    vendor.call("PUT", f"/owners/{owner_id}/billing-account/method", {"method": method})


def buy(home: HubClient, product_id: str, plan: str) -> None:
    """Subscribe a household's product to a plan that it pays for, after the free trial if there is one."""
    home.call("POST", f"/products/{product_id}/subscription", {"plan": plan})


def hold(
    vendor: HubClient, product_id: str, kind: str, reason: str, ends_ns: int | None = None
) -> None:
    """Put a product on hold.

    Args:
        vendor: the manufacturer, or support.
        product_id: which product.
        kind: why, as one of the hub's words.
        reason: why, in words for support.
        ends_ns: when it ends by itself, ns since 1970 UTC; None: when it is lifted.
    """
    body = {
        "kind": kind,
        "reason": reason,
        "ends_at": None if ends_ns is None else rfc3339(ends_ns),
    }
    vendor.call("POST", f"/products/{product_id}/holds", body)


def sign_in(address: Address, email: str, password: str) -> HubClient:
    """Sign in; the caller closes the client."""
    with HubClient(address.api, address.ca_file) as door:
        answer = door.call("POST", "/sessions", {"email": email, "password": password})
    return HubClient(address.api, address.ca_file, answer["token"])


def claim(home: HubClient, made: Made) -> None:
    """Claim a product with the code on its box."""
    home.call("POST", "/claims", {"claim_code": made.claim_code})


def claim_address(api: str, made: Made) -> str:
    """Return where a product is claimed in a browser, as the QR code on its label has it."""
    return f"{api}/claim?{urlencode({'serial': made.serial, 'code': made.claim_code})}"


def claim_pressing(
    home: HubClient,
    made: Made,
    press: Callable[[], object],
    patience_s: float = PRESS_TIMEOUT_S,
) -> None:
    """Claim a product as somebody who stands at it: with its code, and its button if it has one.

    Args:
        home: the customer.
        made: the product, which is switched on.
        press: presses the button; the press may get lost, and is then repeated.
        patience_s: how long the hub may take to hear of a press.

    Raises:
        HubAnswerError: the hub refused, or it has not heard of a press in time.
    """
    until_pressed(lambda: claim(home, made), press, patience_s)


def until_pressed(
    ask: Callable[[], object], press: Callable[[], object], patience_s: float = PRESS_TIMEOUT_S
) -> None:
    """Ask the hub for what it does once it has heard that a button was pressed.

    Args:
        ask: asks it.
        press: presses the button; not called if the hub has heard of a press already.
        patience_s: how long the hub may take to hear of a press.

    Raises:
        HubAnswerError: the hub refused, or it has not heard of a press in time.
    """
    end = time.monotonic() + patience_s
    pressed = -math.inf
    while True:
        try:
            ask()
        except HubAnswerError as error:
            now = time.monotonic()
            if error.facts.get("possession") != "window" or now > end:
                raise
            if now > pressed + PRESS_AGAIN_S:
                pressed = now
                press()
            time.sleep(LOOK_AGAIN_S)
        else:
            return


def consent(home: HubClient, household: Customer, until_ns: int) -> None:
    """Let support see what the products of a household measured, as its owner, until an instant."""
    path = f"/households/{household.owner_id}/consents"
    home.call("POST", path, {"ends_at": rfc3339(until_ns)})


def switch_on(made: Made, folder: Path, address: Address) -> Device:
    """Switch a product on: it enrols if it has not, and connects.

    Args:
        made: the product.
        folder: its own memory.
        address: the hub.

    Returns:
        The device, which the caller closes.

    Raises:
        OnboardingError: it did not connect in time.
    """
    device = Device.open(
        folder,
        hub=address.api,
        ca_file=address.ca_file,
        serial=made.serial,
        model=made.model,
        secret=made.secret,
        firmware=FIRMWARE,
    )
    if not device.wait_connected(CONNECT_TIMEOUT_S):
        device.close()
        raise OnboardingError(
            f"{made.serial} enrolled but could not connect within {CONNECT_TIMEOUT_S:.0f} s. "
            f"Look at the logs in {address.data_dir / 'run'}."
        )
    return device


def _made(unit: dict[str, Any]) -> Made:
    return Made(
        unit["product_id"],
        unit["model"],
        unit["serial"],
        unit["enrolment_secret"],
        unit["claim_code"],
    )
