"""Column tables as JSON, CSV and Parquet, without a Python object per row where it can be avoided.

1. Columns are numpy arrays of one length; `time` and `start` are int64 ns and leave as RFC 3339
   (JSON, CSV) or UTC timestamps (Parquet).
2. CSV and Parquet are written by `hub/services/column_files.py`, page by page as the pages come.
3. JSON has no NaN or infinity: they leave as null.
"""

import enum
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hub.api import instants
from hub.api.problems import NotAcceptableError
from hub.services.column_files import INSTANTS, STREAM, Columns


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
    if name in INSTANTS:
        return instants.texts_of(column)
    if name == STREAM:
        return [f"{stream:016x}" for stream in column.tolist()]
    values: list[Any] = column.tolist()
    if column.dtype.kind == "f":
        finite = np.isfinite(column)
        if not finite.all():
            return [value if fine else None for value, fine in zip(values, finite, strict=True)]
    return values
