import pytest

from hub.api.limits import RateLimit
from hub.errors import RateLimitedError

SECOND = 1_000_000_000


def test_tries_beyond_the_limit_wait_for_the_window() -> None:
    limit = RateLimit("enrol", tries=2, window_s=60)
    limit.take("a", 0)
    limit.take("a", 10 * SECOND)
    with pytest.raises(RateLimitedError) as refused:
        limit.take("a", 20 * SECOND)
    assert refused.value.retry_after_s == 40
    limit.take("b", 20 * SECOND)
    limit.take("a", 60 * SECOND)
    with pytest.raises(RateLimitedError):
        limit.take("a", 61 * SECOND)


def test_a_clock_that_stepped_back_locks_nobody_out() -> None:
    limit = RateLimit("enrol", tries=1, window_s=60)
    limit.take("a", 1_000 * SECOND)
    limit.take("a", 0)


def test_memory_is_bounded() -> None:
    limit = RateLimit("enrol", tries=1, window_s=60, keys=100)
    for number in range(1_000):
        limit.take(str(number), 0)
    assert len(limit._seen) == 100
