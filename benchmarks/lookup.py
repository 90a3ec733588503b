"""Support's look-ups in a running hub with a million products: the API, the pages and a dense chart.

1. The whole hub runs, and every request goes over TLS to its API, one after the other, as a browser's would.
2. Products are drawn by chance from all of them, so that no cache of the hub helps; each answer must be the right one.
3. `search_ms` is the API's look-up by serial number, beginning of one, e-mail address, order or device id;
   `page_ms` are the look-up page, support's page of one product, and a customer's two pages; `chart_100k_ms`
   draws 100,000 samples on 1,200 columns.
"""

import ssl
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import select

from benchmarks.population import METRICS, SECOND, Population, populate
from firmware_sim.local_hub import Address, LocalHub
from hub.config import Settings
from hub.ports.database.access_tables import Consent
from hub.ports.database.engine import migrate, write_session
from hub.ports.database.ownership_tables import Ownership
from hub.ports.database.people_tables import Person
from hub.ports.journal.block import Kind
from hub.ports.journal.telemetry import TelemetryBatch, encode
from hub.ports.journal.writer import JournalWriter
from hub.services.alerts import apply_findings
from hub.services.found import Found
from hub.services.people import HASHER
from hub.wiring import compose

SAMPLES: Final = 100_000
DENSE: Final = 20  # products with so many samples of each metric
_START_S: Final = 600.0
_PASSWORD: Final = "a lighthouse at noon"  # noqa: S105  of a database that lives for minutes
_PREFIX: Final = len("HP-000-000")  # of a serial number, so that ten begin so
_CUSTOMERS: Final = 5
_WARM: Final = 5


@dataclass(frozen=True, slots=True)
class Shop:
    """The hub under measurement: its products, and clients of its API and of its pages."""

    products: Population
    address: Address
    api: httpx.Client
    support: httpx.Client
    now: int


def run(quick: bool) -> dict[str, Any]:
    """Measure.

    Args:
        quick: 50,000 products and fewer requests.

    Returns:
        `search_ms_p95`, `page_ms_p95` and `chart_100k_ms` (p95), then their parts.
    """
    count, tries = (50_000, 100) if quick else (1_000_000, 500)
    with tempfile.TemporaryDirectory(prefix="homeport-lookup-") as temporary:
        settings = Settings(data_dir=Path(temporary) / "data")
        now = time.time_ns()
        began = time.monotonic()
        products = _fill(settings, count, now)
        filled = time.monotonic()
        hub = LocalHub(settings.data_dir)
        try:
            address = hub.start(_START_S)
            ready = time.monotonic()
            print(f"{count} products, ready after {ready - filled:.0f} s", file=sys.stderr)
            with _client(address) as api, _client(address) as support:
                api.headers["Authorization"] = f"Bearer {address.token}"
                _sign_in(support, "support@example.org")
                support.headers["X-Homeport-Reason"] = "The owner called."
                figures = _measure(Shop(products, address, api, support, now), tries)
                held = _held(api)
        finally:
            hub.stop()
    return {
        **figures,
        **held,
        "products": count,
        "fill_s": round(filled - began, 1),
        "hub_start_s": round(ready - filled, 1),
        "workload": f"{tries} look-ups of each of 5 kinds, {tries} pages of each of 3 kinds, "
        f"{tries // 5} charts; one client over TLS, answers checked",
    }


def _held(api: httpx.Client) -> dict[str, int]:
    """Return what the products take in the memory of `control` and in the database."""
    wanted = {
        "control_mb": ("homeport_role_resident_memory_bytes", "role", "control"),
        "database_mb": ("homeport_disk_bytes", "part", "database"),
    }
    text = api.get("/metrics").text
    samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
    return {
        name: round(
            sum(
                one.value for one in samples if (one.name, one.labels.get(label)) == (metric, value)
            )
            / 1e6
        )
        for name, (metric, label, value) in wanted.items()
    }


def _fill(settings: Settings, count: int, now: int) -> Population:
    settings.data_dir.mkdir(mode=0o700, parents=True)
    engine = compose.engine(settings)
    migrate(engine)
    password_hash = HASHER.hash(_PASSWORD)
    products = populate(engine, count, now, password_hash)
    with write_session(engine) as session:
        session.add(_support(now, password_hash))
        dense = select(Ownership.product_id, Ownership.owner_id).where(
            Ownership.product_id.in_(products.product_ids[:DENSE]), Ownership.ended_at.is_(None)
        )
        for product_id, owner_id in session.execute(dense):
            session.add(_consent(product_id, owner_id, now))
    with write_session(engine) as session:
        apply_findings(session, _findings(now), now)
    engine.dispose()
    _measured(settings, now)
    return products


