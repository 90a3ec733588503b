"""The device without threads: what happens as time passes and rows and messages come in.

1. Measuring touches memory only; rows reach the spool in groups, and the network only from the
   spool.
2. `step` does all that is due and tells when it must be called again; one thread calls it.
3. `measure`, `sync` and the properties may be called from any thread.
4. Clocks and randomness are given; nothing here starts threads or opens connections.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from device_sdk.clock import HubClock
from device_sdk.control import Control
from device_sdk.enrol import HubKeys
from device_sdk.errors import SpoolFullError
from device_sdk.link import Link
from device_sdk.rows import RowBuffer, Run, Stamp, check
from device_sdk.sealing import PACK_ROWS
from device_sdk.sending import Sender
from device_sdk.spool import Spool
from device_sdk.trust import Trust
from device_sdk.upkeep import Upkeep
from device_sdk.wire.codes import ClockState
from device_sdk.wire.errors import UnknownKeyError, WireError
from device_sdk.wire.messages import Birth, Event, Get, Presence
from device_sdk.wire.receipt import Receipt
from device_sdk.wire.topics import Down, Up

SDK_VERSION = "homeport-python/0.1"
_log = logging.getLogger(__name__)

_ROW_BYTES = 48
"""Guess of what a row in memory will take in the spool, for the bound."""
_MOST_IN_MEMORY = 20 * PACK_ROWS
_MOST_EVENTS = 64
_IDLE_COMMIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Clocks:
    """Where time and chance come from.

    Attributes:
        wall_ns: ns since 1970.
        monotonic: seconds that never go back, within `clock.DRIFT_PPM` of true ones.
        octets: so many random bytes.
        jitter: random numbers from 0 to 1.
        pause: waits for so many seconds.
    """

    wall_ns: Callable[[], int]
    monotonic: Callable[[], float]
    octets: Callable[[int], bytes]
    jitter: Callable[[], float]
    pause: Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a device behaves.

    Attributes:
        firmware: version shown to the hub.
        capabilities: what the firmware can do, shown to the hub.
        when_full: `refuse` raises `SpoolFullError`; `drop_oldest` forgets the oldest rows and says
            so in an event.
        linger_s: how long rows may wait in memory for company while connected.
        linger_offline_s: the same while not connected; longer packs take less room.
    """

    firmware: str
    capabilities: tuple[str, ...] = ()
    when_full: Literal["refuse", "drop_oldest"] = "refuse"
    linger_s: float = 0.2
    linger_offline_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Counters:
    """Counts since opening, for diagnostics. `rejected` is by reject code."""

    rows_measured: int
    rows_pending: int
    rows_settled: int
    rows_dropped: int
    packs_sent: int
    receipts: int
    rejected: Mapping[int, int]
    connects: int
    streams_left: int
    messages_refused: int
    spool_bytes: int


