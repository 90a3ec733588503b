"""What a replay shows in the end: the count of rows, the speed, and the findings.

1. Plain tables that stay readable in a log.
2. Never here: deciding anything; the outcome is given.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from firmware_sim.comparison import Comparison
from firmware_sim.recording import Summary

SHOWN_FINDINGS: Final = 50


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a replay did.

    Args:
        summary: what the file holds.
        comparison: what is stored of it.
        send_s: seconds from the first row to the last receipt.
        query_s: seconds to read every row back over the API.
        device_id: the product's device.
        findings: what the hub found, as the API tells it.
    """

    summary: Summary
    comparison: Comparison
    send_s: float
    query_s: float
    device_id: str
    findings: list[dict[str, Any]]


def show(console: Console, file: Path, metric: str, outcome: Outcome) -> None:
    """Print the outcome.

    Args:
        console: where to.
        file: the recording.
        metric: the metric it was replayed as.
        outcome: what happened.
    """
    summary, comparison = outcome.summary, outcome.comparison
    console.print(f"{file.name} as {metric} of device {outcome.device_id}", soft_wrap=True)
    table = Table("", "rows")
    table.columns[1].justify = "right"
    table.add_row("in the file", f"{comparison.sent:,}")
    table.add_row("  of these not later than a row before", f"{summary.not_later:,}")
    table.add_row("  of these earlier than the row before", f"{summary.backwards:,}")
    table.add_row("stored", f"{comparison.stored:,}")
    table.add_row("missing", f"{comparison.missing:,}")
    table.add_row("stored more than once, or not sent", f"{comparison.extra:,}")
    console.print(table)
    rate = comparison.sent / outcome.send_s if outcome.send_s else 0.0
    console.print(
        f"Sent and receipted in {outcome.send_s:.2f} s ({rate:,.0f} rows/s); "
        f"all read back in {outcome.query_s:.2f} s."
    )
    if comparison.exact:
        console.print("[bold green]Every row is stored exactly once.[/]")
    else:
        console.print(
            f"[bold red]{comparison.missing:,} rows are missing and {comparison.extra:,} are there "
            "more often than they were sent.[/]"
        )
    show_findings(console, outcome.findings)


def show_findings(console: Console, findings: list[dict[str, Any]]) -> None:
    """Print findings, the most surprising ones if they are many, in order of time."""
    if not findings:
        console.print("No findings.")
        return
    shown = sorted(findings, key=lambda finding: -float(finding["surprise"]))[:SHOWN_FINDINGS]
    shown.sort(key=lambda finding: str(finding["at"]))
    title = f"{len(findings)} findings"
    if len(shown) < len(findings):
        title += f", the {len(shown)} most surprising"
    console.print(f"{title}:")
    table = Table()
    table.add_column("time", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    for heading in ("observed", "expected", "surprise"):
        table.add_column(heading, justify="right", no_wrap=True)
    for finding in shown:
        table.add_row(
            str(finding["at"]),
            str(finding["kind"]),
            _number(finding["observed"]),
            f"{_number(finding['expected_low'])} to {_number(finding['expected_high'])}",
            f"{float(finding['surprise']):.1f}",
        )
    console.print(table)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