def _consent(product_id: str, owner_id: str, now: int) -> Consent:
    """Let support see what a product measured: a look, a reason and a consent are part of a page."""
    return Consent(
        id=product_id,
        owner_id=owner_id,
        product_id=product_id,
        starts_at=now,
        ends_at=now + 86_400 * SECOND,
        given_by="hub",
    )


def _support(now: int, password_hash: str) -> Person:
    return Person(
        id="support000000000",
        email="support@example.org",
        name="Sam",
        role="support",
        password_hash=password_hash,
        password_changed_at=now,
        password_one_time=False,
        locale="en",
        zone="UTC",
        created_at=now,
    )


def _findings(now: int) -> list[Found]:
    """A few findings on each dense product: its pages have something to say."""
    return [
        Found(
            id=bytes([slot, kind]).ljust(16, b"\0"),
            slot=slot,
            metric=0,
            kind=kind,
            severity=2,
            time=now - hours * 3600 * SECOND,
            since=now - (hours + 1) * 3600 * SECOND,
            surprise=20.0,
            observed=71.5,
            low=None,
            high=70.0,
        )
        for slot in range(1, DENSE + 1)
        for kind, hours in ((1, 9), (2, 6), (6, 3))
    ]


def _measured(settings: Settings, now: int) -> None:
    """Journal the samples of the dense products: one a second, until now; the hub compacts them."""
    rng = np.random.default_rng(5)
    with JournalWriter.open(settings.journal_dir(0), now_ns=now) as writer:
        for slot in range(1, DENSE + 1):
            for first in range(0, SAMPLES, 2_000):
                writer.append(Kind.TELEMETRY, encode(_batch(rng, slot, first, now)), now)
        writer.sync()


def _batch(
    rng: np.random.Generator, slot: int, first: int, now: int, rows: int = 2_000
) -> TelemetryBatch:
    seq = np.arange(first, first + rows)
    moment = now - (SAMPLES - seq) * SECOND
    rhythm = np.sin(seq * (2 * np.pi / 5_400))
    value = np.stack([50 + 8 * rhythm, 900 + 400 * rhythm, 2 + 0.2 * rhythm], axis=1) * rng.normal(
        1, 0.02, (rows, len(METRICS))
    )
    return TelemetryBatch(
        slot=np.full(rows, slot, np.uint32),
        epoch=np.ones(rows, np.uint32),
        flags=np.full(rows, 2, np.uint32),
        count=np.full(rows, len(METRICS), np.uint32),
        stream=np.full(rows, slot, np.uint64),
        seq=seq.astype(np.uint64),
        raw_time=moment,
        time=moment,
        metric=np.tile(np.arange(len(METRICS), dtype=np.uint16), rows),
        value=np.round(value, 2).ravel(),
    )


def _client(address: Address) -> httpx.Client:
    trust = ssl.create_default_context(cafile=str(address.ca_file))
    return httpx.Client(base_url=address.api, verify=trust, trust_env=False, timeout=60.0)


def _sign_in(pages: httpx.Client, email: str) -> None:
    pages.headers["Origin"] = str(pages.base_url).rstrip("/")
    answer = pages.post("/sign-in", data={"email": email, "password": _PASSWORD})
    if answer.status_code != httpx.codes.SEE_OTHER:
        raise SystemExit(f"{email} could not sign in: {answer.status_code}.")


