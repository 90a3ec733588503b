"""A real hub with a few products, people and a fault, for browsers and for screenshots.

Products are devices of the SDK whose measurements come from short formulas with a seed.
"""

import math
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from analytics.findings import Kind, Severity
from device_sdk import enrol
from device_sdk.client import Device
from device_sdk.keys import DeviceKey
from hub.ports.database.engine import open_engine, write_session
from hub.ports.database.product_tables import Cohort
from hub.ports.database.product_tables import Device as DeviceRow
from hub.services import alerts, incidents
from hub.services.found import Found
from tests.conftest import RunningHub

MINUTE = 60_000_000_000
DAY = 1_440 * MINUTE
PASSWORD = "a harbour in the evening"
WAIT_S = 60.0
FAILING, FRESH, DENSE, HELD = "HP-2026-0001", "HP-2026-0009", "KA-11-0042", "HP-2026-0003"
"""A product that fails, one still in its box, one with 100,000 samples, one with a hold."""
SOLD, BUTTON = "HP-2026-0005", "KA-22-0001"
"""A product that Ada sold to Ben, and one that is claimed in a window only."""
SAMPLES = 100_000

CATALOGUE: dict[str, Any] = {
    "models": {
        "heat-pump": {
            "title": "Heat pump Aurora 8",
            "possession": "label",
            "metrics": [
                {"name": "flow_temp_c", "unit": "Cel", "title": "Flow temperature", "high": 70.0},
                {"name": "outdoor_temp_c", "unit": "Cel", "title": "Outdoor temperature"},
                {"name": "room_temp_c", "unit": "Cel", "title": "Room temperature"},
                {"name": "power_w", "unit": "W", "title": "Electric power"},
                {"name": "vibration_mm_s", "unit": "mm/s", "title": "Vibration", "high": 12.0},
                {
                    "name": "energy_kwh",
                    "unit": "kW.h",
                    "title": "Energy used",
                    "kind": "counter",
                },
            ],
            "features": {
                "telemetry": {"title": "Usage and history"},
                "remote_control": {"title": "Control from anywhere"},
                "energy_reports": {"title": "Energy reports"},
                "boost_hours": {"title": "Boost", "kind": "metered", "unit": "h"},
                "energy": {
                    "title": "Energy in the plan",
                    "kind": "metered",
                    "unit": "kW.h",
                    "meter": "energy",
                },
                "frost_protection": {"title": "Frost protection", "safe": True, "default": True},
                "security_updates": {"title": "Security updates", "safe": True, "default": True},
            },
            "meters": {
                "energy": {
                    "title": "Energy",
                    "metric": "energy_kwh",
                    "aggregation": "increase",
                    "decimals": 1,
                }
            },
            "support_until": "2036-12-31",
            "data_sheet": {
                "link": "https://example.org/aurora-8.pdf",
                "facts": {"Heating power": "8 kW", "Refrigerant": "R290", "Weight": "118 kg"},
            },
            "warranty": [{"version": 1, "months": 60}],
            "settings": {
                "target_c": {"title": "Wanted room temperature", "default": 20.5, "unit": "Cel"},
                "quiet_at_night": {"title": "Quiet at night", "default": False},
            },
        },
        "charger": {
            "title": "Charger Kai 11",
            "possession": "label",
            "metrics": [{"name": "power_w", "unit": "W", "title": "Charging power"}],
            "features": {"telemetry": {"title": "Usage and history"}},
        },
        "charger-2": {
            "title": "Charger Kai 22",
            "possession": "window",
            "metrics": [{"name": "power_w", "unit": "W", "title": "Charging power"}],
            "features": {"telemetry": {"title": "Usage and history", "default": True}},
        },
    },
    "taxes": {"DE": {"title": "MwSt.", "rates": {"standard": "19"}}},
    "plans": {
        "comfort": {
            "title": "Comfort",
            "versions": [
                {
                    "version": 1,
                    "features": {
                        "telemetry": {},
                        "remote_control": {},
                        "boost_hours": {"value": 20},
                        "energy": {"value": 400, "limit": "soft"},
                    },
                    "settings": {"quiet_at_night": True},
                    "price": {"EUR": "9.90"},
                    "tax": "standard",
                    "overage": {"energy": {"EUR": "0.04"}},
                },
            ],
        },
        "basic": {
            "title": "Basic",
            "versions": [
                {
                    "version": 1,
                    "features": {"telemetry": {}, "energy": {"value": 150}},
                    "price": {"EUR": "3.90"},
                    "tax": "standard",
                },
            ],
        },
        "comfort-year": {
            "title": "Comfort for a year",
            "versions": [
                {
                    "version": 1,
                    "features": {
                        "telemetry": {},
                        "remote_control": {},
                        "boost_hours": {"value": 30},
                        "energy": {"value": 600},
                    },
                    "price": {"EUR": "99.00"},
                    "interval_months": 12,
                    "tax": "standard",
                },
            ],
        },
    },
}


