"""Live events inside the process `control`: what just happened, for the streams of people.

1. An event is published after its transaction committed, never before.
2. Each listener has a bounded queue of its own. One that is too slow loses events and is told how
   many; it never slows down the others or the publisher.
3. Customers hear of the products of their households only; staff hear everything.
4. A stream whose caller was given another role, or none, is woken to ask again before it says more.
"""

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hub.services.caller import Caller, Scope
from hub.services.relations import Act

QUEUE = 1_000
DROPPED = "dropped"
"""Kind of the event that stands for those a slow listener lost; `data` holds `count`."""
_NEEDS: Mapping[str, tuple[Act, Scope]] = {
    "alert": (Act.ALERTS, Scope.ALERTS_READ),
    "finding": (Act.ALERTS, Scope.ALERTS_READ),
    "letter": (Act.BILLS, Scope.PRODUCTS_CLAIM),
}
"""What must be permitted to hear of events of a kind, as to read of them; all others: `_USUAL`."""
_USUAL = (Act.ALERTS, Scope.PRODUCTS_READ)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    Args:
        kind: such as `alert`, `presence`, `reported`.
        at: when, ns.
        product_id: to which product, if any.
        owner_id: household that owns it; None: only staff hear of it.
        data: JSON values.
    """

    kind: str
    at: int
    product_id: str | None = None
    owner_id: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


class Listener:
    """One stream's queue; made by `Broadcaster.listening`."""

    def __init__(self, caller: Caller, wake: Callable[[], None], size: int) -> None:
        self._caller = caller
        self._wake = wake
        self._size = size
        self._queue: deque[Event] = deque()
        self._dropped = 0
        self._stale = True  # whatever changed between looking the caller up and listening
        self._lock = threading.Lock()

    def take_stale(self) -> bool:
        """Say, at the beginning and once for each change, whether the caller must be looked up anew."""
        stale, self._stale = self._stale, False
        return stale

    def recheck(self, people: Collection[str]) -> None:
        """Wake the stream if it is of one of these people: what they may do has changed."""
        if self._caller.person_id in people:
            self._stale = True
            self._wake()

    def drain(self, at: int) -> list[Event]:
        """Take all that is waiting; if events were lost, the last one says how many.

        Args:
            at: now, ns, for that last one.
        """
        with self._lock:
            events, dropped = list(self._queue), self._dropped
            self._queue.clear()
            self._dropped = 0
        if dropped:
            events.append(Event(DROPPED, at, data={"count": dropped}))
        return events

    def offer(self, event: Event) -> None:
        """Queue an event if the caller may hear it."""
        act, scope = _NEEDS.get(event.kind, _USUAL)
        if scope not in self._caller.scopes:
            return
        if not self._caller.hears(event.owner_id, event.product_id, act):
            return
        with self._lock:
            if len(self._queue) >= self._size:
                self._dropped += 1
            else:
                self._queue.append(event)
        self._wake()


class Broadcaster:
    """Hands events to all listeners; any thread may publish."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()
        self._lock = threading.Lock()

    @contextmanager
    def listening(
        self, caller: Caller, wake: Callable[[], None], size: int = QUEUE
    ) -> Iterator[Listener]:
        """Listen for the length of a block.

        Args:
            caller: decides what is heard.
            wake: called on the publisher's thread after each event; must be quick and not raise.
            size: events that may wait.
        """
        listener = Listener(caller, wake, size)
        with self._lock:
            self._listeners.add(listener)
        try:
            yield listener
        finally:
            with self._lock:
                self._listeners.discard(listener)

    def publish(self, event: Event) -> None:
        """Hand an event to every listener that may hear it."""
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener.offer(event)

    def recheck(self, people: Collection[str]) -> None:
        """Have the streams of some people ask again what they may hear; any thread may."""
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener.recheck(people)

    def __len__(self) -> int:
        return len(self._listeners)
