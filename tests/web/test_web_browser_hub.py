"""The pages in a real browser, over a real hub with products that are connected."""

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from tests.conftest import reach, start_hub, stop_hub
from tests.web import screenshots
from tests.web.browsing import CHROMIUM, WITHOUT, Surfer, required, sign_in, surfing, wait_for_chart
from tests.web.showcase import (
    BUTTON,
    DENSE,
    FAILING,
    FRESH,
    HELD,
    SAMPLES,
    SOLD,
    Showcase,
    opened,
    readings,
    until,
)

pytestmark = pytest.mark.hub

AXE = (Path(__file__).parent / "vendor" / "axe-4.14.1.min.js").read_text()
PAGES = (
    "sign-in",
    "home",
    "home-fine",
    "home-lapsed",
    "home-empty",
    "product",
    "usage",
    "compare",
    "plan",
    "bills",
    "my-data",
    "erase",
    "claim",
    "hand-overs",
    "hand-overs-offered",
    "hand-over",
    "former",
    "looks",
    "household",
    "household-invited",
    "partners",
    "partner",
    "partner-product",
    "case",
    "support-case",
    "account",
    "password",
    "lookup",
    "causes",
    "cases",
    "disputes",
    "support-product",
    "support-held",
    "nothing",
)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Showcase]:
    if CHROMIUM is None:
        if required():
            pytest.fail(WITHOUT)
        pytest.skip(WITHOUT)
    folder = tmp_path_factory.mktemp("pages")
    process = start_hub(folder / "data")
    hub = reach(folder / "data", process)
    try:
        with opened(hub, folder / "devices") as case:
            yield case
    finally:
        hub.client.close()
        stop_hub(process)


@pytest.fixture(scope="module")
def surfer(case: Showcase) -> Iterator[Surfer]:
    with surfing(case.hub.api_url) as surfer:
        yield surfer


@pytest.fixture
def page(surfer: Surfer) -> Iterator[Page]:
    with surfer.window() as page:
        yield page
    assert surfer.abroad == []
    assert surfer.errors == []


def visit(case: Showcase, surfer: Surfer, page: Page, name: str) -> None:
    email, address = screenshots.pages(case)[name]
    if email:
        surfer.enter(page, email)
    page.goto(address)
    if page.query_selector("[data-chart]"):
        wait_for_chart(page)


def is_drawn(page: Page) -> bool:
    """Say whether the chart has pixels of any colour."""
    script = """() => {
        const canvas = document.querySelector(".uplot canvas");
        const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        return data.some((value) => value > 0);
    }"""
    return bool(page.evaluate(script))


def test_a_customer_from_problem_to_solution(case: Showcase, page: Page) -> None:
    sign_in(page, "ada@example.org")
    expect(page.locator("h1")).to_contain_text("Flow temperature")
    page.click(".hero .button")
    expect(page.locator(".banner .say")).to_contain_text("above its limit of 70")
    assert page.input_value("[name=metric]") == "flow_temp_c"
    assert wait_for_chart(page) > 100
    assert is_drawn(page)
    expect(page.locator("[data-marks] li").first).to_contain_text("Flow temperature")
    page.click("summary:has-text('Show as a table')")
    expect(page.locator("[data-rows] tr").first).to_be_visible()
    page.click("#alerts li:first-child button:has-text('I look after it')")
    expect(page.locator("#alerts")).to_contain_text("Somebody looks after it")


def test_a_hundred_thousand_samples_and_zooming(case: Showcase, surfer: Surfer, page: Page) -> None:
    surfer.enter(page, "ada@example.org")
    page.goto(f"/products/{case.units[DENSE].product_id}?range=7d")
    points = wait_for_chart(page)
    assert 50 < points <= 2_000
    told = page.inner_text("[data-sentence]")
    assert f"{SAMPLES:,} values" in told
    page.locator("[data-plot]").scroll_into_view_if_needed()
    plot = page.locator(".u-over").bounding_box()
    assert plot is not None
    middle = plot["y"] + plot["height"] / 2
    page.mouse.move(plot["x"] + plot["width"] * 0.9, middle)
    page.mouse.down()
    page.mouse.move(plot["x"] + plot["width"] * 0.96, middle, steps=4)
    page.mouse.up()
    expect(page.locator("[data-sentence]")).not_to_have_text(told)
    zoomed = page.inner_text("[data-sentence]")
    page.locator("[data-move=in]").focus()
    page.keyboard.press("Enter")
    expect(page.locator("[data-sentence]")).not_to_have_text(zoomed)
    page.click("[data-move=now]")
    expect(page.locator("[data-sentence]")).to_contain_text(f"{SAMPLES:,} values")
    page.check("input[name=range][value='1h']", force=True)
    expect(page.locator("[data-sentence]")).not_to_contain_text(f"{SAMPLES:,} values")


