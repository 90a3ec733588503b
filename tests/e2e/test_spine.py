"""The whole path on real parts: two products, their owners, support, and one real hub.

What a product measures is found again, and what is pushed to it is applied.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from device_sdk.client import Device
from device_sdk.wire.codes import QuarantineReason, Severity
from device_sdk.wire.messages import Notice
from firmware_sim.hub_client import HubAnswerError
from firmware_sim.recording import Row, time_ns
from hub.ports.journal.telemetry import REASON_SHIFT
from tests.conftest import ROOT, RunningHub, hub_environment
from tests.e2e.world import (
    DAY_NS,
    PATIENCE_S,
    Events,
    Home,
    RawDevice,
    Unit,
    World,
    eventually,
    hearing,
    pack,
)

pytestmark = pytest.mark.hub


@dataclass
class Product:
    """A product that runs: its device, and what reached its handlers."""

    unit: Unit
    device: Device
    configurations: list[Mapping[str, Any]] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    restarts: list[Mapping[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.device.on_configuration(self._configure)
        self.device.on_notice(self.notices.append)
        self.device.on_command("restart", self._restart)
        assert self.device.wait_connected(PATIENCE_S)

    def _configure(self, configuration: Mapping[str, Any]) -> dict[str, str]:
        self.configurations.append(configuration)
        return {"impossible": "no such part"} if "impossible" in configuration else {}

    def _restart(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        self.restarts.append(arguments)
        return {"boots": len(self.restarts)}


@dataclass(frozen=True)
class Street:
    """Two households with a product each."""

    world: World
    anna: Home
    bert: Home
    pump: Product
    other: Product


@pytest.fixture(scope="module")
def street(world: World, anna: Home, bert: Home) -> Iterator[Street]:
    with ExitStack() as stack:
        products = []
        for home in (anna, bert):
            unit = world.sold(home)
            products.append(Product(unit, stack.enter_context(world.open(unit))))
        yield Street(world, anna, bert, *products)


def test_a_sample_goes_from_measure_to_its_owner(street: Street) -> None:
    at, disk = time.time_ns(), street.world.disk
    before = {
        product.unit.id: disk.count(product.unit.id) for product in (street.pump, street.other)
    }
    for product, value in ((street.pump, 21.4375), (street.other, 47.25)):
        product.device.measure("temp_c", value, at)
        product.device.measure_many({"power_w": value * 2, "compressor_hz": value}, at + 1)
        assert product.device.flush(PATIENCE_S)
    for home, product, value in (
        (street.anna, street.pump, 21.4375),
        (street.bert, street.other, 47.25),
    ):
        device_id = product.unit.id
        assert list(home.api.rows(device_id, "temp_c")) == [Row(at, value)]
        assert list(home.api.rows(device_id, "power_w")) == [Row(at + 1, value * 2)]
        found = street.world.detail(product.unit, home.api)
        latest = {item["metric"]: item for item in found["latest"]}
        expected = {"temp_c": value, "power_w": value * 2, "compressor_hz": value}
        assert {name: latest[name]["value"] for name in expected} == expected
        assert time_ns(latest["temp_c"]["time"]) == at
        assert latest["temp_c"]["unit"] == "Cel"
        assert found["owner"]["owner_id"] == home.who.owner_id
        assert (found["online"], found["firmware"]) == (True, "2.4.0")
        assert disk.count(device_id) == before[device_id] + 2


def test_a_row_has_one_name_from_the_device_to_the_hubs_files(
    street: Street, hub: RunningHub, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="device_sdk.sending"):
        street.pump.device.measure("temp_c", 22.5)
        assert street.pump.device.flush(PATIENCE_S)
    sent = next(vars(record) for record in caplog.records if record.message == "pack sent")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "hub",
            "trace",
            street.pump.unit.id,
            sent["stream"],
            str(sent["first"]),
        ],
        cwd=ROOT,
        env=hub_environment(hub.data_dir),
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    assert done.stdout.startswith(f"trace {sent['trace']} of {street.pump.unit.id}")
    assert "journalled" in done.stdout or "stored" in done.stdout


def test_a_configuration_is_applied_and_reported_back(street: Street) -> None:
    pump, anna = street.pump, street.anna
    with hearing(street.world.support) as events:
        answer = anna.api.call(
            "PATCH",
            f"/products/{pump.unit.id}/configuration",
            {"values": {"target_c": 21.5, "mode": "eco", "impossible": 1}},
        )
        wanted = {"target_c": 21.5, "mode": "eco", "impossible": 1}
        assert (answer["desired"], answer["changed"]) == (wanted, True)
        eventually(lambda: wanted in pump.configurations, "the configuration at the product")
        assert pump.device.configuration == wanted

        def reported() -> dict[str, Any] | None:
            device: dict[str, Any] = street.world.detail(pump.unit, anna.api)["device"]
            there = device["reported"] == {"target_c": 21.5, "mode": "eco"}
            return device if there else None

        device = eventually(reported, "the product's report")
        assert device["reported_errors"] == {"impossible": "no such part"}
        assert device["configuration"] == wanted
        assert device["state_version_reported"] == device["state_version"]
        eventually(
            lambda: any(event["device_id"] == pump.unit.id for event in events.of("reported")),
            "the report as an event",
        )
    assert street.other.device.configuration == {}
    anna.api.call("PUT", f"/products/{pump.unit.id}/configuration", {"values": {"target_c": 20}})
    eventually(lambda: {"target_c": 20} in pump.configurations, "the next configuration")
    eventually(
        lambda: street.world.detail(pump.unit)["device"]["reported"] == {"target_c": 20},
        "the next report",
    )


def test_a_notice_and_a_command_reach_the_product_once(street: Street) -> None:
    pump, world = street.pump, street.world
    with hearing(street.anna.api) as events:
        notice = {"code": "service.due", "arguments": {"days": 14}, "severity": "warning"}
        sent = world.support.call("POST", f"/products/{pump.unit.id}/notices", notice)
        assert sent["delivered"] is True
        (got,) = eventually(
            lambda: [n for n in pump.notices if n.id.hex() == sent["notice_id"]], "the notice"
        )
        assert (got.code, got.arguments) == ("service.due", {"days": 14})
        assert got.severity == Severity.WARNING

        order = {"name": "restart", "arguments": {"delay_s": 0}}
        told = street.anna.api.call("POST", f"/products/{pump.unit.id}/commands", order)
        unknown = street.anna.api.call(
            "POST", f"/products/{pump.unit.id}/commands", {"name": "fly"}
        )

        def status_of(command: dict[str, Any]) -> list[str]:
            replies = events.of("reply")
            return [r["status"] for r in replies if r["command_id"] == command["command_id"]]

        eventually(lambda: status_of(told) and status_of(unknown), "both replies")
        assert (status_of(told), status_of(unknown)) == (["done"], ["refused"])
    assert pump.restarts == [{"delay_s": 0}]
    assert street.other.restarts == []
    assert [n for n in street.other.notices if n.code == "service.due"] == []


def test_a_value_beyond_its_limits_reaches_everybody_concerned(street: Street) -> None:
    pump, world, anna = street.pump, street.world, street.anna
    with (
        hearing(anna.api) as hers,
        hearing(world.support) as supports,
        hearing(street.bert.api) as berts,
    ):
        at = time.time_ns()
        pump.device.measure("vibration_mm_s", 99.0, at)
        assert pump.device.flush(PATIENCE_S)

        def alert() -> dict[str, Any] | None:
            alerts = anna.api.call("GET", "/alerts", device_id=pump.unit.id)["items"]
            return next((a for a in alerts if a["metric"] == "vibration_mm_s"), None)

        opened = eventually(alert, "the alert")
        assert (opened["status"], opened["kind"]) == ("open", "out_of_limits")
        assert "99" in opened["sentence"]
        findings = anna.api.call("GET", "/findings", alert_id=opened["id"])["items"]
        assert [(f["observed"], f["expected_high"], time_ns(f["at"])) for f in findings] == [
            (99.0, 4.5, at)
        ]
        (notice,) = eventually(
            lambda: [n for n in pump.notices if n.arguments.get("metric") == "vibration_mm_s"],
            "the notice at the product",
        )
        assert notice.severity >= Severity.WARNING

        def told(events: Events) -> list[dict[str, Any]]:
            return [event for event in events.of("alert") if event["alert_id"] == opened["id"]]

        for events in (hers, supports):
            (event,) = eventually(partial(told, events), "the event")
            assert (event["change"], event["device_id"]) == ("opened", pump.unit.id)
            assert event["sentence"] == opened["sentence"]
        assert world.detail(pump.unit, anna.api)["open_alerts"][0]["id"] == opened["id"]

        world.support.call("POST", f"/alerts/{opened['id']}/acknowledge")
        done = anna.api.call("POST", f"/alerts/{opened['id']}/resolve")
        assert done["status"] == "resolved"
        eventually(
            lambda: [a["change"] for a in hers.of("alert")][-1] == "resolved", "the last event"
        )
    assert berts.of("alert") == []
    assert world.detail(pump.unit, anna.api)["open_alerts"] == []


def test_the_product_and_the_api_give_the_same_answers(street: Street) -> None:
    for product, home in ((street.pump, street.anna), (street.other, street.bert)):
        device = product.device
        eventually(partial(device.entitled, "remote_control"), "the entitlements at the product")
        decisions = street.world.detail(product.unit, home.api)["entitlements"]
        assert {d["feature"] for d in decisions} >= {
            "telemetry",
            "predictive_care",
            "local_control",
        }
        for decision in decisions:
            name = decision["feature"]
            grant = device.why(name)
            assert device.entitled(name) is decision["allowed"], name
            assert (grant.code, grant.safe) == (decision["code"], decision["safe"]), name
            told = {"value"} if type(decision["value"]) is int else set()  # of a quota
            assert set(grant.arguments) == {*decision["args"], *told}, name
            if decision["allowed"] and decision["until"] is not None:
                until = time_ns(decision["until"])
                assert until is not None
                assert grant.until is not None
                assert grant.until >= until // 1_000_000_000, name
            path = f"/products/{product.unit.id}/entitlements/{name}"
            explained = home.api.call("GET", path)
            assert explained["decision"] == decision
            assert [s["rule"] for s in explained["steps"] if s["decided"]] == [decision["rule"]]
        assert device.entitled("local_control")
        assert not device.entitled("predictive_care")
        assert device.why("predictive_care").code == "not_in_plan"
        assert device.why("no_such_feature").code == "unknown_feature"


def test_rows_are_stored_once_whatever_the_connection_does(street: Street) -> None:
    pump = street.pump
    before, connects = street.world.disk.count(pump.unit.id), pump.device.counters.connects
    start = time.time_ns()
    for number in range(600):
        pump.device.measure("hot_water_temp_c", number / 16, start + number)
        if number % 200 == 100:
            pump.device.sync()  # these are on their way when the connection breaks
            with RawDevice(pump.unit):  # the broker gives the place to the newcomer
                pass
    assert pump.device.flush(PATIENCE_S)
    assert pump.device.counters.connects > connects
    rows = list(street.anna.api.rows(pump.unit.id, "hot_water_temp_c"))
    assert rows == [Row(start + number, number / 16) for number in range(600)]
    assert street.world.disk.count(pump.unit.id) == before + 600


def test_the_same_pack_three_times_is_stored_once(world: World, anna: Home) -> None:
    unit = world.sold(anna)
    world.enrol(unit)
    stream, values = b"thrice..", [1.0, 2.0, 3.0]
    data = pack(stream, 0, values)
    with RawDevice(unit) as device:
        for _ in range(3):
            device.send("t", data)
        device.send("t", pack(stream, 2, [30.0, 4.0]))  # overlaps: seq 2 is settled already
        eventually(lambda: device.watermark(stream) == 4, "the receipt")
    assert [row.value for row in world.vendor.rows(unit.id, "temp_c")] == [1.0, 2.0, 3.0, 4.0]
    assert world.disk.count(unit.id) == 4


def test_ingest_killed_in_mid_stream_loses_nothing(street: Street) -> None:
    pump, world = street.pump, street.world
    before, settled = world.disk.count(pump.unit.id), pump.device.counters.rows_settled
    start, stop = time.time_ns(), threading.Event()
    measured: list[int] = []

    def measure() -> None:
        while not stop.is_set():
            pump.device.measure("indoor_temp_c", len(measured) % 400 / 10, start + len(measured))
            measured.append(len(measured))
            time.sleep(0.000_2)

    feeder = threading.Thread(target=measure)
    feeder.start()
    try:
        eventually(lambda: pump.device.counters.rows_settled > settled + 100, "receipts")
        pid = world.role_pid("ingest-0")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        receipted = pump.device.counters.rows_settled
        eventually(lambda: world.role_pid("ingest-0") not in {None, pid}, "another ingest process")
        eventually(lambda: pump.device.counters.rows_settled > receipted + 100, "receipts again")
    finally:
        stop.set()
        feeder.join()
    assert pump.device.flush(PATIENCE_S)
    rows = list(street.anna.api.rows(pump.unit.id, "indoor_temp_c"))
    assert Counter(row.time_ns - start for row in rows) == Counter(measured)
    assert [row.value for row in rows] == [number % 400 / 10 for number in measured]
    assert world.disk.count(pump.unit.id) == before + len(measured)


def test_a_lapsed_subscription_hides_and_its_renewal_shows(world: World, anna: Home) -> None:
    unit = world.make()
    anna.api.call("POST", "/claims", {"claim_code": unit.made.claim_code})
    world.subscribe(anna, unit, "essential", -60 * DAY_NS, -30 * DAY_NS)  # 14 days of grace
    with world.open(unit) as device:
        eventually(lambda: device.why("telemetry").code == "lapsed", "the lapse at the product")
        assert device.entitled("frost_protection")
        device.measure("temp_c", 55.5)
        assert device.flush(PATIENCE_S)  # a lapse is never a reject
        (row,) = world.disk.journalled(unit.id)
        assert row.flags >> REASON_SHIFT & 7 == QuarantineReason.LAPSED
        assert list(anna.api.rows(unit.id, "temp_c")) == []
        assert world.detail(unit, anna.api)["latest"] == []
        assert [r.value for r in world.support.rows(unit.id, "temp_c")] == [55.5]
        decision = anna.api.call("GET", f"/products/{unit.id}/entitlements/telemetry")["decision"]
        assert (decision["allowed"], decision["code"]) == (False, "lapsed")

        world.subscribe(anna, unit, "essential", 0, 30 * DAY_NS)
        assert [r.value for r in anna.api.rows(unit.id, "temp_c")] == [55.5]
        assert [v["value"] for v in world.detail(unit, anna.api)["latest"]] == [55.5]
        eventually(lambda: device.entitled("telemetry"), "the renewal at the product")
        assert world.dead_letters(unit.id) == []


def test_a_strangers_product_does_not_exist(street: Street) -> None:
    pump, world, bert = street.pump, street.world, street.bert
    pump.device.measure("flow_temp_c", 88.0)  # beyond its limit
    assert pump.device.flush(PATIENCE_S)

    def alert_id() -> str | None:
        alerts = street.anna.api.call("GET", "/alerts", device_id=pump.unit.id, status="open")
        return next((str(a["id"]) for a in alerts["items"]), None)

    alert = eventually(alert_id, "an alert")
    calls: list[tuple[str, str, Any]] = [
        ("POST", f"/alerts/{alert}/acknowledge", None),
        ("POST", f"/alerts/{alert}/resolve", None),
    ]
    for named in (pump.unit.id, pump.unit.made.product_id):
        at = f"/products/{named}"
        calls += [
            ("GET", at, None),
            ("GET", f"{at}/entitlements/telemetry", None),
            ("GET", f"{at}/telemetry", {"metric": "temp_c"}),
            ("GET", f"{at}/telemetry", {"metric": "temp_c", "step": "1h", "format": "csv"}),
            ("PATCH", f"{at}/configuration", {"values": {"target_c": 5}}),
            ("PUT", f"{at}/configuration", {"values": {}}),
            ("POST", f"{at}/commands", {"name": "restart"}),
            ("DELETE", f"/claims/{named}", None),
            ("GET", "/alerts", {"device_id": named}),
            ("GET", "/findings", {"device_id": named}),
        ]
    restarts, configurations = len(pump.restarts), len(pump.configurations)
    answers = [(method, path, *_refusal(bert, method, path, body)) for method, path, body in calls]
    assert [answer for answer in answers if answer[2] != 404] == []
    # Word for word what is said of a product that nobody has.
    nobody = "zzzzzzzzzzzzzzzz"
    theirs = _refusal(bert, "GET", f"/products/{pump.unit.id}")[1]
    product_id = pump.unit.made.product_id
    assert _refusal(bert, "GET", f"/products/{nobody}")[1] == (
        theirs.replace(pump.unit.id, nobody).replace(product_id, nobody)
    )
    # What only staff may do is refused to owner and stranger alike.
    for home in (street.anna, bert):
        assert _refusal(home, "POST", f"/products/{pump.unit.id}/revoke", {"reason": "x"})[0] == 403
        notice = {"code": "service.due"}
        assert _refusal(home, "POST", f"/products/{pump.unit.id}/notices", notice)[0] == 403
        assert _refusal(home, "GET", "/deadletters")[0] == 403
    listed = [item["device_id"] for item in bert.api.pages("/products")]
    assert street.other.unit.id in listed
    assert pump.unit.id not in listed
    assert bert.api.call("GET", "/products", q=pump.unit.made.serial)["items"] == []
    assert all(a["device_id"] != pump.unit.id for a in bert.api.pages("/alerts"))
    assert (len(pump.restarts), len(pump.configurations)) == (restarts, configurations)
    assert world.detail(pump.unit)["owner"]["owner_id"] == street.anna.who.owner_id


def _refusal(
    home: Home, method: str, path: str, facts: dict[str, Any] | None = None
) -> tuple[int, str]:
    """Status and sentence of a call that must not succeed; (200, "") if it did."""
    try:
        if method == "GET":
            home.api.call(method, path, **(facts or {}))
        else:
            home.api.call(method, path, facts)
    except HubAnswerError as error:
        return error.status, error.detail
    return 200, ""
