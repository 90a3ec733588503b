"""Business hours and days of a zone, against an oracle that steps through them minute by minute."""

import datetime as dt
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from entitlements.business_hours import (
    HORIZON_S,
    Calendar,
    NeverOpenError,
    between,
    due,
    due_with_pauses,
)
from entitlements.dates import (
    SECOND,
    add_months,
    end_of_day,
    known_zone,
    last_of_period,
    local_date,
    stretches,
)
from entitlements.service_levels import Course, Deadlines, Targets, deadlines

MINUTE = 60 * SECOND
BERLIN = "Europe/Berlin"
OFFICE = Calendar(BERLIN, (((540, 720), (780, 1020)),) * 5 + ((), ()))
# Zones whose clocks do the oddest things, at instants near which they do them.
ODD = [
    (BERLIN, "2026-03-29T01:00+00:00"),
    (BERLIN, "2026-10-25T01:00+00:00"),
    ("Australia/Lord_Howe", "2026-04-04T15:00+00:00"),  # half an hour back
    ("Africa/Cairo", "2026-04-23T22:00+00:00"),  # midnight does not exist
    ("America/Havana", "2026-11-01T05:00+00:00"),  # 00:00 to 01:00 twice
    ("America/St_Johns", "2006-10-29T02:31+00:00"),  # 00:01 back to 23:01 of the day before
    ("Pacific/Apia", "2011-12-30T10:00+00:00"),  # a day left out
    ("Pacific/Kwajalein", "1993-08-20T12:00+00:00"),
    ("Asia/Kathmandu", "2026-01-01T00:00+00:00"),
    ("America/New_York", "2026-11-01T06:00+00:00"),
]


def instant(text: str, zone: str = "UTC") -> int:
    moment = dt.datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))
    return round(moment.timestamp()) * SECOND


