import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.api import instants

INT64 = st.integers(min_value=-(2**63), max_value=2**63 - 1)


@given(INT64)
def test_every_instant_survives_its_text(instant: int) -> None:
    text = instants.text_of(instant)
    assert text.endswith("Z")
    assert instants.instant_of(text) == instant


@given(st.lists(INT64.filter(lambda instant: instant > -(2**63)), max_size=20))
def test_many_instants_say_the_same_as_one(listed: list[int]) -> None:
    texts = instants.texts_of(np.array(listed, np.int64))
    assert [instants.instant_of(text) for text in texts] == listed


def test_only_the_digits_that_are_needed() -> None:
    assert instants.text_of(0) == "1970-01-01T00:00:00Z"
    assert instants.text_of(1_500_000_000) == "1970-01-01T00:00:01.500Z"
    assert instants.text_of(-1) == "1969-12-31T23:59:59.999999999Z"
    assert instants.texts_of(np.array([0, 10**9])) == [
        "1970-01-01T00:00:00Z",
        "1970-01-01T00:00:01Z",
    ]


def test_offsets_are_converted() -> None:
    assert instants.instant_of("1970-01-01T02:00:00+02:00") == 0
    assert instants.instant_of("1969-12-31T19:00:00-05:00") == 0
    # What a query string makes of an unescaped plus.
    assert instants.instant_of("1970-01-01T02:00:00 02:00") == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-01-31",
        "2026-01-31T08:00:00",
        "2026-02-30T08:00:00Z",
        "2026-01-31T25:00:00Z",
        "2026-01-31T08:00:00.1234567890Z",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00+14:00",
        "٢٠٢٦-01-31T08:00:00Z\n",
    ],
)
def test_what_is_not_an_instant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must|exists"):
        instants.instant_of(text)
