"""Recorded series in CSV files: `timestamp,value`, one row a line.

1. `check` reads the whole file before anyone uses a row; a broken line is named with its content
   and what belongs there.
2. Files of any size pass in bounded memory; rows come in the order of the file, repeats and steps
   backwards included.
3. Timestamps are `YYYY-MM-DD HH:MM:SS` or RFC 3339; without an offset they are UTC.
4. Never here: anything of the hub or of devices.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isfinite
from pathlib import Path
from typing import Final, NamedTuple

HEADER: Final = ["timestamp", "value"]
LONGEST_LINE: Final = 4096
INT64_MAX: Final = 2**63 - 1
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SECOND: Final = timedelta(seconds=1)
TIMESTAMP: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[ Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)?", re.ASCII
)
NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
EXPECTED_TIME: Final = "a time like 2026-01-31 13:05:00 or 2026-01-31T13:05:00.25Z"


class RecordingError(Exception):
    """The file is not a recording; the message names file, line, content and what is expected."""


class Row(NamedTuple):
    """One recorded value: time in ns since 1970 UTC, and the value."""

    time_ns: int
    value: float


@dataclass(frozen=True, slots=True)
class Summary:
    """What a checked file holds.

    Args:
        rows: how many rows.
        first_ns: earliest time, ns since 1970 UTC.
        last_ns: latest time.
        not_later: rows that are not later than every row before them.
        backwards: rows that are earlier than the row before.
        low: smallest value.
        high: largest value.
    """

    rows: int
    first_ns: int
    last_ns: int
    not_later: int
    backwards: int
    low: float
    high: float


class Recording:
    """One CSV file.

    Args:
        path: the file; it is read twice or more, so it cannot be a pipe.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def check(self) -> Summary:
        """Read the whole file and say what it holds.

        Returns:
            The summary.

        Raises:
            RecordingError: the file cannot be read, has a broken line, or has no row.
        """
        rows = not_later = backwards = 0
        first = latest = before = 0
        low = high = 0.0
        for row in self.rows():
            if rows == 0:
                first = latest = before = row.time_ns
                low = high = row.value
            else:
                not_later += row.time_ns <= latest
                backwards += row.time_ns < before
                first, latest, before = (
                    min(first, row.time_ns),
                    max(latest, row.time_ns),
                    row.time_ns,
                )
                low, high = min(low, row.value), max(high, row.value)
            rows += 1
        if rows == 0:
            raise RecordingError(
                f"{self.path} has a header but no row; there is nothing to replay."
            )
        return Summary(rows, first, latest, not_later, backwards, low, high)

    def rows(self) -> Iterator[Row]:
        """Yield the rows in the order of the file.

        Yields:
            Each row.

        Raises:
            RecordingError: the file cannot be read, or at a broken line.
        """
        try:
            # An undecodable byte shows in the error as \xNN instead of ending in a traceback.
            with self.path.open(
                encoding="utf-8-sig", errors="backslashreplace", newline=""
            ) as file:
                number, blank = 0, 0
                while line := file.readline(LONGEST_LINE):
                    number += 1
                    text = line.rstrip("\r\n")
                    if number == 1:
                        self._check_header(text)
                    elif not text.strip():
                        blank = blank or number
                    elif blank:
                        raise self._broken(
                            blank, "", "timestamp,value (blank lines only at the end)"
                        )
                    else:
                        yield self._row(number, text)
        except OSError as error:
            raise RecordingError(
                f"{self.path} cannot be read: {error.strerror}. Give the path of a CSV file."
            ) from error
        if number == 0:
            raise RecordingError(f"{self.path} is empty; its first line must be timestamp,value.")

    def _check_header(self, text: str) -> None:
        if [name.strip().lower() for name in _fields(text)] != HEADER:
            raise self._broken(1, text, "the header timestamp,value")

    def _row(self, number: int, text: str) -> Row:
        parts = _fields(text)
        if len(parts) != len(HEADER):
            found = "one field" if len(parts) == 1 else f"{len(parts)} fields"
            raise self._broken(number, text, f"two fields, timestamp,value, but there is {found}")
        instant = time_ns(parts[0].strip())
        if instant is None:
            raise self._broken(number, text, EXPECTED_TIME)
        written = parts[1].strip()
        value = float(written) if NUMBER.fullmatch(written) else float("nan")
        if not isfinite(value):
            raise self._broken(number, text, "a finite number like 73.96 after the comma")
        return Row(instant, value)

    def _broken(self, number: int, text: str, expected: str) -> RecordingError:
        shown = text if len(text) <= 80 else text[:77] + "..."
        return RecordingError(
            f"{self.path}, line {number}: {shown!r} is not a row. Expected {expected}. "
            "Nothing was sent; correct the line and start again."
        )


def _fields(text: str) -> list[str]:
    if '"' not in text:
        return text.split(",")
    return next(csv.reader([text]), [])


def time_ns(text: str) -> int | None:
    """Read a timestamp.

    Args:
        text: as rule 3 says.

    Returns:
        ns since 1970 UTC, or None if it is no time or does not fit 64 bits.
    """
    match = TIMESTAMP.fullmatch(text)
    if match is None:
        return None
    date, clock, fraction, zone = match.groups()
    offset = "+00:00" if zone is None or zone in "Zz" else zone
    try:
        moment = datetime.fromisoformat(f"{date} {clock}{offset}")
    except ValueError:
        return None
    instant = (moment - EPOCH) // SECOND * 1_000_000_000 + int((fraction or "0").ljust(9, "0"))
    return instant if -INT64_MAX - 1 <= instant <= INT64_MAX else None
