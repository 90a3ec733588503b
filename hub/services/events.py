"""Live events inside the process `control`: what just happened, for the streams of people.

1. An event is published after its transaction committed, never before.
2. Each listener has a bounded queue of its own. One that is too slow loses events and is told how
   many; it never slows down the others or the publisher.
3. Customers hear of the products of their households only; staff hear everything.
4. A stream whose caller was given another role, or none, is woken to ask again before it says more.
5. The last events are kept for a while. Who says up to which one they know hears what came since, or
   that nobody can tell any more what that was.
"""

import secrets
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from hub.services.caller import Caller, Scope
from hub.services.relations import Act

QUEUE = 1_000
"""Events that may wait for a listener, and that are kept for those who come back."""
DROPPED = "dropped"
"""Kind of the event that stands for those a slow listener lost; `data` holds `count`."""
GAP = "gap"
"""Kind of the event for a listener who knows a past that is not kept; `data` holds `after`."""
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
        id: its place among the others; given by the broadcaster. It is random, so that it tells
            nobody how much happens to others.
    """

    kind: str
    at: int
    product_id: str | None = None
    owner_id: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""


class Listener:
    """One stream's queue; made by `Broadcaster.listening`.

    Attributes:
        reached: id of the event up to which everything was taken. Who begins there misses nothing.
    """

    def __init__(
        self, caller: Caller, wake: Callable[[], None], size: int, gap: Event | None, newest: str
    ) -> None:
        self.reached = newest
        self._caller = caller
        self._wake = wake
        self._size = size
        self._gap = gap
        self._newest = newest
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
        """Take all that is waiting; if events were lost, the first or last one says so.

        Args:
            at: now, ns, for that one.
        """
        with self._lock:
            events, dropped, gap = list(self._queue), self._dropped, self._gap
            self._queue.clear()
            self._dropped, self._gap = 0, None
            self.reached = self._newest
        if gap is not None:
            events.insert(0, replace(gap, at=at))
        if dropped:
            events.append(Event(DROPPED, at, data={"count": dropped}, id=self.reached))
        return events

    def offer(self, event: Event) -> None:
        """Queue an event if the caller may hear it."""
        act, scope = _NEEDS.get(event.kind, _USUAL)
        heard = scope in self._caller.scopes and self._caller.hears(
            event.owner_id, event.product_id, act
        )
        with self._lock:
            self._newest = event.id
            if not heard:
                return
            if len(self._queue) >= self._size:
                self._dropped += 1
            else:
                self._queue.append(event)
        self._wake()


class Broadcaster:
    """Hands events to all listeners, in one order; any thread may publish.

    Args:
        source: returns so many random bytes.
    """

    def __init__(self, source: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._source = source
        self._listeners: set[Listener] = set()
        self._lock = threading.Lock()
        # One more than are kept: the oldest is what somebody may know who has missed all others.
        self._past = deque([Event("", 0, id=self._new_id())], maxlen=QUEUE + 1)

    @property
    def newest(self) -> str:
        """Id of the latest event: what is read from the database after this holds all up to it."""
        return self._past[-1].id

    @contextmanager
    def listening(
        self,
        caller: Caller,
        wake: Callable[[], None],
        size: int = QUEUE,
        *,
        since: str | None = None,
    ) -> Iterator[Listener]:
        """Listen for the length of a block.

        Args:
            caller: decides what is heard.
            wake: called on the publisher's thread after each event; must be quick and not raise.
            size: events that may wait.
            since: id of the last event that the caller knows of: what came after it is heard first,
                or, where that is not known, an event `gap`; `None`: only what happens from now on.
        """
        with self._lock:
            missed = [] if since is None else self._since(since)
            gap = None
            if missed is None:
                gap, missed = Event(GAP, 0, data={"after": since}, id=self.newest), []
            listener = Listener(caller, wake, size, gap, self.newest)
            for event in missed:
                listener.offer(event)
            self._listeners.add(listener)
        try:
            yield listener
        finally:
            with self._lock:
                self._listeners.discard(listener)

    def publish(self, event: Event) -> None:
        """Hand an event to every listener that may hear it."""
        with self._lock:
            event = replace(event, id=self._new_id())
            self._past.append(event)
            for listener in self._listeners:
                listener.offer(event)

    def recheck(self, people: Collection[str]) -> None:
        """Have the streams of some people ask again what they may hear; any thread may."""
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener.recheck(people)

    def __len__(self) -> int:
        return len(self._listeners)

    def _since(self, known: str) -> list[Event] | None:
        """Return what came after an event, or `None` if it is not kept."""
        missed: list[Event] = []
        for event in reversed(self._past):
            if event.id == known:
                return missed[::-1]
            missed.append(event)
        return None

    def _new_id(self) -> str:
        return self._source(8).hex()