@dataclass
class Unit:
    """A product of the showcase."""

    product_id: str
    serial: str
    secret: str
    claim_code: str
    model: str
    device: Device | None = None


@dataclass
class Showcase:
    """What is there to look at; passwords are all `PASSWORD`."""

    hub: RunningHub
    folder: Path
    units: dict[str, Unit] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    cases: list[str] = field(default_factory=list)

    def call(self, method: str, path: str, body: Any = None, token: str = "") -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = self.hub.client.request(method, f"/api/v1{path}", json=body, headers=headers)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def person(self, name: str, role: str, partner_id: str | None = None) -> str:
        """Create somebody with `PASSWORD` and return a token of theirs."""
        email = f"{name.lower().split()[0]}@example.org"
        body = {"email": email, "name": name, "role": role, "zone": "Europe/Berlin"}
        body |= {"partner_id": partner_id} if partner_id else {}
        made = self.call("POST", "/people", body)
        if made["owner_id"]:
            self.owners[email] = made["owner_id"]
        token = self._token(email, made["one_time_password"])
        self.call("PUT", "/me/password", {"old": made["one_time_password"], "new": PASSWORD}, token)
        return self._token(email, PASSWORD)

    def _token(self, email: str, password: str) -> str:
        token: str = self.call("POST", "/sessions", {"email": email, "password": password})["token"]
        return token

    def make(self, serial: str, model: str = "heat-pump", **facts: str) -> Unit:
        body = {"products": [{"model": model, "serial": serial, **facts}]}
        made = self.call("POST", "/products", body)["products"][0]
        unit = Unit(made["product_id"], serial, made["enrolment_secret"], made["claim_code"], model)
        self.units[serial] = unit
        return unit

    def claim(self, unit: Unit, token: str) -> None:
        self.call("POST", "/claims", {"claim_code": unit.claim_code}, token)

    def subscribe(self, owner: str, unit: Unit, **dates: int) -> None:
        body = {"product_id": unit.product_id, "plan": "comfort"}
        body |= {name: _text(at) for name, at in dates.items()}
        self.call("POST", f"/owners/{self.owners[owner]}/subscriptions", body)

    def switch_on(self, unit: Unit) -> Device:
        unit.device = Device.open(
            self.folder / unit.serial,
            hub=self.hub.api_url,
            ca_file=self.hub.ca_file,
            serial=unit.serial,
            model=unit.model,
            secret=unit.secret,
            firmware="2.4.0",
        )
        assert unit.device.wait_connected(WAIT_S)
        return unit.device

    def seed(self, unit: Unit, *, days: float, step_s: int = 60, seed: int = 1) -> None:
        """Record a past, and wait until the hub has it."""
        assert unit.device is not None
        now = time.time_ns() - 41 * MINUTE
        start = now - int(days * DAY)
        step = step_s * 1_000_000_000
        chance = random.Random(seed)  # noqa: S311  the same readings in every run
        rows = [(at, readings(at, chance)) for at in range(start, now, step)]
        if unit.model == "charger":
            rows = [(at, {"power_w": max(0.0, 11_000 * math.sin(at / DAY * 6))}) for at, _ in rows]
        for first in range(0, len(rows), 4_096):
            unit.device.record(rows[first : first + 4_096], historical=True)
        self.wait(unit)

    def wait(self, unit: Unit) -> None:
        """Wait until the hub has receipted everything."""
        device = unit.device
        assert device is not None
        until(lambda: device.pending == 0, f"{unit.serial} has {device.pending} rows unsent")

    def close(self) -> None:
        for unit in self.units.values():
            if unit.device is not None:
                unit.device.close()


