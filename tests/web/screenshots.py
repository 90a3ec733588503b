"""Writes a screenshot of each page, at 1280 and 390 px, light and dark.

    python -m tests.web.screenshots FOLDER            all of them, whole pages
    python -m tests.web.screenshots --readme FOLDER   the two of the README

Starts a hub of its own with a showcase; nothing leaves this machine.
"""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page

from tests.conftest import reach, start_hub, stop_hub
from tests.web.browsing import CHROMIUM, WITHOUT, Surfer, surfing, wait_for_chart
from tests.web.showcase import FAILING, HELD, SOLD, Showcase, opened

WIDTHS = (1280, 390)


def pages(case: Showcase) -> dict[str, tuple[str, str]]:
    """Return the pages by name: who looks, and the address.

    Args:
        case: what there is to look at.
    """
    ada, sam, hans = "ada@example.org", "sam@example.org", "hans@example.org"
    units = {serial: unit.product_id for serial, unit in case.units.items()}
    return {
        "sign-in": ("", "/sign-in"),
        "home": (ada, "/"),
        "home-fine": ("ben@example.org", "/"),
        "home-lapsed": ("cleo@example.org", "/"),
        "home-empty": ("dora@example.org", "/"),
        "product": (ada, f"/products/{units[FAILING]}"),
        "usage": (ada, f"/products/{units[FAILING]}/usage"),
        "compare": (ada, f"/products/{units[FAILING]}/compare"),
        "plan": (ada, f"/products/{units[FAILING]}/plan"),
        "bills": (ada, "/bills"),
        "my-data": (ada, "/my-data"),
        "erase": (ada, "/my-data/erase"),
        "claim": (ada, "/claim"),
        "hand-overs": (ada, "/hand-overs"),
        "hand-overs-offered": ("ben@example.org", "/hand-overs"),
        "hand-over": (ada, f"/products/{units[FAILING]}/hand-over"),
        "looks": (ada, f"/products/{units[FAILING]}/looks"),
        "former": (ada, f"/former/{units[SOLD]}"),
        "household": (ada, "/household"),
        "household-invited": ("dora@example.org", "/household"),
        "partners": (ada, f"/household/{case.owners[ada]}/partners"),
        "partner": (hans, "/partner"),
        "partner-product": (hans, f"/products/{units[FAILING]}"),
        "case": (ada, f"/cases/{case.cases[0]}"),
        "support-case": (sam, f"/cases/{case.cases[0]}"),
        "account": (ada, "/account"),
        "password": (ada, "/password"),
        "lookup": (sam, "/support?q=HP-2026"),
        "support-product": (sam, f"/support/products/{units[FAILING]}"),
        "support-held": (sam, f"/support/products/{units[HELD]}?hold_failed=1"),
        "causes": (sam, "/support"),
        "cases": (sam, "/support/cases"),
        "disputes": (sam, "/support/disputes"),
        "nothing": (ada, f"/products/{'a' * 16}"),
    }


def write(surfer: Surfer, case: Showcase, folder: Path) -> list[Path]:
    """Write all screenshots and return their files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for scheme in ("light", "dark"):
        for width in WIDTHS:
            for name, (email, address) in pages(case).items():
                with surfer.window(width=width, color_scheme=scheme) as page:
                    if email:
                        surfer.enter(page, email)
                    _open(page, address)
                    path = folder / f"{name}-{width}-{scheme}.png"
                    page.screenshot(path=path, full_page=True)
                    written.append(path)
    return written


def write_readme(surfer: Surfer, case: Showcase, folder: Path) -> list[Path]:
    """Write the two pictures of the README, as much as a screen shows."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, width, height, scheme in [
        ("product", 1120, 1130, "light"),
        ("support-product", 1180, 1060, "dark"),
    ]:
        email, address = pages(case)[name]
        with surfer.window(width=width, color_scheme=scheme) as page:
            page.set_viewport_size({"width": width, "height": height})
            surfer.enter(page, email)
            _open(page, address)
            written.append(folder / f"{name}.png")
            page.screenshot(path=written[-1])
    return written


def _open(page: Page, address: str) -> None:
    page.goto(address)
    if page.query_selector("[data-chart]"):
        wait_for_chart(page)


def main() -> None:
    """Write them into the folder of the command line."""
    if CHROMIUM is None:
        raise SystemExit(WITHOUT)
    *options, folder = sys.argv[1:] or ["--help"]
    if options not in ([], ["--readme"]) or folder.startswith("-"):
        raise SystemExit(__doc__)
    chosen = write_readme if options else write
    with tempfile.TemporaryDirectory(prefix="homeport-pages-") as scratch:
        data_dir = Path(scratch) / "data"
        process = start_hub(data_dir)
        hub = reach(data_dir, process)
        try:
            with opened(hub, Path(scratch) / "devices") as case, surfing(hub.api_url) as surfer:
                for path in chosen(surfer, case, Path(folder)):
                    print(path)  # noqa: T201  a command that tells what it wrote
        finally:
            hub.client.close()
            stop_hub(process)


if __name__ == "__main__":
    main()