class Engine:
    """Everything between the public API and the ports.

    Args:
        spool: durable rows.
        trust: signed state.
        link: connection; started by the caller.
        clocks: time and chance.
        settings: behaviour.
        renew: renews the certificate if that is due at the given time (ns), or in any case; tells
            whether it did.
        hub_keys: asks the hub for its signing keys; used when a state is signed by one not known.
    """

    def __init__(
        self,
        spool: Spool,
        trust: Trust,
        link: Link,
        clocks: Clocks,
        settings: Settings,
        renew: Callable[[int, bool], bool],
        hub_keys: Callable[[], HubKeys] | None = None,
    ) -> None:
        self.spool = spool
        self.trust = trust
        self.clock_state = ClockState.SYNCED
        self.clock = HubClock(clocks.monotonic, trust.floor_ns)
        self.connected = False
        self._link = link
        self._clocks = clocks
        self._settings = settings
        self._boot = clocks.octets(8)
        self._buffer = RowBuffer()
        self._buffer_lock = threading.Lock()
        self._store_lock = threading.Lock()
        self._buffered_since = 0.0
        self._events: deque[bytes] = deque(maxlen=_MOST_EVENTS)
        self._commit_at: float | None = None
        self._asked_at = 0.0
        self._sender = Sender(
            spool, lambda data: link.publish(Up.PACK, data), clocks.jitter, trust.device_id
        )
        self.control = Control(trust, spool, link.publish)
        self.upkeep = Upkeep(
            trust,
            self.clock,
            self,
            clocks.monotonic,
            clocks.jitter,
            # A clock that was never set would let the certificate end unnoticed.
            lambda forced: renew(max(clocks.wall_ns(), self.clock.earliest_ns() or 0), forced),
            hub_keys,
        )
        self._measured = self._dropped = self._connects = self._refused = 0
        if spool.put_aside is not None:
            self.event("spool_damaged", {"kept_as": spool.put_aside.name})

    def measure(self, values: Mapping[str, float], at_ns: int | None) -> bool:
        """Take one row into memory; tell whether the stepping thread should be woken.

        Raises:
            ValueError: the wire cannot carry the row.
            SpoolFullError: by the policy `refuse`.
        """
        now_ns, clock = (at_ns, self.clock_state) if at_ns is not None else self._present()
        row = check(now_ns, values)
        self._refuse_if_full(0)
        with self._buffer_lock:
            self._buffer.add(Stamp(self.trust.owner_epoch, clock, historical=False), row)
            self._measured += 1
            count = self._buffer.count
            if count == 1:
                self._buffered_since = self._clocks.monotonic()
        if count >= _MOST_IN_MEMORY:
            # The stepping thread is held up (a slow handler, a renewal): memory stays bounded all
            # the same.
            self.sync()
        return count in {1, PACK_ROWS}

    def record(self, rows: Iterable[tuple[int, Mapping[str, float]]], *, historical: bool) -> int:
        """Store many rows, durable on return; memory stays bounded whatever their number.

        Raises:
            ValueError: the wire cannot carry a row; the rows before its group of 8,000 are stored.
            SpoolFullError: the spool filled up; `recorded` tells how many rows were stored.
        """
        self.sync()
        source = iter(rows)
        recorded = 0
        while chunk := [check(time, values) for time, values in islice(source, 8 * PACK_ROWS)]:
            self._refuse_if_full(recorded)
            with self._store_lock:
                stamp = Stamp(self.trust.owner_epoch, self.clock_state, historical)
                self._store([Run(stamp, chunk)])
            recorded += len(chunk)
            self._measured += len(chunk)
        return recorded

    def sync(self) -> None:
        """Put all rows in memory on the disk."""
        with self._store_lock:
            with self._buffer_lock:
                runs = self._buffer.take()
            try:
                self._store(runs)
            except BaseException:
                self._give_back(runs)
                raise

    def event(self, name: str, arguments: Mapping[str, Any]) -> None:
        """Queue an event; the newest 64 wait for a connection, in memory."""
        event = Event(self._clocks.octets(16), self._present()[0], name, arguments)
        self._events.append(event.encode())

    @property
    def pending(self) -> int:
        """Rows without receipt, in memory and in the spool."""
        return self._buffer.count + self.spool.rows

    def counters(self) -> Counters:
        """Return the counts so far."""
        sender = self._sender
        return Counters(
            rows_measured=self._measured,
            rows_pending=self.pending,
            rows_settled=sender.rows_settled,
            rows_dropped=self._dropped,
            packs_sent=sender.packs_sent,
            receipts=sender.receipts,
            rejected=dict(sender.rejected),
            connects=self._connects,
            streams_left=sender.streams_left,
            messages_refused=self._refused,
            spool_bytes=self.spool.bytes,
        )

    def step(self) -> float | None:
        """Do what is due. Returns the monotonic time of the next thing due, or None."""
        now = self._clocks.monotonic()
        flush_at = self._flush_at()
        if flush_at is not None and now >= flush_at:
            self.sync()
            flush_at = self._flush_at()
        if self.connected:
            while self._events and self._link.publish(Up.EVENT, self._events[0]):
                self._events.popleft()
        self._sender.pump(now)
        for stream, start, end in self.spool.take_damaged():
            self._report_lost(stream, start, end, "damaged")
        if self._commit_at is not None and now >= self._commit_at:
            self.spool.commit()
            self._commit_at = None
        self.upkeep.step(now)
        dues = (flush_at, self._sender.due(), self._commit_at, self.upkeep.due())
        return min(due for due in dues if due is not None)

    def on_connected(self) -> None:
        """Introduce the device, ask for the state, and begin to send."""
        self.connected = True
        self._connects += 1
        self.upkeep.accepted()
        self._asked_at = self._clocks.monotonic()
        self._introduce()
        self.ask_state()
        self._sender.connected(self._clocks.monotonic())

    def ask_state(self) -> None:
        """Ask the hub for the present state."""
        self._link.publish(Up.GET, Get(("state",), self.trust.state_version).encode())

    def reload(self) -> None:
        """Connect anew."""
        self._link.reload()

    def _introduce(self) -> None:
        """Say who is there, and how far it is in its stream."""
        now_ns, clock = self._present()
        birth = Birth(
            stream=self.spool.stream,
            boot=self._boot,
            firmware=self._settings.firmware,
            sdk=SDK_VERSION,
            capabilities=self._settings.capabilities,
            state_version=self.trust.state_version,
            entitlement_version=self.trust.entitlement_version,
            clock=clock,
            time=now_ns,
            sent=self.spool.next_seq,
        )
        self._link.publish(Up.PRESENCE, Presence(birth).encode())

    def on_disconnected(self) -> None:
        """Go on without the network."""
        self.connected = False
        self._sender.disconnected()

    def on_message(self, channel: str, payload: bytes) -> None:
        """Take in a message from the hub; a bad one is counted and changes nothing."""
        try:
            self._take(channel, payload)
        except UnknownKeyError as error:
            self._refused += 1
            _log.warning("A message on %s was refused: %s", channel, error)
            self.upkeep.want_keys()
        except WireError as error:
            self._refused += 1
            _log.warning("A message on %s was refused: %s", channel, error)

    def _take(self, channel: str, payload: bytes) -> None:
        if channel == Down.RECEIPT:
            now, receipt = self._clocks.monotonic(), Receipt.decode(payload)
            self.clock.hear(receipt.time, self._asked_at)
            self._sender.receipt(receipt, now)
            self._commit_at = self._commit_at or now + _IDLE_COMMIT_S
        elif channel == Down.STATE:
            self._take_state(payload)
        elif channel == Down.COMMAND:
            self.control.command(payload, self._now_ns())
        elif channel == Down.NOTICE:
            self.control.notice(payload, self._now_ns())

    def _take_state(self, payload: bytes) -> None:
        before, version, epoch = self.trust.state, self.trust.state_version, self.trust.owner_epoch
        self.control.state(payload, self._now_ns())
        after = self.trust.state
        if after is None:
            return
        self.upkeep.have_keys()
        if after.version > version:
            self.clock.correct(after.time, self._asked_at)
        else:
            self.clock.hear(after.time, self._asked_at)
        self.upkeep.keep_time()
        if after.owner_epoch != epoch:
            # Rows carry the epoch they were measured under; those of the former owner are sealed now.
            self.sync()
        if before and (before.endpoint, before.trust) != (after.endpoint, after.trust):
            self._link.reload()

    def _present(self) -> tuple[int, ClockState]:
        """Return the time to put on what happens now, and how far it can be trusted.

        A product whose own clock is not set goes by the hub's, once it has heard it since its start.
        """
        if self.clock_state is ClockState.UNSET and self.clock.heard:
            earliest = self.clock.earliest_ns()
            if earliest is not None:
                return earliest, ClockState.FREE_RUNNING
        return self._clocks.wall_ns(), self.clock_state

    def _now_ns(self) -> int:
        """Return the time to compare the hub's times with: the hub's own, if it was heard."""
        earliest = self.clock.earliest_ns() if self.clock.heard else None
        return self._clocks.wall_ns() if earliest is None else earliest

    def _flush_at(self) -> float | None:
        settings = self._settings
        linger = settings.linger_s if self.connected else settings.linger_offline_s
        with self._buffer_lock:
            if self._buffer.count == 0:
                return None
            return self._buffered_since + (linger if self._buffer.count < PACK_ROWS else 0.0)

    def _refuse_if_full(self, recorded: int) -> None:
        spool = self.spool
        if self._settings.when_full == "refuse" and (
            spool.bytes + self._buffer.count * _ROW_BYTES >= spool.max_bytes
        ):
            raise SpoolFullError(
                f"The spool holds {spool.rows} rows without receipt ({spool.bytes} bytes of "
                f"{spool.max_bytes}). Wait until the hub has taken some.",
                recorded,
            )

    def _store(self, runs: list[Run]) -> None:
        """Store runs; the caller holds the store lock."""
        if self._settings.when_full == "drop_oldest" and self.spool.bytes >= self.spool.max_bytes:
            # A tenth at once, so that this stays rare.
            for stream, start, end in self.spool.drop_oldest(self.spool.max_bytes // 10):
                self._report_lost(stream, start, end, "full")
        self.spool.store(runs, self._boot)

    def _report_lost(self, stream: bytes, start: int, end: int, cause: str) -> None:
        self._dropped += end - start
        facts = {"stream": stream.hex(), "start": start, "end": end, "cause": cause}
        self.event("rows_lost", facts)

    def _give_back(self, runs: list[Run]) -> None:
        """Put rows that could not be stored back in front of those measured meanwhile."""
        with self._buffer_lock:
            later = self._buffer.take()
            for run in [*runs, *later]:
                for row in run.rows:
                    self._buffer.add(run.stamp, row)
            self._buffered_since = self._clocks.monotonic() + 1.0