def readings(at: int, chance: random.Random) -> dict[str, float]:
    """Return what a heat pump measures at an instant (ns)."""
    day = at / DAY * math.tau
    outdoor = 4.0 - 5.0 * math.cos(day) + chance.gauss(0, 0.15)
    duty = 0.5 + 0.5 * math.sin(at / (42 * MINUTE) * math.tau)
    running = duty > 0.3
    return {
        "flow_temp_c": round(38.0 - 0.5 * outdoor + 4.0 * duty + chance.gauss(0, 0.2), 2),
        "outdoor_temp_c": round(outdoor, 2),
        "room_temp_c": round(20.8 + 0.4 * math.sin(day) + chance.gauss(0, 0.05), 2),
        "power_w": round(1_450 * duty + 35 + chance.gauss(0, 12), 1) if running else 35.0,
        "vibration_mm_s": round((1.9 if running else 0.2) + abs(chance.gauss(0, 0.08)), 3),
        "energy_kwh": round(4_210 + (at / DAY - 20_000) * 14.2, 3),
    }


def until(condition: Any, otherwise: str) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, otherwise
        time.sleep(0.1)


def _text(at: int) -> str:
    return datetime.fromtimestamp(at // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def opened(hub: RunningHub, folder: Path) -> Iterator[Showcase]:
    """Fill a hub: Ada has a product that fails, Ben two that are fine, Cleo a plan that lapsed."""
    case = Showcase(hub, folder)
    try:
        case.call("POST", "/catalogue", CATALOGUE)
        now = time.time_ns()
        tokens = {
            name.split()[0].lower(): case.person(name, role)
            for name, role in [
                ("Ada Sommer", "customer"),
                ("Ben Winter", "customer"),
                ("Cleo Frost", "customer"),
                ("Dora Neu", "customer"),
                ("Sam Support", "support"),
            ]
        }
        _sell(case, tokens, now)
        for number, unit in enumerate(case.units.values()):
            if unit.serial in {FRESH, BUTTON}:  # still in their boxes
                continue
            case.switch_on(unit)
            if unit.serial == DENSE:
                case.seed(unit, days=SAMPLES / 86_400, step_s=1)
            else:
                days = 14.0 if unit.serial == FAILING else 2.0
                case.seed(unit, days=days, seed=number)
        _fail(case, case.units[FAILING])
        _support(case)
        _share(case, tokens)
        _common(case)
        yield case
    finally:
        case.close()


def _sell(case: Showcase, tokens: dict[str, str], now: int) -> None:
    sales = [
        (FAILING, "heat-pump", "ada"),
        (DENSE, "charger", "ada"),
        ("HP-2026-0002", "heat-pump", "ben"),
        ("KA-11-0043", "charger", "ben"),
        (HELD, "heat-pump", "cleo"),
        (SOLD, "heat-pump", "ada"),
        (FRESH, "heat-pump", ""),
        (BUTTON, "charger-2", ""),
    ]
    for number, (serial, model, owner) in enumerate(sales):
        unit = case.make(
            serial,
            model,
            order_reference=f"SO-{4_100 + number}",
            hardware_lot="B",
            region="DE-HH",
            zone="Europe/Berlin",
        )
        if owner:
            case.claim(unit, tokens[owner])
        start = now - 400 * DAY
        email = f"{owner}@example.org"
        if owner == "cleo":
            case.subscribe(email, unit, starts_at=start, paid_until=now - 30 * DAY)
        elif owner:
            case.subscribe(email, unit, starts_at=start, paid_until=now + 200 * DAY)


def _support(case: Showcase) -> None:
    """Let support have done something: a configuration, and a hold of a part."""
    path = f"/products/{case.units[FAILING].product_id}/configuration"
    values = {"flow_offset_k": -3.0, "night_setback.starts_at": "22:30", "legionella_cycle": True}
    case.call("PATCH", path, {"values": values})
    hold = {
        "kind": "payment",
        "reason": "The bank charged the last payment back",
        "features": ["energy_reports", "remote_control"],
    }
    case.call("POST", f"/products/{case.units[HELD].product_id}/holds", hold)


def _share(case: Showcase, tokens: dict[str, str]) -> None:
    """Let Ada sell a product to Ben, offer another, invite Dora and ask for help."""
    sold = case.units[SOLD].product_id
    code = case.call("POST", f"/products/{sold}/offer", {}, tokens["ada"])["code"]
    case.call("POST", "/offers/accept", {"code": code}, tokens["ben"])
    offer = {"email": "ben@example.org"}
    case.call("POST", f"/products/{case.units[DENSE].product_id}/offer", offer, tokens["ada"])
    home = case.owners["ada@example.org"]
    body = {"email": "dora@example.org", "relation": "viewer"}
    case.call("POST", f"/households/{home}/invitations", body, tokens["ada"])
    help_ = {
        "device_id": case.units[FAILING].product_id,
        "subject": "It runs hot and is loud",
        "message": "Since this morning. Can somebody look at it?",
    }
    asked = case.call("POST", "/cases", help_, tokens["ada"])
    case.cases.append(asked["id"])
    answer = {"message": "Which room is it in?\nAnd since when exactly?"}
    case.call("POST", f"/cases/{asked['id']}/wait", answer, tokens["sam"])
    help_ |= {"subject": "It does not answer", "message": "The app says: offline."}
    case.cases.append(case.call("POST", "/cases", help_, tokens["ada"])["id"])
    partner = case.call("POST", "/partners", {"name": "Heating Huber"})["partner_id"]
    case.person("Hans Huber", "partner", partner)
    grant = {
        "partner_id": partner,
        "acts": ["alerts", "history", "acknowledge"],
        "reason": "Yearly service",
        "ends_at": _text(time.time_ns() + 14 * DAY),
    }
    case.call("POST", "/partner-grants", grant, tokens["ada"])
    week = {"ends_at": _text(time.time_ns() + 7 * DAY)}
    case.call("POST", f"/households/{home}/consents", week, tokens["ada"])
    for serial in (FAILING, HELD):
        why = {"reason": "The customer called about noise"}
        path = f"/products/{case.units[serial].product_id}/reason"
        case.call("POST", path, why, tokens["sam"])


def _common(case: Showcase) -> None:
    """Let a cohort have moved, and products of one lot drift.

    A worker finds such a thing in days, so its findings are put in behind it.
    """
    hub, slots = case.hub, []
    key = DeviceKey.load_or_create(case.folder / "lot-c.key")
    engine = open_engine(f"sqlite:///{hub.data_dir / 'homeport.db'}")
    try:
        for number in range(8):
            unit = case.make(f"HQ-2026-{number:04}", hardware_lot="C", region="DE-HH")
            enrolled = enrol.HubApi(hub.api_url, hub.ca_file).enrol(
                unit.serial, unit.model, unit.secret, key
            )
            slots.append(select(DeviceRow.slot).where(DeviceRow.device_id == enrolled.device_id))
        at = time.time_ns()
        with write_session(engine) as session:
            drifts = [
                _found(session.scalars(slot).one(), number, Kind.DRIFT, at, 41.3)
                for number, slot in enumerate(slots)
            ]
            alerts.apply_findings(session, drifts, at)
            cohort = session.scalars(
                select(Cohort.number).where(Cohort.firmware == "2.4.0")
            ).first()
            moved = _found(0, len(slots), Kind.COHORT_SHIFT, at, 44.1, cohort or 0)
            incidents.apply(session, [moved], at)
    finally:
        engine.dispose()


def _found(slot: int, number: int, kind: Kind, at: int, observed: float, cohort: int = 0) -> Found:
    return Found(
        id=bytes([255, number]).ljust(16, b"\0"),
        slot=slot,
        metric=0,
        kind=kind,
        severity=Severity.WARNING,
        time=at,
        since=at - 90 * MINUTE,
        surprise=20.0,
        observed=observed,
        low=None,
        high=39.5,
        cohort=cohort,
        members=1_240 if cohort else 0,
    )


def _fail(case: Showcase, unit: Unit) -> None:
    """Let the flow run hot, and wait until the hub has noticed."""
    device = unit.device
    assert device is not None
    chance = random.Random(7)  # noqa: S311  likewise
    now = time.time_ns()
    for minute in range(40):
        at = now - (40 - minute) * MINUTE
        row = readings(at, chance)
        row["flow_temp_c"] = round(row["flow_temp_c"] + 0.95 * minute, 2)
        device.measure_many(row, at_ns=at)
    case.wait(unit)
    path = f"/alerts?device_id={unit.product_id}"
    until(lambda: case.call("GET", path)["items"], "no alert came")