def test_values_alerts_and_connection_are_live(case: Showcase, surfer: Surfer, page: Page) -> None:
    unit = case.units["HP-2026-0002"]
    assert unit.device is not None
    surfer.enter(page, "ben@example.org")
    page.goto("/")
    page.goto(f"/products/{unit.product_id}")
    wait_for_chart(page)
    page.evaluate("window.untouched = true")
    at = time.time_ns()
    # What is usual at this hour: another value would rightly be noticed.
    usual = readings(at, random.Random(3))["room_temp_c"]  # noqa: S311  the same in every run
    unit.device.measure_many({"room_temp_c": usual}, at_ns=at)
    expect(page.locator("#now")).to_contain_text(f"Room temperature{usual:.3g} °C")
    expect(page.locator("#status")).to_contain_text("Everything is fine.")
    unit.device.measure_many({"vibration_mm_s": 19.0}, at_ns=time.time_ns())
    expect(page.locator("#status")).to_contain_text("Vibration is 19", timeout=30_000)
    expect(page.locator("#alerts")).to_contain_text("Vibration is 19")
    expect(page.locator("#status .pill")).to_have_text("Connected")
    unit.device.close()
    unit.device = None
    expect(page.locator("#status .pill")).to_have_text("Offline", timeout=30_000)
    assert page.evaluate("window.untouched") is True


def test_home_is_live(case: Showcase, surfer: Surfer, page: Page) -> None:
    unit = case.units["KA-11-0043"]
    assert unit.device is not None
    surfer.enter(page, "ben@example.org")
    page.goto("/")
    pill = page.locator(".tile", has_text=unit.serial).locator(".pill")
    expect(pill).to_have_text("Connected")
    # Something happened that the page does not show: no part of it is replaced, nor read out again.
    page.evaluate("""() => {
        window.part = document.querySelector("#status");
        window.said = part.outerHTML;
        window.asked = 0;
        document.body.addEventListener("htmx:afterRequest", () => { window.asked += 1; });
    }""")
    for count in (1, 2):
        unit.device.event("lid_opened", {})
        page.wait_for_function("count => window.asked >= count", arg=count)
    stayed = "part === document.querySelector('#status')"
    assert page.evaluate(f"({stayed}) === (said === document.querySelector('#status').outerHTML)")
    # What happens before it listens is not missed.
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/live?*", hold, times=1)
    with page.expect_request("**/live?*"):
        page.goto("/")
    expect(pill).to_have_text("Connected")
    unit.device.close()
    unit.device = None
    path = f"/products/{unit.product_id}"
    until(lambda: not case.call("GET", path)["online"], "the hub thinks that it is connected")
    expect(pill).to_have_text("Connected")
    held[0].continue_()
    expect(pill).to_have_text("Offline", timeout=30_000)


def test_claiming_a_product(case: Showcase, surfer: Surfer, page: Page) -> None:
    unit = case.units[FRESH]
    surfer.enter(page, "dora@example.org")
    page.goto("/")
    page.click("text=Claim a product")
    page.fill("[name=serial]", unit.serial)
    page.fill("[name=code]", "AAAA-BBBB-CCCC")
    page.click("main button")
    expect(page.get_by_role("alert")).to_contain_text("do not fit any product")
    assert page.input_value("[name=serial]") == unit.serial
    page.fill("[name=code]", unit.claim_code)
    page.click("main button")
    expect(page.get_by_role("status")).to_contain_text("It is yours now.")
    expect(page.locator("#connection")).to_contain_text("Is it switched on?")


