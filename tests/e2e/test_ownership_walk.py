"""A product's life in two homes, over real HTTP and MQTT: bought, claimed, used, sold.

The old owner sees nothing new, the buyer none of the past, and nothing that the old owner asked of
the product happens any more.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from device_sdk.client import Device
from firmware_sim import onboarding
from firmware_sim.hub_client import HubAnswerError
from tests.e2e.world import PATIENCE_S, Home, Unit, World, eventually, hearing

pytestmark = pytest.mark.hub

CATALOGUE: dict[str, Any] = {
    "models": {
        "sauna": {
            "metrics": [{"name": "temp_c", "unit": "Cel"}],
            "features": {"telemetry": {"default": True}, "frost_protection": {"safe": True}},
        }
    }
}


@dataclass
class Sauna:
    """A product with a button, and what it was told."""

    unit: Unit
    device: Device
    heated: list[Mapping[str, Any]] = field(default_factory=list)
    configurations: list[Mapping[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.device.on_command("heat", self._heat)
        self.device.on_configuration(self._configure)
        assert self.device.wait_connected(PATIENCE_S)

    def _heat(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        self.heated.append(arguments)
        return {}

    def _configure(self, configuration: Mapping[str, Any]) -> None:
        self.configurations.append(dict(configuration))

    def measure(self, value: float) -> int:
        """Measure something, see it stored, and say when it was."""
        at = time.time_ns()
        self.device.measure("temp_c", value, at)
        assert self.device.flush(PATIENCE_S)
        return at

    def epoch(self) -> int:
        state = self.device._engine.trust.state
        return -1 if state is None else state.owner_epoch


@pytest.fixture(scope="module")
def sauna(world: World) -> Iterator[Sauna]:
    world.vendor.call("POST", "/catalogue", CATALOGUE)
    made = onboarding.make(world.vendor, "sauna", f"S-{world._folder.name}")
    unit = Unit(made, world._folder / "sauna")
    with world.open(unit) as device:
        yield Sauna(unit, device)


def refused(
    home: Home, method: str, path: str, body: dict[str, Any] | None = None, **query: str
) -> int:
    with pytest.raises(HubAnswerError) as caught:
        home.api.call(method, path, body, **query)
    return caught.value.status


def values(home: Home, unit: Unit) -> list[float]:
    return [row.value for row in home.api.rows(unit.id, "temp_c")]


def codes(home: Home) -> list[str]:
    return [item["code"] for item in home.api.call("GET", "/letters")["items"]]


def test_a_product_is_bought_claimed_used_and_sold(
    world: World, anna: Home, bert: Home, sauna: Sauna
) -> None:
    bought(world, anna, bert, sauna)
    handed = sold_while_it_is_away(world, anna, bert, sauna)
    each_sees_the_own_time(world, anna, bert, sauna)
    the_old_owner_can_do_nothing(anna, bert, sauna, handed)
    both_have_their_papers(anna, bert, sauna, handed)


def bought(world: World, anna: Home, bert: Home, sauna: Sauna) -> None:
    """The code alone is not enough: whoever claims it must have pressed its button."""
    unit, code = sauna.unit, {"claim_code": sauna.unit.made.claim_code}
    sauna.measure(20.0)  # in the shop
    assert refused(anna, "POST", "/claims", code) == 409
    with hearing(world.support) as events:
        assert sauna.device.open_claim_window(120)
        eventually(lambda: events.of("event"), "the press of the button")
    assert anna.api.call("POST", "/claims", code)["epoch"] == 1
    eventually(lambda: sauna.epoch() == 1, "the first owner's epoch")
    sauna.measure(80.0)
    assert values(anna, unit) == [20.0, 80.0]
    anna.api.call("PATCH", f"/products/{unit.id}/configuration", {"values": {"wifi": "anna"}})
    eventually(lambda: {"wifi": "anna"} in sauna.configurations, "the owner's setting")
    assert refused(bert, "GET", f"/products/{unit.id}/telemetry", metric="temp_c") == 404


def sold_while_it_is_away(world: World, anna: Home, bert: Home, sauna: Sauna) -> dict[str, Any]:
    """Its owner asks it for something, and sells it before it hears of that."""
    unit = sauna.unit
    offer, commands = f"/products/{unit.id}/offer", f"/products/{unit.id}/commands"
    sauna.device.set_network(available=False)
    eventually(lambda: not world.detail(unit)["online"], "the hub to notice that it went")
    expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3_600))
    anna.api.call("POST", commands, {"name": "heat", "expires_at": expires})
    sauna.device.measure("temp_c", 85.0)  # in the old home, told later
    assert refused(anna, "POST", offer, {"email": anna.who.email}) == 409
    offered = anna.api.call("POST", offer, {"email": bert.who.email})
    (seen,) = bert.api.call("GET", "/offers")["offers"]
    assert (seen["id"], seen["mine"], seen["status"]) == (offered["id"], False, "open")
    with hearing(anna.api) as hers, hearing(bert.api) as his:
        handed = bert.api.call("POST", "/offers/accept", {"offer_id": offered["id"]})
        eventually(lambda: hers.of("letter") and his.of("letter"), "letters to both")
        assert [one["code"] for one in hers.of("letter")] == ["transfer.handed_over"]
        assert "transfer.taken_over" in [one["code"] for one in his.of("letter")]
        sauna.device.set_network(available=True)
        assert sauna.device.wait_connected(PATIENCE_S)
        eventually(lambda: sauna.epoch() == 2, "the buyer's epoch")
        assert sauna.device.flush(PATIENCE_S)
        sauna.measure(90.0)
        bert.api.call("POST", commands, {"name": "heat", "arguments": {"to": 1}})
        eventually(lambda: sauna.heated, "the buyer's command")
        about = [name for name, data in hers.heard if data.get("product_id") and name != "letter"]
        assert about == [], "the old owner heard of the product"
    assert sauna.heated == [{"to": 1}]  # what the old owner asked for never came
    assert refused(anna, "POST", "/offers/accept", {"offer_id": offered["id"]}) == 404
    assert refused(bert, "POST", "/offers/accept", {"offer_id": offered["id"]}) == 409
    return dict(handed)


def each_sees_the_own_time(world: World, anna: Home, bert: Home, sauna: Sauna) -> None:
    unit = sauna.unit
    assert values(bert, unit) == [90.0]
    assert values(anna, unit) == [20.0, 80.0, 85.0]
    assert [row.value for row in world.support.rows(unit.id, "temp_c")] == [20.0, 80.0, 85.0, 90.0]
    query = {"metric": "temp_c", "step": "1h"}
    for home, count in ((bert, 1), (anna, 3)):
        buckets = home.api.call("GET", f"/products/{unit.id}/telemetry", **query)
        assert sum(buckets["count"]) == count
    found = world.detail(unit, bert.api)
    assert {item["metric"]: item["value"] for item in found["latest"]} == {"temp_c": 90.0}
    assert (found["device"] or {})["configuration"] == {}
    assert sauna.configurations[-1] == {}


def the_old_owner_can_do_nothing(
    anna: Home, bert: Home, sauna: Sauna, handed: dict[str, Any]
) -> None:
    unit = sauna.unit
    former = anna.api.call("GET", "/former-products")["products"]
    assert (handed["product_id"], unit.id) in [(o["product_id"], o["device_id"]) for o in former]
    former = bert.api.call("GET", "/former-products")["products"]
    assert handed["product_id"] not in [one["product_id"] for one in former]
    named = f"/products/{unit.id}"
    assert refused(anna, "GET", named) == 404
    assert refused(anna, "POST", f"{named}/commands", {"name": "heat"}) == 404
    assert refused(anna, "PATCH", f"{named}/configuration", {"values": {"wifi": "anna"}}) == 404
    assert refused(anna, "PUT", f"{named}/theft-lock") == 404
    assert refused(anna, "POST", f"{named}/offer", {}) == 404
    assert sauna.heated == [{"to": 1}]


def both_have_their_papers(anna: Home, bert: Home, sauna: Sauna, handed: dict[str, Any]) -> None:
    (given,) = anna.api.call("GET", "/receipts")["receipts"]
    (taken,) = bert.api.call("GET", "/receipts")["receipts"]
    assert (given["what"], taken["what"]) == ("handed_over", "taken_over")
    assert taken["id"] == handed["receipt_id"]
    assert refused(anna, "GET", f"/receipts/{taken['id']}") == 404
    shown = bert.api.call("GET", f"/certificates/{handed['certificate_link']}")
    assert shown["document"]["product"]["serial"] == sauna.unit.made.serial
    assert shown["changed_hands"] is False


def test_a_reset_tells_the_owner_and_releases_only_what_was_prepared(
    world: World, bert: Home, sauna: Sauna
) -> None:
    unit = sauna.unit
    sauna.device.tell_factory_reset()
    eventually(lambda: "product.reset" in codes(bert), "the letter about the reset")
    assert world.detail(unit, bert.api)["owner"]["owner_id"] == bert.who.owner_id
    bert.api.call("PUT", f"/products/{unit.id}/hand-over", {"days": 1})
    sauna.device.tell_factory_reset()
    eventually(lambda: "product.reset_released" in codes(bert), "the letter about the release")
    assert refused(bert, "GET", f"/products/{unit.id}") == 404
    eventually(lambda: sauna.epoch() == 0, "that it is nobody's")
