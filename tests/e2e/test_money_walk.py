"""A year of one household over HTTP, MQTT and a browser: from the first order to being erased.

Time moves by `clock advance`; people click, and what they see is what the pages say.
"""

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from typer.testing import CliRunner

from firmware_sim import onboarding
from firmware_sim.local_hub import LocalHub
from hub.wiring.cli import app
from tests.e2e import canary
from tests.e2e.world import PATIENCE_S, Home, Unit, World, eventually
from tests.web.browsing import CHROMIUM, WITHOUT, required, sign_in, surfing
from tests.web.showcase import PASSWORD

pytestmark = pytest.mark.hub

MODEL = "tap"


def version(litres: int, price: str) -> dict[str, Any]:
    features = {"telemetry": {}, "hot_water": {"value": litres}}
    terms = {"price": {"EUR": price}, "tax": "standard", "grace_days": 7, "cancel_refund": "unused"}
    return {"version": 1, "features": features, **terms}


CATALOGUE: dict[str, Any] = {
    "models": {
        MODEL: {
            "possession": "label",
            "metrics": [{"name": "volume_l", "unit": "L", "kind": "counter"}],
            "meters": {
                "water": {"metric": "volume_l", "aggregation": "increase", "decimals": 1},
            },
            "features": {
                "telemetry": {},
                "hot_water": {
                    "title": "Hot water",
                    "kind": "metered",
                    "unit": "L",
                    "meter": "water",
                },
            },
        }
    },
    "taxes": {"DE": {"title": "MwSt.", "rates": {"standard": "19"}}},
    "plans": {
        "small": {"title": "Small", "versions": [version(10, "5.00")]},
        "large": {"title": "Large", "versions": [version(99, "20.00")]},
    },
}


@dataclass
class Walk:
    """One person, one product, a browser and a clock."""

    world: World
    home: Home
    unit: Unit
    page: Page

    @property
    def plan(self) -> str:
        return f"/products/{self.unit.made.product_id}/plan"

    def clicks(self, name: str, then: str) -> str:
        """Click twice from the page of the plan; returns what was shown in between."""
        self.page.goto(self.plan)
        self.page.get_by_role("button", name=name, exact=True).click()
        said = self.page.locator("main").inner_text()
        self.page.get_by_role("button", name=then, exact=True).click()
        self.page.wait_for_url(f"**{self.plan}")
        return said

    def sees(self, *texts: str) -> None:
        """Wait until the page of the plan, which refreshes itself while a payment is on its way, says so."""
        for text in texts:
            expect(self.page.locator("#present")).to_contain_text(text, timeout=PATIENCE_S * 1_000)

    def pays_by(self, method: str) -> None:
        path = f"/owners/{self.home.who.owner_id}/billing-account/method"
        self.world.vendor.call("PUT", path, {"method": method})

    def later(self, by: str) -> None:
        """Move the clock ahead; whoever was signed in has to do so again, and looks at the plan."""
        self.page.goto("about:blank")  # a page that refreshes itself would cross our own way
        done = CliRunner().invoke(app, ["clock", "advance", by, "--data", str(self.world.data_dir)])
        assert done.exit_code == 0, done.output
        sign_in(self.page, self.home.who.email)
        self.page.goto(self.plan)


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    if CHROMIUM is None:
        if required():
            pytest.fail(WITHOUT)
        pytest.skip(WITHOUT)
    folder = tmp_path_factory.mktemp("money")
    hub = LocalHub(folder / "hub", {"DEMO": "true", "BILLING__LOCAL_METHOD": "local:ok"})
    try:
        address = hub.start()
        world = World(folder / "hub", folder)
        world.vendor.call("POST", "/catalogue", CATALOGUE)
        home = world.home("anna")
        words = {"old": home.who.password, "new": PASSWORD}
        home.api.call("PUT", "/me/password", words)
        made = onboarding.make(world.vendor, MODEL, "TAP-1")
        with onboarding.sign_in(address, home.who.email, PASSWORD) as api:
            onboarding.claim(api, made)
        with surfing(address.api) as surfer, surfer.window() as page:
            sign_in(page, home.who.email)
            yield Walk(world, home, Unit(made, folder / "tap"), page)
            assert surfer.errors == []
            assert surfer.abroad == []
        home.api.close()
        world.close()
    finally:
        hub.stop()