def test_claiming_with_the_button_of_the_product(
    case: Showcase, surfer: Surfer, page: Page
) -> None:
    unit = case.units[BUTTON]
    surfer.enter(page, "dora@example.org")
    page.goto("/claim")
    page.fill("[name=serial]", unit.serial)
    page.fill("[name=code]", unit.claim_code)
    page.click("main button")
    expect(page.locator("h1")).to_have_text("Press its button")
    expect(page.locator(".countdown")).to_contain_text(":")
    device = case.switch_on(unit)
    device.event("claim_window", {})
    expect(page.get_by_role("status")).to_contain_text("It is yours now.", timeout=30_000)


def test_a_product_goes_from_one_person_to_another(
    case: Showcase, surfer: Surfer, page: Page
) -> None:
    unit = case.units["KA-11-0043"]
    surfer.enter(page, "ben@example.org")
    page.goto(f"/products/{unit.product_id}")
    page.click("text=Hand it over to somebody")
    expect(page.locator("main")).to_contain_text("What does not pass on")
    page.click("button:has-text('Offer it')")
    code = page.inner_text(".secret")
    assert code.startswith("hpt_")
    with surfer.window() as other:
        surfer.enter(other, "cleo@example.org")
        other.goto("/hand-overs")
        other.fill("[name=code]", code)
        other.click("button:has-text('Take it over')")
        expect(other.get_by_role("status")).to_contain_text("It is yours now.")
    page.goto("/hand-overs")
    expect(page.locator("main")).to_contain_text(f"You handed {unit.serial} over.")
    page.click("text=Charger Kai 11")
    expect(page.locator(".welcome")).to_contain_text("nothing newer")
    wait_for_chart(page)


def test_somebody_joins_a_household(case: Showcase, surfer: Surfer, page: Page) -> None:
    surfer.enter(page, "cleo@example.org")
    page.goto("/household")
    page.check("input[value=viewer]")
    page.click("main button:has-text('Invite')")
    code = page.inner_text(".secret")
    with surfer.window() as other:
        surfer.enter(other, "ben@example.org")
        other.goto("/household")
        other.fill("[name=code]", code)
        other.click("button:has-text('Join')")
        other.click(".nav a:has-text('Cleo')")
        expect(other.locator("#people")).to_contain_text("Viewer")
    page.goto("/household")
    page.click("#people li:has-text('Ben') summary")
    page.click("#people li:has-text('Ben') button:has-text('Take out')")
    expect(page.locator("#people")).not_to_contain_text("Ben Winter")


def test_a_household_consents_for_a_time(case: Showcase, surfer: Surfer, page: Page) -> None:
    unit = case.units["HP-2026-0002"]
    surfer.enter(page, "ben@example.org")
    page.goto(f"/products/{unit.product_id}")
    page.click("text=Who looked at it")
    expect(page.locator("#consent")).to_contain_text("At present support does not see")
    page.fill("[name=days]", "3")
    page.click("button:has-text('Let support see it')")
    expect(page.locator("#consent")).to_contain_text("Support may see what was measured")
    with surfer.window() as other:
        surfer.enter(other, "sam@example.org")
        other.goto(f"/support/products/{unit.product_id}")
        other.fill("[name=reason]", "Asked for a look at the noise")
        other.click("main button")
        wait_for_chart(other)
    page.reload()
    expect(page.locator("#looks")).to_contain_text("Asked for a look at the noise")
    page.click("#consent button:has-text('Withdraw')")
    expect(page.locator("#consent")).to_contain_text("At present support does not see")


