"""The databases that a mirror can feed, as `Sink`s."""

from hub.ports.store.columns import Columns
from hub.ports.store.line_writer import LineWriter
from hub.ports.store.lines import MEASUREMENT, lines_of
from hub.ports.store.victoria import VictoriaStore


class VictoriaSink:
    """VictoriaMetrics: writes by its InfluxDB API, flushes and asks by its own.

    Args:
        writer: of the same server.
        store: likewise.
        measurement: as of the store's address.
    """

    def __init__(
        self, writer: LineWriter, store: VictoriaStore, measurement: str = MEASUREMENT
    ) -> None:
        self._writer = writer
        self._store = store
        self._measurement = measurement

    def write(self, columns: Columns) -> None:
        """See `Sink.write`."""
        self._writer.write(lines_of(columns, self._measurement).text)

    def flush(self) -> None:
        """See `Sink.flush`."""
        self._store.flush()

    def boot(self) -> str:
        """See `Sink.boot`."""
        return self._store.boot()


class InfluxSink:
    """InfluxDB 2: what it has accepted is in its write-ahead log. Not run against the server.

    Args:
        writer: of the server.
    """

    def __init__(self, writer: LineWriter) -> None:
        self._writer = writer

    def write(self, columns: Columns) -> None:
        """See `Sink.write`."""
        self._writer.write(lines_of(columns).text)

    def flush(self) -> None:
        """See `Sink.flush`: nothing to do."""

    def boot(self) -> str:
        """See `Sink.boot`: a restart loses nothing, so nobody needs to know."""
        return "influxdb"
