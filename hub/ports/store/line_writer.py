"""Writes line protocol to InfluxDB 2, or to VictoriaMetrics, which speaks its write API.

1. Bytes go out as they are; `influxdb-client` makes no object of a sample.
2. A write that returns was accepted by the server. Whether it is on disk there is the server's
   affair, so whoever feeds it rewinds; see `mirror.py`.
"""

from collections.abc import Iterator
from typing import Any, Final

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError

from hub.errors import StorageError

_TIMEOUT_MS: Final = 30_000
_PIECE: Final = 8 << 20
"""Bytes in one request: servers bound the size of a body."""


class LineWriter:
    """A connection to the write API.

    Args:
        url: base address of the server, without credentials.
        bucket: of InfluxDB; VictoriaMetrics ignores it.
        org: likewise.
        token: likewise, unless a proxy before it wants one.
    """

    def __init__(self, url: str, *, bucket: str, org: str, token: str) -> None:
        self._url = url
        self._bucket = bucket
        self._client: Any = InfluxDBClient(url, token=token, org=org, timeout=_TIMEOUT_MS)
        self._api: Any = self._client.write_api(write_options=SYNCHRONOUS)

    def write(self, text: bytes) -> None:
        """Send lines with millisecond times and return when the server has accepted them.

        Raises:
            StorageError: the server cannot be reached or did not accept them; send them again.
        """
        try:
            for piece in _pieces(text):
                self._api.write(self._bucket, record=piece, write_precision="ms")
        except (ApiException, HTTPError, OSError) as error:
            status = getattr(error, "status", None)
            said = f"status {status}" if status else type(error).__name__
            raise StorageError(
                f"The time-series database at {self._url} did not take a batch ({said}). "
                "Nothing is lost: the journal keeps it, and it is sent again."
            ) from error

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _pieces(text: bytes) -> Iterator[bytes]:
    """Cut at ends of lines into pieces of bounded size."""
    start = 0
    while start < len(text):
        end = len(text)
        if end - start > _PIECE:
            end = text.rindex(b"\n", start, start + _PIECE) + 1
        yield text[start:end]
        start = end