def _measure(shop: Shop, tries: int) -> dict[str, Any]:
    rng = np.random.default_rng(11)
    searches = {kind: _searches(shop, kind, rng, tries) for kind in _KINDS}
    shown = {
        "lookup_page_ms": _lookup_pages(shop, rng, tries),
        "support_page_ms": _support_pages(shop, rng, tries),
        "customer_page_ms": _customer_pages(shop, tries),
    }
    charts = _charts(shop, rng, tries // 5)
    return {
        "search_ms_p95": _percentile(np.concatenate(list(searches.values())), 95),
        "page_ms_p95": _percentile(np.concatenate(list(shown.values())), 95),
        "chart_100k_ms": _percentile(charts, 95),
        "search_ms_p50": _percentile(np.concatenate(list(searches.values())), 50),
        "page_ms_p50": _percentile(np.concatenate(list(shown.values())), 50),
        "chart_100k_ms_p50": _percentile(charts, 50),
        "by_kind_ms_p95": {
            name: _percentile(took, 95) for name, took in {**searches, **shown}.items()
        },
    }


_KINDS: Final = ("serial", "serial_prefix", "email", "order", "device_id")


def _searches(shop: Shop, kind: str, rng: np.random.Generator, tries: int) -> np.ndarray:
    products, took = shop.products, []
    for product in rng.integers(0, products.enrolled, tries + _WARM).tolist():
        text = {
            "serial": products.serial(product),
            "serial_prefix": products.serial(product)[:_PREFIX],
            "email": products.email(products.household(product)),
            "order": products.order(product),
            "device_id": products.device_ids[product],
        }[kind]
        began = time.perf_counter()
        answer = shop.api.get("/api/v1/products", params={"q": text})
        took.append((time.perf_counter() - began) * 1000)
        found = [item["serial"] for item in answer.json()["items"]]
        if products.serial(product) not in found:
            raise SystemExit(
                f"The look-up of {text} did not find {products.serial(product)}: {found}."
            )
    return np.array(took[_WARM:])


def _lookup_pages(shop: Shop, rng: np.random.Generator, tries: int) -> np.ndarray:
    products, took = shop.products, []
    for product in rng.integers(0, products.enrolled, tries + _WARM).tolist():
        text = products.serial(product)[:_PREFIX]
        took.append(_page(shop.support, f"/support?q={text}", products.serial(product)))
    return np.array(took[_WARM:])


def _support_pages(shop: Shop, rng: np.random.Generator, tries: int) -> np.ndarray:
    """Ask for pages of products; every other one is of a product with 100,000 samples a metric."""
    products = shop.products
    drawn = rng.integers(0, products.enrolled, tries + _WARM)
    drawn[::2] %= DENSE
    took = [
        _page(
            shop.support,
            f"/support/products/{products.product_ids[product]}",
            products.serial(product),
        )
        for product in drawn.tolist()
    ]
    return np.array(took[_WARM:])


def _customer_pages(shop: Shop, tries: int) -> np.ndarray:
    """Let the owners of dense products look at home and at their product, in turns."""
    products, took = shop.products, []
    for product in range(_CUSTOMERS):
        serial = products.serial(product)
        with _client(shop.address) as pages:
            _sign_in(pages, products.email(products.household(product)))
            for _ in range(tries // (2 * _CUSTOMERS)):
                took.append(_page(pages, "/", serial))
                took.append(_page(pages, f"/products/{products.product_ids[product]}", serial))
    return np.array(took)


def _page(pages: httpx.Client, path: str, serial: str) -> float:
    began = time.perf_counter()
    answer = pages.get(path)
    took = (time.perf_counter() - began) * 1000
    if answer.status_code != httpx.codes.OK or serial not in answer.text:
        raise SystemExit(f"{path} did not show {serial}: {answer.status_code}.")
    return took


def _charts(shop: Shop, rng: np.random.Generator, tries: int) -> np.ndarray:
    """Draw all samples of a metric of a dense product."""
    took = []
    span = {
        "start": (shop.now - (SAMPLES + 1) * SECOND) // 1_000_000,
        "end": shop.now // 1_000_000 + 1,
    }
    for number in range(tries + _WARM):
        product = shop.products.product_ids[int(rng.integers(DENSE))]
        metric = METRICS[number % len(METRICS)]
        began = time.perf_counter()
        answer = shop.support.get(
            f"/products/{product}/series", params={"metric": metric, "columns": 1_200, **span}
        )
        took.append((time.perf_counter() - began) * 1000)
        points = len(answer.json()["time"])
        if points < 1_000 or f"{SAMPLES:,}" not in answer.json()["sentence"]:
            raise SystemExit(f"A chart has {points} columns: {answer.json()['sentence']}")
    return np.array(took[_WARM:])


def _percentile(values: np.ndarray, percent: int) -> float:
    return round(float(np.percentile(values, percent)), 2)
