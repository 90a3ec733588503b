"""What is given for outages: each instant counts once."""

from hypothesis import given
from hypothesis import strategies as st

from entitlements.billing.outages import Outage, enlarged, extended, missed

outages = st.lists(
    st.builds(lambda start, length: Outage(start, start + length), st.integers(0, 200), st.integers(1, 60)),
    max_size=6,
)  # fmt: skip


@given(outages, st.integers(0, 150), st.integers(1, 150))
def test_missed_time_is_that_of_instants_in_any_outage(
    found: list[Outage], start: int, length: int
) -> None:
    down = [at for at in range(start, start + length) if any(a <= at < b for a, b in found)]
    assert missed(found, start, start + length) == len(down)
    assert enlarged(1_000, found, start, start + length) >= 1_000


@given(outages, st.integers(0, 150), st.integers(1, 150))
def test_credit_runs_for_as_long_as_it_was_given_for_while_the_hub_was_up(
    found: list[Outage], start: int, length: int
) -> None:
    end = extended(found, start, start + length)
    assert end - start - missed(found, start, end) == length
