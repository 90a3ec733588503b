"""The demo's story: all is well, a bearing fails, the hub finds it, people and product are told.

1. A story is a generator: it yields whenever it waits, and the demo's loop goes on meanwhile.
2. What the story says it has asked the hub for, as the customer or as support may ask.
3. Never here: how it looks (`demo_screen`).
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from firmware_sim import onboarding, scenario
from firmware_sim.demo_scenarios import Playing
from firmware_sim.demo_screen import Screen
from firmware_sim.demo_settling import Home
from firmware_sim.hub_client import HubClient
from firmware_sim.local_hub import Address
from firmware_sim.onboarding import Login
from firmware_sim.products.history import NS_PER_S
from firmware_sim.recording import time_ns
from firmware_sim.simulated import SimulatedProduct

# A long bath keeps the compressor running; the fault shows only while it does.
FAULT: Final = "at 0 s: {serial} is used\nat {onset} s: {serial} wears a bearing within 30 s"
FAULT_METRIC: Final = "vibration_mm_s"
PUSHED: Final = {"flow_offset_k": -3.0}
ONSET_S: Final = 2
PATIENCE_S: Final = 120.0
LOOK_AGAIN_S: Final = 0.3

Seen = TypeVar("Seen")


class StoryError(Exception):
    """The story cannot go on; the message says what did not happen."""


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays.

    Args:
        home: the household whose product fails.
        product: the product.
        agent: how the support agent of the story signs in. Nobody else uses this account: whoever
            watches may change the passwords of theirs, which ends all of their sessions.
    """

    home: Home
    product: SimulatedProduct
    agent: Login


class Story:
    """One telling of the story.

    Args:
        address: the hub.
        cast: who plays.
        playing: lets the product fail.
        screen: shows what happens.
        quiet_s: how long all is well first.
        clock: ns since 1970 UTC.
    """

    def __init__(
        self,
        address: Address,
        cast: Cast,
        playing: Playing,
        screen: Screen,
        quiet_s: float,
        clock: Callable[[], int],
    ) -> None:
        self._clock = clock
        self._address, self._cast, self._playing = address, cast, playing
        self._screen, self._quiet_s = screen, quiet_s

    def tell(self) -> Iterator[None]:
        """Play it; ends when the push is applied.

        Yields:
            Whenever it waits.

        Raises:
            StoryError: something did not happen in time.
        """
        cast, screen = self._cast, self._screen
        product = cast.product
        with ExitStack() as stack:
            agent = stack.enter_context(
                onboarding.sign_in(self._address, cast.agent.email, cast.agent.password)
            )
            yield from self._all_is_well(product)
            now_ns = self._clock()
            onset_ns = now_ns + int(ONSET_S * NS_PER_S)
            text = FAULT.format(serial=product.serial, onset=ONSET_S)
            self._playing.begin(scenario.parse(text, "story"), now_ns)
            device = product.device.device_id
            found: list[dict[str, Any]] = []
            yield from self._until(
                lambda: _finding(agent, device, onset_ns),
                found.append,
                f"Nothing was found for the failing bearing of {product.serial}",
            )
            screen.found(found[0], (self._clock() - onset_ns) / NS_PER_S)
            # A page speaks up from a warning on; what is only remarkable, it lists.
            yield from self._until(
                lambda: _warning(agent, device, onset_ns),
                found.append,
                f"{cast.home.household.name} was not told of the failing bearing",
            )
            screen.told(cast.home, found[1])
            yield from _pause(1.0)
            yield from self._push(agent, product)

    def _all_is_well(self, product: SimulatedProduct) -> Iterator[None]:
        yield from self._until(
            lambda: product.latest or None,
            lambda _seen: None,
            f"{product.serial} did not come to life",
        )
        self._screen.quiet(self._cast.home, product, self._quiet_s)
        yield from _pause(self._quiet_s)

    def _push(self, agent: HubClient, product: SimulatedProduct) -> Iterator[None]:
        began = time.monotonic()
        onboarding.push_configuration(agent, product.device.device_id, PUSHED)
        yield from self._until(
            lambda: product.configuration.items() >= PUSHED.items() or None,
            lambda _seen: None,
            f"{product.serial} did not apply the configuration",
            look_again_s=0.005,
        )
        self._screen.applied(product, time.monotonic() - began)

    @staticmethod
    def _until(
        look: Callable[[], Seen | None],
        keep: Callable[[Seen], object],
        otherwise: str,
        look_again_s: float = LOOK_AGAIN_S,
    ) -> Iterator[None]:
        """Look again and again until there is something to keep."""
        end = time.monotonic() + PATIENCE_S
        while (seen := look()) is None:
            if time.monotonic() > end:
                raise StoryError(f"{otherwise} within {PATIENCE_S:.0f} s.")
            if look_again_s < 0.05:
                time.sleep(look_again_s)
            else:
                yield from _pause(look_again_s)
        keep(seen)


def _pause(seconds: float) -> Iterator[None]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield


def _finding(agent: HubClient, device_id: str, onset_ns: int) -> dict[str, Any] | None:
    for entry in agent.pages("/findings", device_id=device_id):
        seen = time_ns(entry["at"])
        if entry["metric"] == FAULT_METRIC and seen is not None and seen > onset_ns:
            return entry
    return None


def _warning(agent: HubClient, device_id: str, onset_ns: int) -> dict[str, Any] | None:
    for entry in agent.pages("/alerts", device_id=device_id, status="open"):
        last = time_ns(entry["last_at"])
        if entry["severity"] in {"warning", "critical"} and last is not None and last > onset_ns:
            return entry
    return None
