"""What a device does for itself now and then: a fresh certificate, the hub's keys, the time on disk.

1. `step` does what is due and `due` tells when it must be called again; one thread calls them.
2. What fails is tried again, ever more rarely; nothing here stops the device.
3. Clocks and randomness are given; the network is reached by the functions that are given.
"""

import logging
from collections.abc import Callable
from typing import Protocol

from device_sdk.clock import HubClock
from device_sdk.enrol import HubKeys
from device_sdk.errors import EnrolmentError
from device_sdk.trust import Trust
from device_sdk.wire.errors import WireError

_RENEWAL_CHECK_S = 6 * 3600.0
_RENEWAL_RETRY_S = 900.0
_REFUSALS = 3
"""So many in a row mean that the broker wants another certificate: its own clock may know better, or its
authority has changed."""
_REFUSED_SPREAD_S = 300.0
"""A broker that cannot ask its hub refuses everybody; they must not all come to the hub at once."""
_FORCED_S = (900.0, 6 * 3600.0)
_KEYS_SPREAD_S = 30.0
"""All devices of a hub meet a new key at once; they ask for it within so many seconds."""
_KEYS_RETRY_S = (60.0, 6 * 3600.0)
_KEEP_TIME_S = (5.0, 3600.0)
"""The hub's time is kept so long after the start, then after twice as long each, up to the second: of a
run that ends in a power cut at least half counts."""
_log = logging.getLogger(__name__)


class Wires(Protocol):
    """How upkeep reaches the rest of the device."""

    def reload(self) -> None:
        """Connect anew with the fresh certificate."""

    def ask_state(self) -> None:
        """Ask the hub for its state again."""


class Upkeep:
    """The chores of one device.

    Args:
        trust: learns keys and keeps the time.
        clock: what time it is at least.
        wires: the rest of the device.
        monotonic: seconds that never go back.
        jitter: random numbers from 0 to 1.
        renew: renews the certificate if that is due, or in any case; tells whether it did.
        hub_keys: asks the hub for its signing keys; None: it cannot be asked.
    """

    def __init__(
        self,
        trust: Trust,
        clock: HubClock,
        wires: Wires,
        monotonic: Callable[[], float],
        jitter: Callable[[], float],
        renew: Callable[[bool], bool],
        hub_keys: Callable[[], HubKeys] | None,
    ) -> None:
        self._trust = trust
        self._clock = clock
        self._wires = wires
        self._monotonic = monotonic
        self._jitter = jitter
        self._renew = renew
        self._hub_keys = hub_keys
        self._renewal_at = 0.0
        self._refusals = 0
        self._forced = False
        self._forced_after = 0.0
        self._forced_wait_s = _FORCED_S[0]
        self._keys_at: float | None = None
        self._keys_wait_s = _KEYS_RETRY_S[0]
        self._keep_time_s = _KEEP_TIME_S[0]
        self._keep_time_at = monotonic() + self._keep_time_s

    def step(self, now: float) -> None:
        """Do what is due at a monotonic second."""
        if now >= self._keep_time_at:
            self._keep_time_s = min(2 * self._keep_time_s, _KEEP_TIME_S[1])
            self._keep_time_at = now + self._keep_time_s
            self.keep_time()
        if now >= self._renewal_at:
            self._renewal_at = now + self._try_renewal() * (1 + 0.25 * self._jitter())
        if self._keys_at is not None and now >= self._keys_at:
            self._keys_at = self._try_keys(now)

    def due(self) -> float:
        """Return the monotonic second at which something is due next."""
        return min(self._keep_time_at, self._renewal_at, self._keys_at or self._renewal_at)

    def keep_time(self) -> None:
        """Put on the disk what time it is at least, for after a restart."""
        earliest = self._clock.earliest_ns()
        if earliest is not None:
            self._trust.keep_time(earliest)

    def want_keys(self) -> None:
        """Ask for the hub's keys soon: a state was signed by one that is not known."""
        if self._hub_keys is not None and self._keys_at is None:
            self._keys_at = self._monotonic() + _KEYS_SPREAD_S * self._jitter()

    def have_keys(self) -> None:
        """Ask no more: a state was taken."""
        self._keys_at, self._keys_wait_s = None, _KEYS_RETRY_S[0]

    def refused(self) -> None:
        """Take note that the broker refused; after a few times get another certificate."""
        self._refusals += 1
        now = self._monotonic()
        if self._refusals < _REFUSALS or self._forced or now < self._forced_after:
            return
        self._forced = True
        self._renewal_at = min(self._renewal_at, now + _REFUSED_SPREAD_S * self._jitter())

    def accepted(self) -> None:
        """Take note that the broker let the device in."""
        self._refusals, self._forced, self._forced_wait_s = 0, False, _FORCED_S[0]

    def _try_keys(self, now: float) -> float | None:
        """Learn the hub's signing keys; returns when to try again, or None if that is done."""
        try:
            found = self._hub_keys() if self._hub_keys is not None else None
            if found is not None and self._trust.learn(found.announced, found.chain):
                self._wires.ask_state()
                return None
            _log.warning("No key that this device knows leads to those of the hub.")
        except (EnrolmentError, WireError) as error:
            _log.warning("The hub's signing keys were not taken: %s", error)
        wait, self._keys_wait_s = self._keys_wait_s, min(2 * self._keys_wait_s, _KEYS_RETRY_S[1])
        return now + wait * (1 + 0.25 * self._jitter())

    def _try_renewal(self) -> float:
        """Renew the certificate if due; returns seconds until the next look."""
        forced, self._forced = self._forced, False
        if forced:
            self._forced_after = self._monotonic() + self._forced_wait_s
            self._forced_wait_s = min(2 * self._forced_wait_s, _FORCED_S[1])
        try:
            if self._renew(forced):
                self._wires.reload()
        except EnrolmentError as error:
            _log.warning("%s", error)
            return _RENEWAL_RETRY_S
        return _RENEWAL_CHECK_S
