"""What the demo shows: progress while it works, then addresses, and what happens as it happens.

1. Words for people; one-time passwords are shown here and nowhere else.
2. Without a terminal the same facts come as plain lines.
3. Events carry the time since the demo began. Lines come from the demo's thread only.
4. Never here: what happens; that is the demo's.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from firmware_sim import catalogue
from firmware_sim.local_hub import Address
from firmware_sim.onboarding import Login, claim_address
from firmware_sim.scenario import PHRASES, Event
from firmware_sim.simulated import SimulatedProduct

if TYPE_CHECKING:
    from device_sdk.wire.messages import Notice
    from firmware_sim.demo_settling import Home, Settled


class Screen:
    """The demo's screen.

    Args:
        console: where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        columns = (
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} {task.fields[unit]}"),
        )
        # A live display and what is printed meanwhile must share one console.
        self._bars = Progress(
            *columns, console=console, transient=True, disable=not console.is_terminal
        )
        self._tasks: dict[str, TaskID] = {}

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Show that something goes on, and that it is done."""
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        off = not self._console.is_terminal
        with Progress(*columns, console=self._console, transient=True, disable=off) as progress:
            progress.add_task(escape(what), total=None)
            yield
        self.event(f"[green]done[/] {escape(what)}")

    def addresses(self, address: Address, home: "Home", products: int, support: Login) -> None:
        """Show where to look and how to sign in.

        Args:
            address: the hub.
            home: the first customer, with everything.
            products: how many there will be.
            support: the support agent.
        """
        self._plain("")
        self._console.print(f"  Open [bold]{address.api}/[/] in a browser.", soft_wrap=True)
        self._plain(
            "  It warns of the certificate once, as it does not know this hub's own authority: go on."
        )
        self._plain("")
        self._plain(f"  {'sign in as':<21} {'one-time password':<20} who")
        logins: list[tuple[Login, str]] = [(support, f"support, sees all {products} products")]
        for login, (name, _) in zip(home.members, home.household.members, strict=True):
            logins.insert(0, (login, f"{name}, of the same household"))
        if home.customer is not None:
            logins.insert(0, (home.customer, f"{home.household.name}, a customer"))
        for login, who in logins:
            self._plain(f"  {login.email:<21} {login.password:<20} {who}")
        self._plain("")
        device = home.products[0].device.device_id
        token = address.data_dir / "run" / "operator.token"
        self._plain(
            f"  API    {address.api}/api/v1   (described at {address.api}/api/v1/openapi.json)"
        )
        self._plain(
            f"  MQTT   mqtts://{address.facts.get('mqtt_host')}:{address.facts.get('mqtt_port')}"
        )
        self._plain(
            f'  curl --cacert {address.ca_file} -H "Authorization: Bearer $(cat {token})" '
            f"'{address.api}/api/v1/products/{device}'"
        )
        self._plain("")

    def customers(self, homes: "Sequence[Home]") -> None:
        """Show customers with their passwords and how they stand with their plans."""
        self._plain(f"  {'more customers':<21} {'one-time password':<20} {'product':<12} plan")
        for home in homes:
            standing, login = home.household.standing, home.customer
            words = f"{standing.plan}, {standing.words}" if standing.plan else standing.words
            if login is not None:
                serial = home.units[0].serial
                self._plain(f"  {login.email:<21} {login.password:<20} {serial:<12} {words}")
        self._plain("")

    def unclaimed(self, homes: "Sequence[Home]", api: str) -> None:
        """Show what can be claimed by whoever watches, and how.

        Args:
            homes: households that have not claimed what they bought.
            api: base address of the hub.
        """
        for home in homes:
            if home.customer is None:
                continue
            for label in home.labels:
                button = catalogue.has_button(label.model)
                self._plain(
                    f"  Claim {label.serial} yourself: sign in as {home.customer.email}, then open"
                )
                self._plain(f"  {claim_address(api, label)}")
                if button:
                    self._plain(
                        f"  and press its button, in another terminal: homeport press {label.serial}"
                    )
                self._plain("")

    @contextmanager
    def bars(self) -> Iterator[None]:
        """Show progress below everything else for the length of a `with` block."""
        with self._bars:
            yield

    def settled(self, now: "Settled") -> None:
        """Show how far the settling has come."""
        self._bar("Products switched on", "products", now.opened, now.products)
        self._bar("A month of history with its receipts", "rows", now.received, now.rows)

    def _bar(self, what: str, unit: str, completed: int, total: int) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total, unit=unit)
        self._bars.update(self._tasks[what], completed=completed)
        if completed >= total:
            self._bars.update(self._tasks[what], visible=False)

    def event(self, markup: str) -> None:
        """Show that something happened just now.

        Args:
            markup: what, in rich's markup.
        """
        seconds = time.monotonic() - self._began
        self._console.print(
            f"[dim]{int(seconds) // 60}:{seconds % 60:04.1f}[/]  {markup}",
            soft_wrap=True,
            highlight=False,
        )

    def quiet(self, home: "Home", product: SimulatedProduct, seconds: float) -> None:
        """Say that all is well, and how long."""
        self.event(
            f"{product.serial} of {escape(home.household.name)} runs well; "
            f"in {seconds:.0f} s something will go wrong there"
        )

    def happened(self, event: Event, products: "Sequence[SimulatedProduct]") -> None:
        """Show an event of a scenario.

        Args:
            event: what.
            products: to which products.
        """
        serials = ", ".join(product.serial for product in products[:3])
        more = f" and {len(products) - 3} more" if len(products) > 3 else ""
        self.event(
            f"[bold magenta]Happens[/] {serials}{more} {PHRASES[event.what][len(products) > 1]}"
        )

    def found(self, finding: dict[str, Any], seconds: float) -> None:
        """Show what was found.

        Args:
            finding: the finding, as support sees it.
            seconds: since the fault began.
        """
        self.event(
            f"[bold yellow]Found[/] {seconds:.1f} s after it began: {finding['kind']} of "
            f"{finding['metric']}, {finding['observed']:.4g}{_band(finding)} {finding['unit']}, "
            f"surprise {finding['surprise']:.1f}"
        )

    def told(self, home: "Home", alert: dict[str, Any]) -> None:
        """Show what the customer is told.

        Args:
            home: whose product it is.
            alert: the alert, as the customer sees it.
        """
        self.event(
            f"[bold yellow]Told[/] on the page of {escape(home.household.name)} and of support: "
            f"{alert['serial']}, {escape(alert['sentence'])}"
        )

    def alert(self, alert: dict[str, Any]) -> None:
        """Show an alert, as the hub tells it."""
        self.event(
            f"[yellow]Alert[/] {alert['severity']}, {alert['serial']}: {escape(alert['sentence'])}"
        )

    def noticed(self, product: SimulatedProduct, notice: "Notice", seconds: float) -> None:
        """Show that a notice reached a product.

        Args:
            product: which.
            notice: the notice.
            seconds: since the hub wrote it.
        """
        self.event(
            f"[bold cyan]Notice[/] on the display of {product.serial}, {seconds * 1000:.0f} ms after "
            f"the hub decided: {escape(notice.code)}"
        )

    def applied(self, product: SimulatedProduct, seconds: float) -> None:
        """Show that the push was applied."""
        settings = ", ".join(f"{name} = {value}" for name, value in product.configuration.items())
        self.event(
            f"[bold green]Pushed[/] by Sam from support, applied by {product.serial} after "
            f"{seconds * 1000:.0f} ms: {settings}"
        )

    def staying(self, data_dir: Path) -> None:
        """Say what can be done now, and how to stop.

        Args:
            data_dir: of the hub.
        """
        self.event(
            "The products live on, a report every few seconds each. In another terminal: "
            "[bold]homeport trigger[/] lets more go wrong. Ctrl-C stops everything."
        )
        self.event(
            f"[bold]homeport clock advance 40d --data {escape(str(data_dir))}[/] lets trials end, plans renew "
            "and a payment fail."
        )

    def _plain(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, markup=False, highlight=False)


def _band(finding: dict[str, Any]) -> str:
    """Say what was expected; some kinds (a stuck sensor) have no bounds."""
    low, high = finding["expected_low"], finding["expected_high"]
    if low is None and high is None:
        return ""
    bounds = ["any" if bound is None else f"{bound:.4g}" for bound in (low, high)]
    return f", expected {bounds[0]} to {bounds[1]}"
