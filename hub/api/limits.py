"""How often one address, serial or e-mail may try: the API's own brakes on guessing.

1. A sliding window per key; the instant is an argument.
2. Memory is bounded: beyond `keys` the key used longest ago is forgotten.
3. In memory on purpose: a restart forgives, and a flood never writes to the database.
Limits that must survive a restart (wrong claim codes) are the services'.
"""

import threading
from collections import OrderedDict, deque

from hub.errors import RateLimitedError

_SECOND = 1_000_000_000


class RateLimit:
    """At most `tries` tries in `window_s` seconds for each key.

    Args:
        what: what is tried, for the sentence ("sign in", "enrol").
        tries: tries that are let through.
        window_s: length of the window in seconds.
        keys: keys remembered at most.
    """

    def __init__(self, what: str, *, tries: int, window_s: int, keys: int = 65_536) -> None:
        self._what = what
        self._tries = tries
        self._window = window_s * _SECOND
        self._keys = keys
        self._seen: OrderedDict[str, deque[int]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: str, at: int) -> None:
        """Count one try.

        Args:
            key: who or what tries.
            at: the instant, ns since 1970 UTC.

        Raises:
            RateLimitedError: too many tries; this one was not counted.
        """
        with self._lock:
            tries = self._seen.setdefault(key, deque())
            self._seen.move_to_end(key)
            while tries and not 0 <= at - tries[0] < self._window:
                tries.popleft()
            if len(tries) >= self._tries:
                wait = -(-(tries[0] + self._window - at) // _SECOND)
                raise RateLimitedError(
                    f"Too many attempts to {self._what}. Try again in {wait} s.",
                    retry_after_s=wait,
                )
            tries.append(at)
            if len(self._seen) > self._keys:
                self._seen.popitem(last=False)
