"""The device SDK's one public class: measure, and be told what to do.

    device = Device.open("state", hub="https://hub.example:8443", ca_file="ca.pem",
                         serial="HP-000123", model="heat-pump", secret="...", firmware="2.4.0")
    device.measure("temp_c", 21.4)

1. `measure` and `measure_many` never wait for network or disk; `sync` waits for the disk, `flush`
   for the hub.
2. Every row reaches the hub exactly once or stays in the spool, whatever is unplugged when.
3. All methods may be called from any thread. Handlers run one at a time on the device's own thread
   and should be brief; from there everything but `flush`, `wait_connected` and `close` may be
   called.
4. Only this module reads clocks and makes random numbers.
5. Opening enrols where that has not been done yet; a product that may be switched on without a
   network, or beside thousands of others, gives `enrol_within_s` and waits for its turn.
"""

import logging
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from device_sdk import enrol, files
from device_sdk.control import (
    CommandHandler,
    ConfigurationHandler,
    NoticeHandler,
    OwnerHandler,
)
from device_sdk.engine import Clocks, Counters, Engine, Settings
from device_sdk.errors import ClosedError, DeviceError, EnrolmentError
from device_sdk.keys import DeviceKey
from device_sdk.link import KEEPALIVE_S, Link, MqttLink
from device_sdk.marks import Marks, Place
from device_sdk.routes import routes
from device_sdk.spool import Spool
from device_sdk.trust import NO_STATE, Trust
from device_sdk.wire.codes import ClockState
from device_sdk.wire.state import FeatureGrant

_T = TypeVar("_T")
_RETRY_S = 1.0
MOST_WINDOW_S = 900
_log = logging.getLogger(__name__)

SYSTEM_CLOCKS = Clocks(
    wall_ns=time.time_ns,
    monotonic=time.monotonic,
    octets=os.urandom,
    jitter=secrets.SystemRandom().random,
    pause=time.sleep,
)