def local(at: int, zone: str) -> dt.datetime:
    return dt.datetime.fromtimestamp(at // SECOND, ZoneInfo(zone))


def is_open(calendar: Calendar, at: int) -> bool:
    """The oracle: what the clock on the wall shows."""
    shown = local(at, calendar.zone)
    minute = shown.hour * 60 + shown.minute
    if shown.date() in calendar.holidays or (shown.month, shown.day) in calendar.yearly:
        return False
    return any(opens <= minute < closes for opens, closes in calendar.week[shown.weekday()])


@st.composite
def hours(draw: st.DrawFn) -> tuple[tuple[int, int], ...]:
    edges = draw(st.lists(st.integers(0, 1_440), max_size=4, unique=True).map(sorted))
    return tuple(list(pairwise(edges))[::2])


@st.composite
def calendars(draw: st.DrawFn) -> tuple[Calendar, int]:
    zone, near = draw(st.sampled_from(ODD))
    start = instant(near) + draw(st.integers(-3 * 1_440, 1_440)) * MINUTE
    days = [local(start, zone).date() + dt.timedelta(days=n) for n in range(6)]
    calendar = Calendar(
        zone,
        tuple(draw(hours()) for _ in range(7)),
        frozenset(draw(st.lists(st.sampled_from(days), max_size=2))),
        frozenset(
            (day.month, day.day) for day in draw(st.lists(st.sampled_from(days), max_size=1))
        ),
    )
    return calendar, start


@settings(max_examples=40, deadline=None)
@given(calendars(), st.integers(0, 4 * 1_440))
def test_time_between_equals_the_minutes_of_the_clock_on_the_wall(
    drawn: tuple[Calendar, int], minutes: int
) -> None:
    calendar, start = drawn
    counted = sum(is_open(calendar, start + n * MINUTE) for n in range(minutes))
    assert between(calendar, start, start + minutes * MINUTE) == counted * MINUTE


@settings(max_examples=40, deadline=None)
@given(calendars(), st.integers(1, 1_500))
def test_a_deadline_is_where_stepping_minutes_arrives(
    drawn: tuple[Calendar, int], minutes: int
) -> None:
    calendar, start = drawn
    at, left = start, minutes
    while left and at < start + 8 * 1_440 * MINUTE:
        left -= is_open(calendar, at)
        at += MINUTE
    if not left:
        assert due(calendar, start, minutes * 60) == at


@settings(max_examples=40, deadline=None)
@given(calendars(), st.integers(0, 10**15), st.integers(1, 200_000))
def test_a_deadline_and_the_time_until_it_agree(
    drawn: tuple[Calendar, int], later: int, target_s: int
) -> None:
    calendar, start = drawn[0], drawn[1] + later
    try:
        end = due(calendar, start, target_s)
    except NeverOpenError:
        within = between(calendar, start, start + HORIZON_S * SECOND)
        assert within < target_s * SECOND
        return
    assert between(calendar, start, end) == target_s * SECOND
    assert between(calendar, start, end - 1) == target_s * SECOND - 1


@settings(max_examples=40, deadline=None)
@given(
    calendars(),
    st.integers(1, 40_000),
    st.lists(st.integers(0, 5 * 1_440), max_size=6, unique=True).map(sorted),
)
def test_pauses_move_a_deadline_by_the_open_time_in_them(
    drawn: tuple[Calendar, int], target_s: int, edges: list[int]
) -> None:
    calendar, start = drawn
    pauses = tuple((start + a * MINUTE, start + b * MINUTE) for a, b in list(pairwise(edges))[::2])
    try:
        end = due_with_pauses(calendar, start, target_s, pauses)
        plain = due(calendar, start, target_s)
    except NeverOpenError:
        return
    assert end is not None
    paused = sum(between(calendar, a, min(b, end)) for a, b in pauses if a < end)
    assert end >= plain
    assert between(calendar, start, end) - paused == target_s * SECOND


@pytest.mark.parametrize(("zone", "near"), ODD)
def test_a_local_day_ends_with_its_last_minute(zone: str, near: str) -> None:
    start = instant(near) - 3 * 1_440 * MINUTE
    last: dict[dt.date, int] = {}
    for n in range(6 * 1_440):
        at = start + n * MINUTE
        assert local_date(zone, at) == local(at, zone).date()
        last[local(at, zone).date()] = at + MINUTE
    for date in sorted(last)[:-1]:
        assert end_of_day(zone, date) == last[date]


def test_a_day_that_was_left_out_ends_when_the_one_before_does() -> None:
    left_out = dt.date(2011, 12, 30)
    assert end_of_day("Pacific/Apia", left_out) == end_of_day(
        "Pacific/Apia", left_out - dt.timedelta(days=1)
    )


def test_days_of_23_and_25_hours() -> None:
    whole = Calendar(BERLIN, (((0, 1_440),),) * 7)
    for day, expected in (("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)):
        end = end_of_day(BERLIN, dt.date.fromisoformat(day))
        before = end_of_day(BERLIN, dt.date.fromisoformat(day) - dt.timedelta(days=1))
        assert between(whole, before, end) == expected * 3_600 * SECOND


def test_an_hour_that_does_not_exist_counts_nothing_and_one_that_is_repeated_twice() -> None:
    night = Calendar(BERLIN, (((150, 180),),) * 7)  # 02:30 to 03:00
    skipped = instant("2026-03-29T00:00", BERLIN)
    assert due(night, skipped, 60) == instant("2026-03-30T02:31", BERLIN)
    repeated = instant("2026-10-25T00:00", BERLIN)
    assert between(night, repeated, repeated + 6 * 60 * MINUTE) == 60 * MINUTE


def test_an_office_week_with_a_weekend_and_a_holiday() -> None:
    calendar = Calendar(
        BERLIN, OFFICE.week, frozenset({dt.date(2026, 4, 6)}), frozenset({(12, 25)})
    )
    friday = instant("2026-04-03T16:00", BERLIN)
    assert due(calendar, friday, 2 * 3_600) == instant("2026-04-07T10:00", BERLIN)
    assert due(calendar, friday, 3_600) == instant("2026-04-03T17:00", BERLIN)
    eve = instant("2026-12-24T16:30", BERLIN)
    assert due(calendar, eve, 3_600) == instant("2026-12-28T09:30", BERLIN)


@pytest.mark.parametrize(
    "calendar",
    [
        Calendar(BERLIN, ((),) * 7),
        Calendar(
            BERLIN,
            OFFICE.week,
            yearly=frozenset((m, d) for m in range(1, 13) for d in range(1, 32)),
        ),
    ],
    ids=["no hours", "only holidays"],
)
def test_a_deadline_that_never_comes_is_an_error(calendar: Calendar) -> None:
    with pytest.raises(NeverOpenError):
        due(calendar, instant("2026-01-01T00:00"), 60)


def test_a_target_of_nothing_is_refused() -> None:
    for target in (0, -60):
        with pytest.raises(ValueError, match="at least 1 s"):
            due(OFFICE, 0, target)
        with pytest.raises(ValueError, match="at least 1 s"):
            due_with_pauses(OFFICE, 0, target, ())


@given(st.dates(dt.date(1990, 1, 1), dt.date(2150, 1, 1)), st.integers(0, 400), st.integers(0, 400))
@example(dt.date(2024, 2, 29), 12, 36)
@example(dt.date(2026, 1, 31), 1, 1)
def test_months_of_the_calendar(date: dt.date, months: int, more: int) -> None:
    later = add_months(date, months)
    assert (later.year - date.year) * 12 + later.month - date.month == months
    assert later.day == date.day or (later + dt.timedelta(days=1)).day == 1
    assert add_months(later, more) <= add_months(date, months + more)
    assert last_of_period(date, months + 1) < add_months(date, months + 1) + dt.timedelta(days=1)


def test_periods_end_as_civil_codes_say() -> None:
    assert add_months(dt.date(2024, 2, 29), 12) == dt.date(2025, 2, 28)
    assert add_months(dt.date(2024, 2, 29), 48) == dt.date(2028, 2, 29)
    assert last_of_period(dt.date(2026, 1, 1), 12) == dt.date(2026, 12, 31)
    assert last_of_period(dt.date(2026, 1, 31), 1) == dt.date(2026, 2, 28)
    assert last_of_period(dt.date(2024, 2, 29), 12) == dt.date(2025, 2, 28)
    assert add_months(dt.date(2026, 1, 1), 100_000) == dt.date(2200, 1, 1)


def test_stretches_join_without_gap() -> None:
    found = list(stretches(BERLIN, 1_790_000_000, 1_790_000_000 + 90 * 86_400))
    assert all(one.end == other.start for one, other in pairwise(found))
    assert {one.offset for one in found} == {3_600, 7_200}


def test_names_of_zones() -> None:
    assert known_zone("Europe/Berlin")
    for name in ("Europe/Atlantis", "", "../etc/passwd", "Europe", "/"):
        assert not known_zone(name)


def test_what_a_contract_promises_for_a_case() -> None:
    opened = instant("2026-04-03T16:00", BERLIN)
    targets = Targets(response_s=3_600, resolution_s=4 * 3_600)
    course = Course(opened)
    promised = deadlines(OFFICE, targets, course)
    assert promised.response_due == instant("2026-04-03T17:00", BERLIN)
    assert promised.resolution_due == instant("2026-04-06T12:00", BERLIN)
    assert promised.next_of(course) == promised.response_due
    assert not promised.missed(course, opened + 60 * MINUTE)
    assert promised.missed(course, opened + 60 * MINUTE + 1)

    asked = Course(opened, opened + 30 * MINUTE, None, ((opened + 30 * MINUTE, None),))
    waits = deadlines(OFFICE, targets, asked)
    assert (waits.resolution_due, waits.next_of(asked)) == (None, None)
    assert not waits.missed(asked, opened + 10**6 * MINUTE)

    back = Course(
        opened,
        opened + 30 * MINUTE,
        None,
        ((opened + 30 * MINUTE, asked_back := instant("2026-04-08T09:00", BERLIN)),),
    )
    assert (
        deadlines(OFFICE, targets, back).resolution_due
        == asked_back + 4 * 60 * MINUTE + 30 * MINUTE
    )
    assert deadlines(OFFICE, Targets(), course) == Deadlines(None, None)


def test_a_deadline_missed_before_a_pause_stays_missed() -> None:
    opened = instant("2026-04-06T09:00", BERLIN)
    late = opened + 120 * MINUTE
    course = Course(opened, opened + MINUTE, None, ((late, None),))
    promised = deadlines(OFFICE, Targets(None, 3_600), course)
    assert promised.resolution_due == opened + 60 * MINUTE
    assert promised.missed(course, late + MINUTE)
