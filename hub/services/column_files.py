"""Columns as CSV text and Parquet files, page by page as the pages come.

1. Columns are numpy arrays of one length; `time` and `start` are int64 ns and leave as RFC 3339 (CSV)
   or UTC timestamps (Parquet), `stream` as hex.
2. A table of any length takes the memory of one page.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from hub.ports.archive.drain import Drain

Columns: TypeAlias = Mapping[str, npt.NDArray[Any]]
INSTANTS: Final = frozenset({"time", "start"})
STREAM: Final = "stream"


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
    if name in INSTANTS:
        text = pc.cast(pa.array(column).cast(pa.timestamp("ns", tz="UTC")), pa.string())
        # Arrow puts a blank between date and time.
        return pc.binary_replace_slice(text, start=10, stop=11, replacement="T")
    if name == STREAM:
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
    sink = Drain()
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
    if name in INSTANTS:
        return pa.array(column).cast(pa.timestamp("ns", tz="UTC"))
    if name == STREAM:
        return _stream_texts(column)
    return pa.array(column)
