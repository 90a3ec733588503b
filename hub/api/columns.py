"""Column tables as JSON, CSV and Parquet, without a Python object per row where it can be avoided.

1. Columns are numpy arrays of one length; `time` and `start` are int64 ns and leave as RFC 3339
   (JSON, CSV) or UTC timestamps (Parquet).
2. CSV and Parquet are written page by page as the pages come, so an export of any length takes
   the memory of one page.
3. JSON has no NaN or infinity: they leave as null.
"""

import enum
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from hub.api import instants
from hub.api.problems import NotAcceptableError

Columns = Mapping[str, npt.NDArray[Any]]

_INSTANTS = frozenset({"time", "start"})
_STREAM = "stream"


class Format(enum.StrEnum):
    """How a table leaves."""

    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


MEDIA_TYPES = {
    Format.JSON: "application/json",
    Format.CSV: "text/csv",
    Format.PARQUET: "application/vnd.apache.parquet",
}


def chosen(wanted: Format | None, accept: str | None) -> Format:
    """Choose the format of an answer.

    Args:
        wanted: the query parameter `format`, which is stronger.
        accept: the header `Accept`.

    Raises:
        NotAcceptableError: the header admits none of the formats.
    """
    if wanted is not None:
        return wanted
    if not accept:
        return Format.JSON
    ranges = [_range(part) for part in accept.split(",")]
    best = max(Format, key=lambda form: (_quality(MEDIA_TYPES[form], ranges), form is Format.JSON))
    if _quality(MEDIA_TYPES[best], ranges) == 0:
        raise NotAcceptableError(
            f"Telemetry can be had as {', '.join(MEDIA_TYPES.values())}; Accept admits none of "
            "them.",
            available=list(MEDIA_TYPES.values()),
        )
    return best


def _range(part: str) -> tuple[str, float]:
    media, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return media, max(0.0, min(1.0, float(parameter[2:])))
            except ValueError:
                return media, 0.0
    return media, 1.0


def _quality(media: str, ranges: list[tuple[str, float]]) -> float:
    """Return the quality that the most specific matching range gives (RFC 9110, 12.5.1)."""
    for candidate in (media, f"{media.split('/', maxsplit=1)[0]}/*", "*/*"):
        found = [quality for name, quality in ranges if name == candidate]
        if found:
            return max(found)
    return 0.0


def json_text(head: Mapping[str, Any], columns: Columns) -> bytes:
    """Return one JSON object: the members of `head`, then one array per column."""
    members = dict(head)
    for name, column in columns.items():
        members[name] = _json_column(name, column)
    return json.dumps(members, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _json_column(name: str, column: npt.NDArray[Any]) -> list[Any]:
    if name in _INSTANTS:
        return instants.texts_of(column)
    if name == _STREAM:
        return [f"{stream:016x}" for stream in column.tolist()]
    values: list[Any] = column.tolist()
    if column.dtype.kind == "f":
        finite = np.isfinite(column)
        if not finite.all():
            return [value if fine else None for value, fine in zip(values, finite, strict=True)]
    return values


def csv_pages(pages: Iterable[Columns]) -> Iterator[bytes]:
    """Yield CSV text (header, then rows) of pages that have the same columns."""
    options = {True: pa_csv.WriteOptions(), False: pa_csv.WriteOptions(include_header=False)}
    first = True
    for columns in pages:
        arrays = {name: _csv_column(name, column) for name, column in columns.items()}
        sink = pa.BufferOutputStream()
        pa_csv.write_csv(pa.table(arrays), sink, options[first])
        first = False
        yield sink.getvalue().to_pybytes()


def _csv_column(name: str, column: npt.NDArray[Any]) -> pa.Array:
    if name in _INSTANTS:
        text = pc.cast(pa.array(column).cast(pa.timestamp("ns", tz="UTC")), pa.string())
        # Arrow puts a blank between date and time.
        return pc.binary_replace_slice(text, start=10, stop=11, replacement="T")
    if name == _STREAM:
        return _stream_texts(column).cast(pa.string())
    return pa.array(column)


def _stream_texts(column: npt.NDArray[np.uint64]) -> pa.DictionaryArray:
    streams, positions = np.unique(column, return_inverse=True)
    texts = pa.array([f"{stream:016x}" for stream in streams.tolist()], pa.string())
    return pa.DictionaryArray.from_arrays(positions.astype(np.int32), texts)


def parquet_pages(pages: Iterable[Columns], facts: Mapping[str, str]) -> Iterator[bytes]:
    """Yield the bytes of a Parquet file with one row group a page.

    Args:
        pages: tables with the same columns; at least one.
        facts: what the table is about (device, metric, unit), kept in the file's metadata.
    """
    sink = _Drain()
    writer: pq.ParquetWriter | None = None
    for columns in pages:
        table = pa.table({name: _parquet_column(name, data) for name, data in columns.items()})
        if writer is None:
            schema = table.schema.with_metadata(dict(facts))
            writer = pq.ParquetWriter(sink, schema, compression="zstd")
        writer.write_table(table.replace_schema_metadata(dict(facts)))
        yield sink.drained()
    if writer is not None:
        writer.close()
    yield sink.drained()


def _parquet_column(name: str, column: npt.NDArray[Any]) -> pa.Array:
    if name in _INSTANTS:
        return pa.array(column).cast(pa.timestamp("ns", tz="UTC"))
    if name == _STREAM:
        return _stream_texts(column)
    return pa.array(column)


class _Drain(io.RawIOBase):
    """A file that is read away while it is written."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._length += len(part)
        return len(part)

    def tell(self) -> int:
        return self._length

    def drained(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)
