"""A collector of metrics and traces, as the hub sees it.

1. Handing over a span never waits and never fails: what the collector cannot take is dropped and counted.
2. Who hands spans over chooses which; nothing here samples.
3. Times are the world's, ns since 1970 UTC: a collector knows nothing of a hub whose clock was moved.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client.metrics_core import Metric

Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the way of one row.

    Args:
        name: what was done; one of a few.
        trace: 32 hexadecimal digits, as `device_sdk.wire.trace` makes them.
        id: 16 hexadecimal digits.
        parent: id of the span that it is part of; empty for the first.
        start: ns since 1970 UTC.
        end: likewise.
        facts: what is known of it.
    """

    name: str
    trace: str
    id: str
    parent: str
    start: int
    end: int
    facts: Mapping[str, Value] = field(default_factory=dict)


class Collector(Protocol):
    """Takes what the hub measures."""

    def span(self, span: Span) -> None:
        """Take a span; never waits."""

    def metrics(self, families: Iterable[Metric], at: int) -> None:
        """Send all metrics as they stand at an instant (ns); waits for some seconds at most, and raises nothing."""

    def close(self) -> None:
        """Send what waits, for a second or two, and end."""
