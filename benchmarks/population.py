"""A vendor's whole database for benchmarks: so many products, devices, households, people and plans.

1. Rows are written in bulk into the hub's own tables; ids, serials and people come from a seed.
2. Four of five products have enrolled and have an owner; a household owns one to three; every owner has a plan.
What must never live here: what is measured.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import numpy as np
from sqlalchemy import Engine, insert
from sqlalchemy.orm import Session

from hub.ports.database.engine import write_session
from hub.ports.database.ownership_tables import Ownership, Subscription
from hub.ports.database.people_tables import Membership, Owner, Person
from hub.ports.database.product_tables import Device, Product
from hub.services import catalogue
from hub.services.caller import HUB

SECOND: Final = 1_000_000_000
DAY: Final = 86_400 * SECOND
MODEL: Final = "heat-pump"
METRICS: Final = ("flow_temp_c", "power_w", "vibration_mm_s")
CATALOGUE: Final = """
[models.heat-pump]
possession = "label"
title = "Heat pump Aurora 8"
metrics = [
  { name = "flow_temp_c", unit = "Cel", title = "Flow temperature", high = 70.0 },
  { name = "power_w", unit = "W", title = "Electric power" },
  { name = "vibration_mm_s", unit = "mm/s", title = "Vibration", high = 12.0 },
]
[models.heat-pump.features]
telemetry = { title = "Usage and history" }
remote_control = { title = "Control from anywhere" }
frost_protection = { title = "Frost protection", safe = true, default = true }

[plans.comfort]
title = "Comfort"
versions = [{ version = 1, features = { telemetry = {}, remote_control = {} } }]
"""
_LETTERS: Final = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz0123456789", np.uint8)
_CHUNK: Final = 20_000


@dataclass(frozen=True, slots=True)
class Population:
    """Which products there are; the slot of product `i` is `i + 1` if it has enrolled.

    Args:
        product_ids: of all products.
        device_ids: of all products; those of products that have not enrolled name nothing.
        enrolled: so many products, the first ones, have enrolled and have an owner.
        households: so many households, with one person each.
    """

    product_ids: Sequence[str]
    device_ids: Sequence[str]
    enrolled: int
    households: int

    def serial(self, product: int) -> str:
        """Return the serial number of a product."""
        return f"HP-{product // 10_000:03d}-{product % 10_000:04d}"

    def order(self, product: int) -> str:
        """Return the order a product was sold by; an order has two products."""
        return f"ORDER-{product // 2:07d}"

    def household(self, product: int) -> int:
        """Return who owns an enrolled product."""
        return product % self.households

    def email(self, household: int) -> str:
        """Return the address of the person of a household."""
        return f"person{household}@example.org"


def populate(
    engine: Engine, products: int, at: int, password_hash: str, document: str = CATALOGUE
) -> Population:
    """Fill an empty, migrated database.

    Args:
        engine: of the database.
        products: how many.
        at: now, ns; what happened before goes back a year.
        password_hash: of everybody's password.
        document: the catalogue; its first model and the first version of its first plan are sold.
    """
    rng = np.random.default_rng(20260301)
    enrolled = products * 4 // 5
    people = Population(_ids(rng, products), _ids(rng, products), enrolled, enrolled * 2 // 3)
    owners = _ids(rng, people.households)
    with write_session(engine) as session:
        catalogue.apply(session, HUB, catalogue.parse(document), at)
        _insert(session, Owner, _owners(people, owners, at))
        _insert(session, Person, _persons(people, owners, at, password_hash))
        _insert(session, Membership, _memberships(owners, at))
        _insert(session, Product, _products(people, at))
        _insert(session, Device, _devices(people, at))
        _insert(session, Ownership, _ownerships(people, owners, at))
        _insert(session, Subscription, _subscriptions(people, owners, at))
    return people


def _ids(rng: np.random.Generator, count: int) -> list[str]:
    return [row.tobytes().decode() for row in _LETTERS[rng.integers(0, 36, (count, 16))]]


def _insert(session: Session, table: type, rows: Iterator[Mapping[str, Any]]) -> None:
    while chunk := list(islice(rows, _CHUNK)):
        session.execute(insert(table), chunk)


def _owners(people: Population, owners: Sequence[str], at: int) -> Iterator[dict[str, Any]]:
    for index in range(people.households):
        yield {"id": owners[index], "name": f"Household {index}", "created_at": at - 365 * DAY}


def _persons(
    people: Population, owners: Sequence[str], at: int, password_hash: str
) -> Iterator[dict[str, Any]]:
    for index in range(people.households):
        yield {
            "id": owners[index],
            "email": people.email(index),
            "name": f"Person {index}",
            "role": "customer",
            "owner_id": owners[index],
            "password_hash": password_hash,
            "password_changed_at": at - 365 * DAY,
            "password_one_time": False,
            "locale": "en",
            "zone": "UTC",
            "created_at": at - 365 * DAY,
        }


def _memberships(owners: Sequence[str], at: int) -> Iterator[dict[str, Any]]:
    for owner in owners:
        yield {
            "id": owner,
            "owner_id": owner,
            "person_id": owner,
            "relation": "owner",
            "starts_at": at - 365 * DAY,
            "given_by": "hub",
        }


def _products(people: Population, at: int) -> Iterator[dict[str, Any]]:
    for index, product_id in enumerate(people.product_ids):
        yield {
            "id": product_id,
            "model_number": 1,
            "serial": people.serial(index),
            "zone": "UTC",
            "order_reference": people.order(index),
            "hardware_lot": f"L{index // 5_000}",
            "region": ("north", "south", "coast")[index % 3],
            "enrolment_secret_hash": f"{index:064x}",
            "claim_code_hash": f"{index:064x}",
            "made_at": at - 400 * DAY,
        }


def _devices(people: Population, at: int) -> Iterator[dict[str, Any]]:
    for index in range(people.enrolled):
        yield {
            "slot": index + 1,
            "device_id": people.device_ids[index],
            "product_id": people.product_ids[index],
            "public_key": index.to_bytes(32),
            "enrolled_at": at - 360 * DAY,
            "firmware": "2.4.1" if index % 3 else "2.4.0",
            "sdk": "homeport 0.1.0",
            "online": index % 10 > 0,
            "last_contact": at - index % 3_600 * SECOND,
            "state_version_reported": 1,
            "entitlement_version_reported": 1,
            "reported": {"target_c": 21.0},
            "reported_errors": {},
            "desired": {"target_c": 21.0},
            "desired_version": 1,
            "state_version": 1,
            "entitlement_version": 1,
        }


def _ownerships(people: Population, owners: Sequence[str], at: int) -> Iterator[dict[str, Any]]:
    for index in range(people.enrolled):
        yield {
            "product_id": people.product_ids[index],
            "epoch": 1,
            "owner_id": owners[people.household(index)],
            "started_at": at - 359 * DAY,
        }


def _subscriptions(people: Population, owners: Sequence[str], at: int) -> Iterator[dict[str, Any]]:
    for index in range(people.enrolled):
        yield {
            "id": people.device_ids[index],
            "product_id": people.product_ids[index],
            "owner_id": owners[people.household(index)],
            "plan_version_id": 1,
            "starts_at": at - 359 * DAY,
            "paid_until": at + (index % 60 - 10) * DAY,
            "grace_s": 7 * 86_400,
            "epoch": 1,
            "created_at": at - 359 * DAY,
        }
