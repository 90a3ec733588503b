"""A browser for tests and screenshots: Debian's Chromium, driven by Playwright, on this machine only.

Every request that would leave this machine is refused and remembered.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, Route, sync_playwright

from hub.services.sessions import COOKIE
from hub.web.visitor import LANGUAGE_COOKIE
from tests.web.showcase import PASSWORD

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WITHOUT = "Chromium is not installed, so no page was tried in a browser (Debian: apt-get install chromium)."
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--no-first-run",
    "--force-color-profile=srgb",
)
_LOCAL = {"127.0.0.1", "localhost", "::1"}


def required() -> bool:
    """Say whether a missing browser is a failure."""
    return bool(os.environ.get("CI"))


@dataclass
class Surfer:
    """A browser that keeps what should not have happened.

    Attributes:
        abroad: addresses outside of this machine that a page asked for.
        errors: what pages complained about.
    """

    browser: Browser
    base: str
    abroad: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    _sessions: dict[str, Any] = field(default_factory=dict)

    def enter(self, page: Page, email: str) -> None:
        """Be signed in; the form is filled in once for each person, as sign-in is slowed down."""
        if email not in self._sessions:
            sign_in(page, email)
            (kept,) = [one for one in page.context.cookies() if one["name"] == COOKIE]
            self._sessions[email] = kept["value"]
        page.context.add_cookies(
            [{"name": COOKIE, "value": self._sessions[email], "url": self.base, "secure": True}]
        )

    def speak(self, page: Page, language: str) -> None:
        """Have pages in a language, whatever the person's account says."""
        page.context.add_cookies(
            [{"name": LANGUAGE_COOKIE, "value": language, "url": self.base, "secure": True}]
        )

    @contextmanager
    def window(self, *, width: int = 1280, **options: Any) -> Iterator[Page]:
        """Open a window of its own, with cookies of its own."""
        options.setdefault("color_scheme", "light")
        options.setdefault("locale", "en-GB")
        options.setdefault("timezone_id", "Europe/Berlin")
        height = 900 if width > 600 else 844
        context = self.browser.new_context(
            base_url=self.base,
            ignore_https_errors=True,  # the hub's own CA is not the browser's
            viewport={"width": width, "height": height},
            reduced_motion="reduce",
            **options,
        )
        context.route("**/*", self._route)
        try:
            yield self._page(context)
        finally:
            context.close()

    def _page(self, context: BrowserContext) -> Page:
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: self.errors.append(f"{page.url}: {error}"))
        page.on(
            "console",
            lambda message: (
                self.errors.append(f"{page.url}: {message.text}")
                if message.type == "error" and "status of 4" not in message.text
                else None
            ),
        )
        return page

    def _route(self, route: Route) -> None:
        if urlsplit(route.request.url).hostname in _LOCAL:
            route.continue_()
        else:
            self.abroad.append(route.request.url)
            route.abort()


@contextmanager
def surfing(base: str) -> Iterator[Surfer]:
    """Start a browser for the pages of a hub."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_FLAGS))
        try:
            yield Surfer(browser, base)
        finally:
            browser.close()


def sign_in(page: Page, email: str) -> None:
    """Sign in with the showcase's password."""
    page.goto("/sign-in")
    page.fill("input[name=email]", email)
    page.fill("input[name=password]", PASSWORD)
    page.click("main button[type=submit]")
    page.wait_for_url(lambda url: "/sign-in" not in url)


def wait_for_chart(page: Page) -> int:
    """Wait until the chart is drawn and return how many points it has."""
    page.wait_for_selector("[data-chart][data-points] .uplot canvas")
    page.wait_for_selector("[data-plot]:not([data-busy])")
    return int(page.get_attribute("[data-chart]", "data-points") or 0)
