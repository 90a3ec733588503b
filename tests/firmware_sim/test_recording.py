from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.recording import Recording, RecordingError, Row

HEADER = "timestamp,value\n"


def write(folder: Path, text: str) -> Recording:
    path = folder / "series.csv"
    path.write_bytes(text.encode("utf-8", errors="surrogateescape"))
    return Recording(path)


def test_rows_come_in_the_order_of_the_file_with_repeats(tmp_path: Path) -> None:
    recording = write(
        tmp_path,
        HEADER + "1970-01-01 00:00:02,1\n1970-01-01 00:00:03,2.5\n"
        "1970-01-01 00:00:02,-3e2\n1970-01-01 00:00:02,-3e2\n1970-01-01 00:00:09,4\n\n",
    )
    seconds = [row.time_ns // 10**9 for row in recording.rows()]
    assert seconds == [2, 3, 2, 2, 9]
    summary = recording.check()
    assert (summary.rows, summary.not_later, summary.backwards) == (5, 2, 1)
    assert (summary.low, summary.high) == (-300.0, 4.0)
    assert (summary.first_ns, summary.last_ns) == (2 * 10**9, 9 * 10**9)


@pytest.mark.parametrize(
    ("written", "expected_ns"),
    [
        ("1970-01-01 00:00:01", 10**9),
        ("1970-01-01T00:00:01Z", 10**9),
        ("1970-01-01t00:00:01z", 10**9),
        ("1970-01-01T01:00:01+01:00", 10**9),
        ("1970-01-01 00:00:01.123456789", 1_123_456_789),
        ("1970-01-01T00:00:00.5-00:30", 1_800_500_000_000),
        ("1969-12-31 23:59:59.999999999", -1),
        ('"1970-01-01 00:00:01"', 10**9),
    ],
)
def test_timestamps(tmp_path: Path, written: str, expected_ns: int) -> None:
    assert list(write(tmp_path, f"{HEADER}{written},7\n").rows()) == [Row(expected_ns, 7.0)]


@pytest.mark.parametrize(
    "line",
    [
        "yesterday,7",
        "2026-02-30 00:00:00,7",
        "2026-01-01,7",
        "2026-01-01 00:00,7",
        "1234567890,7",
        "2026-01-01 00:00:00,",
        "2026-01-01 00:00:00,nan",
        "2026-01-01 00:00:00,inf",
        "2026-01-01 00:00:00,1e999",
        "2026-01-01 00:00:00,1_000",
        "2026-01-01 00:00:00,seven",
        "2026-01-01 00:00:00",
        "2026-01-01 00:00:00,7,8",
        "1500-01-01 00:00:00,7",
        "2026-01-01 00:00:00,7\udcff",
        "",
    ],
)
def test_a_broken_line_is_named_with_its_content(tmp_path: Path, line: str) -> None:
    good = "2026-01-01 00:00:00,7\n"
    recording = write(tmp_path, HEADER + good + line + "\n" + good)
    with pytest.raises(RecordingError) as caught:
        recording.check()
    message = str(caught.value)
    assert "series.csv, line 3:" in message
    assert "Expected" in message
    assert line.encode("utf-8", "surrogateescape").decode("utf-8", "ignore") in message


def test_broken_line_7000(tmp_path: Path) -> None:
    lines = [f"2026-01-01 {n // 3600:02}:{n // 60 % 60:02}:{n % 60:02},{n}" for n in range(9_000)]
    lines[6_998] = "2026-01-01 01:56:38;6998"
    recording = write(tmp_path, HEADER + "\n".join(lines))
    with pytest.raises(RecordingError, match=r"line 7000: '2026-01-01 01:56:38;6998' is not a row"):
        recording.check()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty"),
        (HEADER, "no row"),
        ("time;value\n", "line 1"),
        ("x" * 100_000, "line 1"),
        ("2026-01-01 00:00:00,7\n", "the header timestamp,value"),
    ],
)
def test_a_file_that_is_no_recording(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(RecordingError, match=expected):
        write(tmp_path, text).check()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="No such file"):
        Recording(tmp_path / "none.csv").check()
    with pytest.raises(RecordingError, match="cannot be read"):
        Recording(tmp_path).check()


@given(
    moment=st.datetimes(datetime(1700, 1, 1), datetime(2250, 1, 1)),  # noqa: DTZ001  drawn naive, meant UTC
    value=st.floats(allow_nan=False, allow_infinity=False),
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, moment: datetime, value: float
) -> None:
    folder = tmp_path_factory.mktemp("csv")
    recording = write(folder, f"{HEADER}{moment.isoformat(timespec='microseconds')},{value!r}\n")
    since = moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    expected = (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1_000
    assert list(recording.rows()) == [Row(expected, value)]
