import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from hub.api import columns
from hub.api.columns import Format
from hub.api.problems import NotAcceptableError
from hub.services.column_files import csv_pages, parquet_pages

PAGES = [
    {
        "time": np.array([0, 1_500_000_001], np.int64),
        "value": np.array([21.5, -0.1]),
        "stream": np.array([1, 2**64 - 1], np.uint64),
        "seq": np.array([0, 7], np.uint64),
    },
    {
        "time": np.array([2_000_000_000], np.int64),
        "value": np.array([1e300]),
        "stream": np.array([1], np.uint64),
        "seq": np.array([8], np.uint64),
    },
]


def test_json_has_one_array_per_column() -> None:
    answer = json.loads(columns.json_text({"metric": "temp_c"}, PAGES[0]))
    assert answer == {
        "metric": "temp_c",
        "time": ["1970-01-01T00:00:00.000000000Z", "1970-01-01T00:00:01.500000001Z"],
        "value": [21.5, -0.1],
        "stream": ["0000000000000001", "ffffffffffffffff"],
        "seq": [0, 7],
    }


def test_json_has_null_for_what_is_not_finite() -> None:
    answer = json.loads(columns.json_text({}, {"mean": np.array([1.0, np.nan, np.inf])}))
    assert answer == {"mean": [1.0, None, None]}


def test_csv_has_one_header_over_all_pages() -> None:
    lines = b"".join(csv_pages(PAGES)).decode().splitlines()
    assert lines == [
        '"time","value","stream","seq"',
        '"1970-01-01T00:00:00.000000000Z",21.5,"0000000000000001",0',
        '"1970-01-01T00:00:01.500000001Z",-0.1,"ffffffffffffffff",7',
        '"1970-01-01T00:00:02.000000000Z",1e+300,"0000000000000001",8',
    ]
    table = pa_csv.read_csv(io.BytesIO("\n".join(lines).encode()))
    assert table["value"].to_pylist() == [21.5, -0.1, 1e300]


def test_parquet_has_a_row_group_per_page_and_says_what_it_is_about() -> None:
    data = b"".join(parquet_pages(PAGES, {"metric": "temp_c", "unit": "Cel"}))
    file = pq.ParquetFile(io.BytesIO(data))
    assert file.num_row_groups == len(PAGES)
    table = file.read(use_threads=False)
    assert table.schema.field("time").type == pa.timestamp("ns", tz="UTC")
    assert table.schema.metadata[b"metric"] == b"temp_c"
    assert table["time"].cast(pa.int64()).to_pylist() == [0, 1_500_000_001, 2_000_000_000]
    assert table["stream"].to_pylist() == ["0000000000000001", "f" * 16, "0000000000000001"]


@pytest.mark.parametrize(
    ("wanted", "accept", "expected"),
    [
        (None, None, Format.JSON),
        (None, "*/*", Format.JSON),
        (None, "text/*", Format.CSV),
        (None, "application/json;q=0.1, text/csv", Format.CSV),
        (None, "application/vnd.apache.parquet", Format.PARQUET),
        (None, "text/html, */*;q=0.1", Format.JSON),
        (None, "application/json;q=0, */*;q=0.5", Format.CSV),
        (Format.CSV, "application/json", Format.CSV),
    ],
)
def test_the_format_is_negotiated(
    wanted: Format | None, accept: str | None, expected: Format
) -> None:
    assert columns.chosen(wanted, accept) is expected


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "image/*", "text/csv;q=x"])
def test_what_cannot_be_had_is_406(accept: str) -> None:
    with pytest.raises(NotAcceptableError):
        columns.chosen(None, accept)