class Device:
    """A connected product. Make one with `open`.

    Args:
        device_id: id assigned by the hub.
        engine: the device without threads.
        link: its connection.
        clocks: time and chance.
    """

    def __init__(self, device_id: str, engine: Engine, link: Link, clocks: Clocks) -> None:
        self.device_id = device_id
        self._clocks = clocks
        self._engine = engine
        self._link = link
        self._changed = threading.Condition()
        self._inbox: deque[Callable[[], None]] = deque()
        self._closing = False
        self._woken = False
        name = f"homeport-{device_id}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        link.start(_Ears(engine, self._put))

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        hub: str,
        ca_file: str | Path,
        serial: str,
        model: str,
        firmware: str,
        secret: str | None = None,
        enrol_within_s: float = 0.0,
        capabilities: Iterable[str] = (),
        spool_bytes: int = 64 * 1024 * 1024,
        when_full: Literal["refuse", "drop_oldest"] = "refuse",
        linger_s: float = 0.2,
        keepalive_s: int = KEEPALIVE_S,
        mark_file: str | Path | None = None,
        clocks: Clocks = SYSTEM_CLOCKS,
    ) -> Self:
        """Open the device whose state lives in `folder`, enrolling it if that has not been done.

        Args:
            folder: state folder; made with mode 0700 if it is not there. One process at a time may
                use it.
            hub: base address of the hub's API, `https://host:port`.
            ca_file: PEM file with the CA that the hub's certificate is checked against.
            serial: serial number of the product.
            model: product model.
            firmware: firmware version.
            secret: one-time enrolment secret; needed until the device is enrolled.
            enrol_within_s: while that may help, try again to enrol for so many seconds, at the pace that
                the hub asks for: it cannot be reached, has trouble, or too many came at once. 0: say so
                at once.
            capabilities: what the firmware can do.
            spool_bytes: bound on what waits on the disk.
            when_full: what happens at that bound.
            linger_s: how long rows may wait in memory to travel together.
            keepalive_s: a dead connection is noticed after one to two of these; fewer seconds cost
                more traffic.
            mark_file: a second place for what tells whether the state folder was put back to an older
                copy; best where no image of the folder reaches: another partition, a secure element.
            clocks: time and chance; only tests and simulators change them.

        Raises:
            EnrolmentError: the device is not enrolled and could not be; `temporary` says whether to try
                again, `retry_after_s` when.
            SpoolError: the spool cannot be opened.
            DeviceError: the device's key is damaged.
        """
        home = Path(folder)
        files.private_folder(home)
        key = DeviceKey.load_or_create(home / "device.key")
        api = enrol.HubApi(hub, Path(ca_file))
        enrolment = enrol.load(home)
        if enrolment is None:
            if secret is None:
                raise EnrolmentError(
                    f"{serial} is not enrolled yet. Give its one-time enrolment secret as `secret`."
                )
            first = partial(api.enrol, serial, model, secret, key)
            enrolment = enrol.patiently(
                first,
                enrol_within_s,
                monotonic=clocks.monotonic,
                jitter=clocks.jitter,
                pause=clocks.pause,
            )
            enrol.save(home, enrolment)
        keys = {bytes.fromhex(kid): bytes.fromhex(raw) for kid, raw in enrolment.signing_keys}
        spool = Spool(home / "spool.db", new_stream=lambda: clocks.octets(8), max_bytes=spool_bytes)
        places = [Place(lambda: spool.fact("mark"), lambda data: spool.keep_fact("mark", data))]
        if mark_file is not None:
            places.append(Place.file(Path(mark_file)))
        marks = Marks(enrolment.device_id, places)
        trust = Trust(home / "state.json", enrolment.device_id, key.hash(), keys, marks)
        api = replace(api, learned=lambda: routes(renewal.enrolment, trust.state)[0].trust)
        renewal = enrol.Renewal(home, api, key, enrolment)
        link = MqttLink(
            enrolment.device_id,
            certificate=home / "certificate.pem",
            key=key.path,
            routes=lambda: routes(renewal.enrolment, trust.state),
            monotonic=clocks.monotonic,
            jitter=clocks.jitter,
            keepalive_s=keepalive_s,
        )
        settings = Settings(firmware, tuple(capabilities), when_full, linger_s)
        engine = Engine(spool, trust, link, clocks, settings, _renewing(renewal), api.signing_keys)
        return cls(enrolment.device_id, engine, link, clocks)

    def measure(self, metric: str, value: float, at_ns: int | None = None) -> None:
        """Take one value.

        Args:
            metric: name, `[a-z][a-z0-9_]{1,47}`.
            value: a finite number in the unit of the product model.
            at_ns: when, in ns since 1970; None: now.

        Raises:
            ValueError: the name or value cannot be sent.
            SpoolFullError: by the policy `refuse`.
        """
        self.measure_many({metric: value}, at_ns)

    def measure_many(self, values: Mapping[str, float], at_ns: int | None = None) -> None:
        """Take several metrics of one instant as one row; otherwise like `measure`."""
        self._check_open()
        if self._engine.measure(values, at_ns):
            self._wake()

    def record(
        self, rows: Iterable[tuple[int, Mapping[str, float]]], *, historical: bool = True
    ) -> int:
        """Store many rows at once; on the disk on return, memory stays bounded.

        Args:
            rows: `(time in ns since 1970, numbers by metric)`.
            historical: recorded earlier; the hub never corrects their times.

        Returns:
            Count of rows.

        Raises:
            ValueError: a row cannot be sent.
            SpoolFullError: the spool filled up; its `recorded` tells how many rows were stored.
        """
        self._check_open()
        try:
            return self._engine.record(rows, historical=historical)
        finally:
            self._wake()

    def sync(self) -> None:
        """Return when everything measured so far is on the disk."""
        self._check_open()
        self._engine.sync()
        self._wake()

    def flush(self, timeout: float) -> bool:
        """Wait until everything measured so far has its receipt.

        Args:
            timeout: seconds to wait at most.

        Returns:
            Whether that is so.
        """
        self.sync()
        last = self._engine.spool.newest()
        return self._wait(lambda: (self._engine.spool.oldest() or last + 1) > last, timeout)

    def wait_connected(self, timeout: float) -> bool:
        """Wait until the device is connected; tells whether it is."""
        return self._wait(lambda: self._engine.connected, timeout)

    @property
    def connected(self) -> bool:
        """Whether the device is connected right now."""
        return self._engine.connected

    @property
    def pending(self) -> int:
        """Rows without receipt."""
        return self._engine.pending

    @property
    def counters(self) -> Counters:
        """Counts since opening."""
        return self._engine.counters()

    @property
    def configuration(self) -> Mapping[str, Any]:
        """Desired configuration of the state in force."""
        return dict(self._engine.trust.configuration)

    @property
    def owner_epoch(self) -> int:
        """Owner epoch in force, which rises with each change of owner; 0: nobody owns the product."""
        return self._engine.trust.owner_epoch

    def entitled(self, feature: str) -> bool:
        """Tell whether the product may do `feature`, by the signed state, without the network."""
        return self.why(feature).allowed

    def why(self, feature: str) -> FeatureGrant:
        """Return the decision on `feature` with its reason.

        It is made at the earliest instant that it can be by the hub's time: what the product's own
        clock shows does not count, and one that drifts takes nothing away that is paid for.
        """
        now_ns = self._engine.clock.earliest_ns()
        if now_ns is None:
            return NO_STATE
        return self._engine.trust.decide(feature, now_ns // 1_000_000_000)

    def entitlements(self) -> Mapping[str, FeatureGrant]:
        """Return the decisions on all features that the hub spoke of, by name; none before it did."""
        token = self._engine.trust.token
        return {name: self.why(name) for name in token.features} if token else {}

    def hub_time(self) -> tuple[int, int | None] | None:
        """Return the earliest that it can be by the hub's time, and by how much it may be later.

        Returns:
            ns since 1970 and ns, or None if the hub was never heard of. The second is None until
            the hub has answered since the product was switched on.
        """
        now_ns = self._engine.clock.earliest_ns()
        return None if now_ns is None else (now_ns, self._engine.clock.error_ns())

    def event(self, name: str, arguments: Mapping[str, Any] | None = None) -> None:
        """Tell the hub that something happened; up to 64 events wait in memory for a connection."""
        self._check_open()
        self._engine.event(name, arguments or {})
        self._wake()

    def open_claim_window(self, seconds: int = 300) -> bool:
        """Show the hub that somebody has the product in hand: call it when its button is pressed.

        While the window is open the product can be claimed with the code on its label. The press is
        told now or not at all: one that waited for a connection would open the window later, when
        nobody stands at the product.

        Args:
            seconds: how long it is open from when the hub hears of it, 0 to 900; 0 closes it.

        Returns:
            Whether the product is connected, so that the press is on its way.

        Raises:
            ValueError: no such number of seconds.
        """
        if not 0 <= seconds <= MOST_WINDOW_S:
            raise ValueError(f"a claim window is open for 0 to {MOST_WINDOW_S} s, not {seconds}")
        self._check_open()
        if not self._engine.connected:
            return False
        self.event("claim_window", {"seconds": seconds})
        return True

    def tell_factory_reset(self) -> None:
        """Tell the hub that the product was reset to factory settings; it waits for a connection.

        The product stays its owner's, unless they prepared to hand it over.
        """
        self.event("factory_reset")

    def set_clock_state(self, state: ClockState) -> None:
        """Say how far the product's clock can be trusted; synced is assumed until then.

        While it is unset, what is measured without a time gets the hub's, as soon as that is known.
        """
        self._engine.clock_state = ClockState(state)

    def set_network(self, *, available: bool) -> None:
        """Say whether there is a network; it is assumed until then.

        Without one the device saves the power of trying, and measures on. When it is back, the
        device connects at once instead of when its patience runs out.
        """
        self._link.set_network(available=available)

    def on_configuration(self, handler: ConfigurationHandler) -> None:
        """Call `handler(configuration)` for the configuration in force and for each change.

        It may return `{setting: what went wrong}`; the rest counts as applied.
        """
        self._put(lambda: self._engine.control.set_configuration_handler(handler))

    def on_owner_change(self, handler: OwnerHandler) -> None:
        """Call `handler(owner_epoch)` when the product has another owner, before its configuration.

        Personal data belongs deleted there. It is called once for each change, also for one that came
        while the product was off or nobody listened, and again after a restart if it raised.
        What was measured before is still sent, under the epoch it was measured in.
        """
        self._put(lambda: self._engine.control.set_owner_handler(handler))

    def on_command(self, name: str, handler: CommandHandler) -> None:
        """Call `handler(arguments)` for each command `name`; it may return a result map."""
        self._engine.control.commands[name] = handler

    def on_notice(self, handler: NoticeHandler) -> None:
        """Call `handler(notice)` for each notice, once."""
        self._engine.control.notice_handler = handler

    def close(self) -> None:
        """Put everything on the disk, say goodbye and stop; what is unsent goes out next time."""
        self._refuse_on_own_thread()
        with self._changed:
            if self._closing:
                return
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        self._link.close()
        self._engine.sync()
        self._engine.upkeep.keep_time()
        self._engine.spool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closing:
            raise ClosedError(f"Device {self.device_id} was closed. Open it again to go on.")

    def _put(self, deed: Callable[[], None]) -> None:
        """Have something done on the device's thread."""
        with self._changed:
            self._inbox.append(deed)
            self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def _wait(self, ready: Callable[[], bool], timeout: float) -> bool:
        self._refuse_on_own_thread()
        with self._changed:
            return self._changed.wait_for(lambda: ready() or self._closing, timeout) and ready()

    def _refuse_on_own_thread(self) -> None:
        if threading.current_thread() is self._thread:
            raise DeviceError("A handler must not wait for the device: it runs on its thread.")

    def _run(self) -> None:
        due: float | None = 0.0
        while deeds := self._next_deeds(due):
            for deed in deeds:
                self._guard(deed)
            due = self._guard(self._engine.step)
            with self._changed:
                self._changed.notify_all()

    def _next_deeds(self, due: float | None) -> list[Callable[[], None]]:
        """Wait for something to do; empty when the device closes."""
        with self._changed:
            while not (self._closing or self._woken or self._inbox):
                left = None if due is None else due - self._clocks.monotonic()
                if left is not None and left <= 0:
                    break
                self._changed.wait(left)
            if self._closing:
                return []
            self._woken = False
            deeds = [*self._inbox, _nothing]
            self._inbox.clear()
            return deeds

    def _guard(self, deed: Callable[[], _T]) -> _T | float:
        """Do something; a failure is logged and tried again, never the end of the thread."""
        try:
            return deed()
        except Exception:  # noqa: BLE001  the thread must outlive any handler or disk error
            _log.exception("Device %s failed at a step and goes on.", self.device_id)
            return self._clocks.monotonic() + _RETRY_S


class _Ears:
    """Hears the link on its thread and passes everything to the device's."""

    def __init__(self, engine: Engine, put: Callable[[Callable[[], None]], None]) -> None:
        self._engine = engine
        self._put = put

    def connected(self) -> None:
        self._put(self._engine.on_connected)

    def disconnected(self) -> None:
        self._put(self._engine.on_disconnected)

    def refused(self) -> None:
        self._put(self._engine.upkeep.refused)

    def received(self, channel: str, payload: bytes) -> None:
        self._put(lambda: self._engine.on_message(channel, payload))


def _renewing(renewal: enrol.Renewal) -> Callable[[int, bool], bool]:
    return lambda now_ns, forced: renewal.renew_if_due(now_ns, forced=forced)


def _nothing() -> None:
    """Stand for a wake-up without anything particular to do."""
