"""Writes the measured table of the README: `python -m benchmarks.readme`.

1. Every number comes from a benchmark run by this command, in the order of the table.
2. The machine and the date stand beside the numbers; so does the command for each row.
"""

import datetime as dt
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- measured:begin -->", "<!-- measured:end -->"
NAMES = ("ingest", "store", "detect", "overload", "lookup", "decisions", "metering", "handover")


def measure(name: str) -> dict[str, Any]:
    """Run one benchmark in a process of its own and return its object."""
    command = [sys.executable, "-m", "benchmarks", name, "--json", *sys.argv[1:]]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def table(results: dict[str, dict[str, Any]]) -> str:
    """The table, with a line on where and when it was made."""
    ingest, store, detect, overload, lookup, decisions, metering, handover = (
        results[name] for name in NAMES
    )
    rows = [
        (
            "One-row JSON messages, gated, journalled, receipted, scored and returned by a query",
            f"{ingest['messages_per_s']:,} messages/s; {ingest['ratio_stored']:.2f} of a subscriber that does nothing",
            "ingest",
        ),
        ("Packed samples, same path", f"{ingest['packed_samples_per_s']:,} samples/s", "ingest"),
        (
            "CPU of the worker",
            f"{ingest['us_cpu_per_message']:.2f} µs a message, {ingest['rss_mb']} MB",
            "ingest",
        ),
        (
            "Journal and compaction to Parquet",
            f"{store['write_samples_per_s']:,} samples/s",
            "store",
        ),
        (
            "A day of one series at one minute, out of 10,000 devices",
            f"{store['query_ms_p95']:.0f} ms (p95)",
            "store",
        ),
        (
            "Detection, a sample in a run / scattered over 20,000 series",
            (
                f"{detect['ns_per_sample']:.0f} / {detect['ns_per_sample_scattered']:.0f} ns, "
                f"{detect['bytes_per_series']} bytes a series"
            ),
            "detect",
        ),
        (
            "A worker offered five times what it may take",
            (
                f"{overload['goodput_ratio']:.2f} of its cap stored; a command and its reply "
                f"{overload['control_p99_ms']:.0f} ms (p99), {overload['rss_mb_max']:.0f} MB"
            ),
            "overload",
        ),
        (
            f"Support among {lookup['products']:,} products: look-up / page / chart of 100,000 samples",
            (
                f"{lookup['search_ms_p95']:.0f} / {lookup['page_ms_p95']:.0f} / "
                f"{lookup['chart_100k_ms']:.0f} ms (p95)"
            ),
            "lookup",
        ),
        (
            f"What one of {decisions['devices']:,} devices may do: asked alone / among many at once",
            f"{decisions['scalar_us_p99']:.1f} µs (p99) / {decisions['vector_ns']:.1f} ns",
            "decisions",
        ),
        (
            "A change of that at the API until the hub decides by it / the device has it",
            (
                f"{decisions['change_to_gate_ms_p99']:.0f} / "
                f"{decisions['change_to_device_ms_p99']:.0f} ms (p99)"
            ),
            "decisions",
        ),
        (
            "Usage counted from the journal; from a quota that is used up to the product's no",
            (
                f"{metering['events_per_s']:,} events/s; "
                f"{metering['limit_to_device_ms_p99']:.0f} ms (p99)"
            ),
            "metering",
        ),
        (
            "From a worker that is killed until another has its devices, and what that lost",
            (
                f"{handover['takeover_s_p95']:.1f} s (p95), {handover['lost']} acknowledged rows, "
                f"{handover['duplicates']} twice"
            ),
            "handover",
        ),
    ]
    where = f"{os.cpu_count()} cores ({platform.machine()}), {dt.datetime.now(dt.UTC):%Y-%m-%d}"
    lines = [
        f"Measured on {where}, by `python -m benchmarks.readme`; ratios are made within one run:",
        "",
        "| what | measured | command |",
        "|---|---|---|",
        *(
            f"| {what} | {value} | `python -m benchmarks {name} --json` |"
            for what, value, name in rows
        ),
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure everything and write the table into the README."""
    results = {name: measure(name) for name in NAMES}
    text = README.read_text("utf-8")
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    README.write_text(f"{head}{BEGIN}\n{table(results)}\n{END}{tail}", "utf-8")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
