"""Sends all metrics to a collector every so often.

What is sent is what a scrape of `/metrics` would have shown at that moment: this process has the metrics of all.
Must never live here: what a metric means, or how it is encoded.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable

from prometheus_client.metrics_core import Metric

from hub.ports.collector.port import Collector

_log = logging.getLogger("homeport.otlp")


class MetricsSender:
    """Runs on a thread of its own.

    Args:
        collector: takes them.
        read: reads the metrics of all processes.
        every_s: pause between two.
        clock: the world's time, ns.
    """

    def __init__(
        self,
        collector: Collector,
        read: Callable[[], Iterable[Metric]],
        every_s: float,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._collector = collector
        self._read = read
        self._every_s = every_s
        self._clock = clock

    def run(self, stop: threading.Event) -> None:
        """Send until `stop` is set, and end the collector's part in this process."""
        while not stop.wait(self._every_s):
            try:
                self._collector.metrics(self._read(), self._clock())
            except Exception:  # noqa: BLE001  numbers must not stop for good
                _log.exception("metrics could not be read")
        self._collector.close()