def test_a_passkey_is_made_and_used_instead_of_a_password(
    case: Showcase, surfer: Surfer, page: Page
) -> None:
    surfer.enter(page, "dora@example.org")
    page.goto("/account")  # by its address, to which no passkeys belong
    expect(page.locator("[data-elsewhere]")).to_contain_text("localhost")
    named = Surfer(surfer.browser, f"https://localhost:{urlsplit(case.hub.api_url).port}")
    with named.window() as window:
        authenticator(window)
        sign_in(window, "dora@example.org")
        window.goto("/account")
        window.click("button:has-text('Make a passkey')")
        expect(window.locator("#passkeys li")).to_contain_text("My device")
        window.click("summary:has-text('Dora')")
        window.click("button:has-text('Sign out')")
        window.click("button:has-text('Sign in with a passkey')")
        window.wait_for_url("**/")
        window.goto("/account")
        expect(window.locator("#sessions")).to_contain_text("Passkey")
        expect(window.locator("#passkeys li")).to_contain_text("Last used")
        window.click("#passkeys button:has-text('Remove')")
        expect(window.locator("#passkeys li")).to_have_count(0)
        window.click("summary:has-text('Dora')")
        window.click("button:has-text('Sign out')")
        window.click("button:has-text('Sign in with a passkey')")
        expect(window.get_by_role("alert")).to_contain_text("That did not work")
    assert (named.errors, named.abroad) == ([], [])