def test_from_the_first_order_to_being_erased(walk: Walk) -> None:
    with walk.world.open(walk.unit) as device:
        # Buy
        said = walk.clicks("Choose this plan Small", "Order and pay")
        assert "To be paid now" in said
        assert "€5.00" in said
        walk.sees("Small", "Active", "for €5.00")
        eventually(lambda: device.entitled("hot_water"), "the plan at the product")
        # Use
        for litres in (100.0, 104.5, 108.0):
            device.measure("volume_l", litres)
        assert device.flush(PATIENCE_S)
        usage = f"/products/{walk.unit.made.product_id}/usage"

        def used(text: str) -> bool:
            walk.page.goto(usage)
            return text in walk.page.locator("main").inner_text().replace("\u00a0", " ")

        eventually(lambda: used("8 l of 10 l"), "the usage on the page")
        # Exceed
        device.measure("volume_l", 111.0)
        assert device.flush(PATIENCE_S)
        eventually(lambda: not device.entitled("hot_water"), "the closed feature")
        eventually(lambda: used("Used up"), "the used-up quota on the page")
        # Upgrade
        said = walk.clicks("Change now Large", "Change the plan now")
        assert "To be paid now" in said
        walk.sees("Large", "Active", "for €20.00")
        eventually(lambda: device.entitled("hot_water"), "the better plan at the product")
    pays_late(walk)
    changes_down_and_leaves(walk)
    takes_everything_along(walk)
    is_erased(walk)


def pays_late(walk: Walk) -> None:
    """The renewal fails, is tried again in vain, grace runs; then it is paid."""
    walk.pays_by("local:declines")
    walk.later("32d")
    walk.sees("Payment is being collected", "The payment failed and is tried again.")
    walk.later("8d")
    walk.sees("Payment due", "It is not paid.")
    walk.pays_by("local:ok")
    walk.page.goto(walk.plan)
    walk.sees("Active", "for €20.00")


def changes_down_and_leaves(walk: Walk) -> None:
    """A downgrade at the end of the period, a cancellation that is undone, an end, and a withdrawal."""
    assert "Nothing is to be paid now." in walk.clicks(
        "Change at the end of the period Small", "Change it then"
    )
    walk.sees("it changes to Small")
    walk.later("32d")
    walk.sees("Small", "Active", "for €5.00")
    said = walk.clicks("Cancel the plan", "Cancel it")
    assert "Nothing more is billed." in said
    walk.sees("Cancelled")
    walk.clicks("Keep the plan after all", "Keep the plan")
    walk.sees("Active")
    assert "Given back" in walk.clicks("End the plan at once", "End it at once")
    walk.sees("No plan")
    walk.clicks("Choose this plan Small", "Order and pay")
    walk.sees("Active")
    said = walk.clicks("Withdraw from the contract", "Withdraw now")
    assert "Given back" in said
    walk.sees("No plan")


def takes_everything_along(walk: Walk) -> None:
    """The bills are listed, one is readable, and all of it is in the archive."""
    page = walk.page
    page.goto("/bills")
    page.locator("#invoices a").last.click()
    expect(page.locator("main")).to_contain_text("MwSt.")
    expect(page.locator("main")).to_contain_text("Small")
    page.goto("/my-data")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download everything").click()
    archive = zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes()))
    names = archive.namelist()
    assert any(name.endswith("invoices.json") for name in names)
    assert any(name.endswith(".parquet") for name in names)


def is_erased(walk: Walk) -> None:
    """What would go is shown, the password is asked for, and nobody can sign in any more.

    No file of the hub has a word or a number of theirs when the hub says that it is done.
    """
    page, world, who = walk.page, walk.world, walk.home.who
    with (
        onboarding.sign_in(world.address, who.email, PASSWORD) as home,
        world.open(walk.unit) as device,
    ):
        person_id = home.call("GET", "/me")["person_id"]
        canary.plant(world.vendor, home, who.owner_id, device)
    assert any("journal" in place for place in canary.left(world.data_dir))
    page.goto("/my-data/erase")
    expect(page.locator("main")).to_contain_text("TAP-1")
    page.fill("input[name=password]", PASSWORD)
    page.get_by_role("button", name="Erase everything").click()
    expect(page.locator("h1")).to_have_text("You have been erased")
    page.goto("/sign-in")
    page.fill("input[name=email]", walk.home.who.email)
    page.fill("input[name=password]", PASSWORD)
    page.click("main button[type=submit]")
    expect(page.locator("#refused")).to_be_visible()
    erasures = world.data_dir / "erasures.json"
    eventually(erasures.exists, "the list of erasures")
    (erasure_id,) = (
        one["id"] for one in json.loads(erasures.read_text()) if one["person_id"] == person_id
    )

    def finished() -> object:
        later = ["clock", "advance", "10m", "--data", str(world.data_dir)]
        assert CliRunner().invoke(app, later).exit_code == 0
        return world.vendor.call("GET", f"/erasures/{erasure_id}")["finished_at"]

    eventually(finished, "the end of the erasure")
    assert canary.left(world.data_dir) == []
