"""Periods on real calendars: anniversaries on the 29th to 31st, and clocks that are put forward or back."""

import datetime as dt
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entitlements.billing.periods import month_begin, renewal, renewals

S = 1_000_000_000
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")


def ns(text: str, zone: str = "Europe/Berlin") -> int:
    local = dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))
    return int(local.timestamp()) * S


@pytest.mark.parametrize(
    ("anchor", "months", "expected"),
    [
        ("2024-01-31 09:30", 1, "2024-02-29 09:30"),
        ("2024-01-31 09:30", 2, "2024-03-31 09:30"),
        ("2023-01-31 09:30", 1, "2023-02-28 09:30"),
        ("2024-02-29 00:00", 12, "2025-02-28 00:00"),
        ("2024-02-29 00:00", 48, "2028-02-29 00:00"),
        ("2024-12-31 23:59", 2, "2025-02-28 23:59"),
        (
            "2024-01-15 12:00",
            6,
            "2024-07-15 12:00",
        ),  # summer time in between: the wall clock counts
    ],
)
def test_anniversaries(anchor: str, months: int, expected: str) -> None:
    assert renewal("Europe/Berlin", ns(anchor), months) == ns(expected)


def test_a_time_in_the_gap_is_the_first_instant_after_it() -> None:
    assert renewal("Europe/Berlin", ns("2024-02-29 02:30"), 13) == ns("2025-03-29 02:30")
    assert renewal("Europe/Berlin", ns("2024-01-31 02:30"), 2) == ns("2024-03-31 03:00")


def test_a_time_that_comes_twice_is_the_first() -> None:
    twice = renewal("Europe/Berlin", ns("2024-09-27 02:30"), 1)
    assert twice == ns("2024-10-27 02:30")  # fold 0
    assert ns("2024-10-27 03:00") - twice == 90 * 60 * S


@given(
    st.sampled_from(ZONES),
    st.integers(0, 2**31).map(lambda s: s * S + 7),
    st.integers(0, 40),
    st.integers(0, 3 * 365 * 86_400),
)
def test_periods_touch_and_hold_every_instant(
    zone: str, anchor: int, months: int, later: int
) -> None:
    assert renewal(zone, anchor, months) < renewal(zone, anchor, months + 1)
    at = anchor + later * S
    begins = list(islice(renewals(zone, anchor, at), 3))
    assert begins[0] <= at < begins[1] < begins[2]
    assert all(25 * 86_400 * S < b - a < 32 * 86_400 * S for a, b in pairwise(begins))


def test_before_the_anchor_the_first_period_is_next() -> None:
    anchor = ns("2024-05-31 00:00")
    assert next(renewals("UTC", anchor, anchor - 10**18)) == anchor


@given(st.sampled_from(ZONES), st.integers(0, 2**31).map(lambda s: s * S))
def test_a_month_begins_at_local_midnight(zone: str, at: int) -> None:
    begin = month_begin(zone, at)
    assert begin <= at
    local = dt.datetime.fromtimestamp(begin // S, ZoneInfo(zone))
    assert (local.day, local.hour) == (1, 0)
    assert dt.datetime.fromtimestamp(at // S, ZoneInfo(zone)).month == local.month