def authenticator(page: Page) -> None:
    """Give the browser a finger to sign in with."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def test_support_looks_without_consent_in_an_emergency(
    case: Showcase, surfer: Surfer, page: Page
) -> None:
    product = case.units[HELD].product_id
    surfer.enter(page, "sam@example.org")
    page.goto(f"/support/products/{product}")
    page.click("summary:has-text('In an emergency')")
    page.fill("#now [name=reason]", "Gas alarm, nobody answers")
    page.click("button:has-text('Look without consent')")
    expect(page.locator("#emergency")).to_contain_text("The owner was told")
    wait_for_chart(page)
    with surfer.window() as other:
        surfer.enter(other, "cleo@example.org")
        other.goto(f"/products/{product}/looks")
        expect(other.locator("#emergencies")).to_contain_text("Gas alarm, nobody answers")


def test_a_household_lets_a_partner_in_and_ends_it(
    case: Showcase, surfer: Surfer, page: Page
) -> None:
    surfer.enter(page, "cleo@example.org")
    page.goto("/household")
    page.click("text=Partners, such as")
    page.fill("[name=partner]", "Heating Huber")
    page.check("[name=may-history]")
    page.fill("[name=reason]", "Repair")
    page.click("button:has-text('Let them in')")
    expect(page.locator("#grants")).to_contain_text("Heating Huber")
    with surfer.window() as other:
        surfer.enter(other, "hans@example.org")
        other.goto("/")
        other.click(f"#products li:has-text('{HELD}') a")
        expect(other.locator("h1")).to_contain_text("Heat pump")
        page.click("button:has-text('End now')")
        expect(page.locator("#grants")).not_to_contain_text("Heating Huber")
        other.reload()
        expect(other.locator("h1")).not_to_contain_text("Heat pump")


def test_a_case_is_answered(case: Showcase, surfer: Surfer, page: Page) -> None:
    surfer.enter(page, "sam@example.org")
    page.goto("/support/cases")
    page.click("text=It runs hot and is loud")
    expect(page.locator("#steps")).to_contain_text("Which room is it in?")
    page.click("button:has-text('I look after it')")
    page.fill("[name=message]", "Never mind, we see it.")
    page.click("button:has-text('Send')")
    expect(page.locator("#steps")).to_contain_text("Never mind, we see it.")


def test_a_case_is_solved_goes_on_and_is_closed(case: Showcase, surfer: Surfer, page: Page) -> None:
    surfer.enter(page, "sam@example.org")
    page.goto(f"/cases/{case.cases[1]}")
    solve = page.locator("button:has-text('Send as the solution')")
    page.fill("[name=message]", "Is its light on?")
    page.click("button:has-text('Send, and wait for an answer')")
    expect(page.locator(".pill")).to_have_text("waits for the customer")
    page.click("button:has-text('Stop waiting')")
    expect(page.locator("#steps")).to_contain_text("Support goes on")
    solve.click()  # without words
    expect(page.get_by_role("alert")).to_contain_text("Write something first")
    page.fill("[name=message]", "The network is back.")
    solve.click()
    expect(page.locator(".pill")).to_have_text("solved")
    with surfer.window() as other:
        surfer.enter(other, "ada@example.org")
        other.goto(f"/cases/{case.cases[1]}")
        expect(other.locator("#steps")).to_contain_text("The network is back.")
        other.fill("[name=message]", "It is offline again.")
        other.click("button:has-text('Send')")
        expect(other.locator(".pill")).not_to_have_text("solved")
        page.reload()
        expect(page.locator("#steps")).to_contain_text("It is offline again.")
        page.get_by_role("button", name="Close", exact=True).click()
        expect(page.locator("main")).to_contain_text("This case is closed.")
        other.fill("[name=message]", "One more thing.")
        other.click("button:has-text('Send')")
        expect(other.get_by_role("alert")).to_contain_text("not possible any more")


def test_support_sees_what_faulty_products_have_in_common(surfer: Surfer, page: Page) -> None:
    surfer.enter(page, "sam@example.org")
    page.goto("/support")
    causes = page.locator("#causes li")
    expect(causes.first).to_contain_text(
        "Flow temperature has risen to 44.1 °C in all products with firmware 2.4.0."
    )
    expect(causes.nth(1)).to_contain_text("lot C")


def test_language_and_light_are_kept(case: Showcase, page: Page) -> None:
    sign_in(page, "cleo@example.org")
    page.click("footer button:has-text('Deutsch')")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page.locator("h2").first).to_have_text("Meine Geräte")
    expect(page.locator("h1")).to_contain_text("lief am")
    page.click("footer button:has-text('Dunkel')")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.click("nav a >> nth=1")
    expect(page.locator("h1")).to_have_text("Ein Gerät anmelden")
    expect(page.locator("body")).to_have_css("background-color", "rgb(15, 21, 24)")
    page.click("footer button:has-text('English')")
    expect(page.locator("h1")).to_have_text("Claim a product")


def test_support_from_look_up_to_one_screen(case: Showcase, page: Page) -> None:
    sign_in(page, "sam@example.org")
    page.keyboard.type("ada@example.org")
    expect(page.locator(".result")).to_have_count(2)
    page.click(f".result:has-text('{FAILING}') a")
    expect(page.locator(".banner .say")).to_contain_text("above its limit")
    wait_for_chart(page)
    expect(page.locator("#timeline")).to_contain_text("Claimed by Ada Sommer")
    expect(page.locator("#entitlement")).to_contain_text("The product believes the same.")
    page.goto(f"/support/products/{case.units[SOLD].product_id}")
    expect(page.locator("h1")).to_have_text("Why do you look?")
    page.fill("[name=reason]", "Asked for a look at the vibration")
    page.click("main button")
    expect(page.locator("#hidden-history")).to_contain_text("has not consented")
    page.click("summary:has-text('Sam Support')")
    page.click("button:has-text('Sign out')")
    expect(page.locator("h1")).to_have_text("Welcome home")


def test_the_keyboard_reaches_everything(case: Showcase, surfer: Surfer, page: Page) -> None:
    surfer.enter(page, "ada@example.org")
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    focused: Callable[[str], Any] = page.locator(":focus").evaluate
    assert focused("element => element.className") == "button"
    assert focused("element => getComputedStyle(element).outlineStyle") == "solid"


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(case: Showcase, surfer: Surfer, name: str) -> None:
    with surfer.window() as page:
        visit(case, surfer, page, name)
        for opener in page.query_selector_all("main details:not([open]) > summary"):
            opener.click()
        page.evaluate(AXE)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
            said = [
                f"{one['id']}: {node['html'][:160]} ({node.get('failureSummary', '')[:300]})"
                for one in found["violations"]
                for node in one["nodes"][:3]
            ]
            assert said == [], scheme


@pytest.mark.parametrize("name", PAGES)
def test_no_page_is_wider_than_a_phone(case: Showcase, surfer: Surfer, name: str) -> None:
    for language in ("en", "de"):
        with surfer.window(width=390) as page:
            surfer.speak(page, language)
            visit(case, surfer, page, name)
            expect(page.locator("html")).to_have_attribute("lang", language)
            script = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
            wide, room = page.evaluate(script)
            assert wide <= room, language


def test_nothing_left_this_machine(surfer: Surfer) -> None:
    assert surfer.abroad == []
    assert surfer.errors == []
