"""What the demo shows: progress while it works, then addresses, the finding and the push.

1. Words for people; one-time passwords are shown here and nowhere else.
2. Without a terminal the same facts come as plain lines.
3. Never here: what happens; that is `demo`'s.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from firmware_sim.local_hub import Address
from firmware_sim.onboarding import Login
from firmware_sim.simulated import SimulatedProduct

if TYPE_CHECKING:
    from firmware_sim.demo import Home


class Screen:
    """The demo's screen.

    Args:
        console: where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Show that something goes on, and that it is done."""
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with self._progress(*columns) as progress:
            progress.add_task(escape(what), total=None)
            yield
        self._done(what)

    @contextmanager
    def counting(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show how far something has come.

        Args:
            what: what goes on.
            total: rows in all.

        Yields:
            Takes how many rows more are done.
        """
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} rows"),
        )
        with self._progress(*columns) as progress:
            task = progress.add_task(escape(what), total=total)
            yield lambda rows: progress.advance(task, rows)
        self._done(f"{what}: {total:,} rows")

    def addresses(self, address: Address, homes: "Sequence[Home]", support: Login) -> None:
        """Show who is who and how to look."""
        table = Table(box=None, padding=(0, 2, 0, 0))
        for heading in ("sign-in", "one-time password", "product"):
            table.add_column(heading, no_wrap=True)  # what people copy must be whole
        table.add_column("plan and standing")
        for home in homes:
            plan, standing = home.household.plan, home.household.standing
            table.add_row(
                home.customer.email,
                home.customer.password,
                home.made.serial,
                f"{plan}, {standing}" if plan else standing,
            )
        table.add_row(support.email, support.password, "all", "support staff")
        self._console.print(table)
        first = homes[0]
        device = first.product.device.device_id if first.product else ""
        token = address.data_dir / "run" / "operator.token"
        curl = f'curl --cacert {address.ca_file} -H "Authorization: Bearer $(cat {token})"'
        product = f"{address.api}/api/v1/products/{device}"
        lines = (
            f"Pages    {address.api}/   (sign in as a customer or as support; the browser does not know this hub's CA)",
            f"API      {address.api}/api/v1   (described at {address.api}/api/v1/openapi.json)",
            f"Broker   mqtts://{address.facts.get('mqtt_host')}:{address.facts.get('mqtt_port')}",
            "",
            f"{curl} '{product}'",
            f"{curl} '{product}/telemetry?metric=power_w&step=1h&format=csv'",
        )
        for line in lines:
            self._plain(line)
        self._plain("")

    def found(self, alert: dict[str, Any], finding: dict[str, Any], seconds: float) -> None:
        """Show what was found.

        Args:
            alert: the alert, as the API tells it.
            finding: the finding behind it.
            seconds: since the fault began.
        """
        self._console.print(
            f"[bold yellow]Found[/] after {seconds:.0f} s on {alert['serial']}: "
            f"{escape(alert['sentence'])}",
            soft_wrap=True,
        )
        self._plain(
            f"      {finding['kind']} of {finding['metric']}: {finding['observed']:.4g}{_band(finding)} "
            f"{finding['unit']}, surprise {finding['surprise']:.1f}"
        )

    def applied(self, product: SimulatedProduct, seconds: float) -> None:
        """Show that the push was applied."""
        settings = ", ".join(f"{name} = {value}" for name, value in product.configuration.items())
        self._console.print(
            f"[bold green]Applied[/] by {product.serial} after {seconds * 1000:.0f} ms: {settings}",
            soft_wrap=True,
        )

    def staying(self) -> None:
        """Say how to stop."""
        self._console.print("The products live on, one row a second. Ctrl-C stops everything.")

    def _progress(self, *columns: ProgressColumn) -> Progress:
        off = not self._console.is_terminal
        return Progress(*columns, console=self._console, transient=True, disable=off)

    def _done(self, what: str) -> None:
        self._console.print(f"[green]done[/] {escape(what)}", soft_wrap=True)

    def _plain(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, markup=False, highlight=False)


def _band(finding: dict[str, Any]) -> str:
    """Say what was expected; some kinds (a stuck sensor) have no bounds."""
    low, high = finding["expected_low"], finding["expected_high"]
    if low is None and high is None:
        return ""
    bounds = ["any" if bound is None else f"{bound:.4g}" for bound in (low, high)]
    return f", expected {bounds[0]} to {bounds[1]}"
