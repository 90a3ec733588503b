"""What the hub tells a product to be or to do, and the answers: states, commands, notices.

1. A command id and a notice id are handled once, also across restarts; a repeated command gets its
   reply again.
2. A handler that raises fails its command or setting, never the device.
3. Messages that break the wire or the trust rules are counted and change nothing.
4. What was meant for a former owner is not done for the next: a command of an older owner epoch is
   refused, a notice dropped. One of an epoch that is still to come waits for its state.

Runs on the device's own thread only.
"""

import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Any

from device_sdk.spool import Spool
from device_sdk.trust import Trust
from device_sdk.wire.codes import ReplyStatus
from device_sdk.wire.messages import Command, Get, Notice, Reply, Reported
from device_sdk.wire.topics import Down, Up

ConfigurationHandler = Callable[[Mapping[str, Any]], Mapping[str, str] | None]
"""Applies a configuration; returns what went wrong by setting, or None."""
CommandHandler = Callable[[Mapping[str, Any]], Mapping[str, Any] | None]
"""Does a command with its arguments; returns its result, or None."""
NoticeHandler = Callable[[Notice], None]
OwnerHandler = Callable[[int], None]
"""Hears of a new owner epoch; 0: nobody owns the product."""

OTHER_OWNER = "other owner"
_REPLIES = 64
_EARLY = 16
_TOLD = "owner_told"
_log = logging.getLogger(__name__)


class Control:
    """Handles down messages other than receipts.

    Args:
        trust: verifies states.
        spool: remembers ids.
        say: publishes `(channel, payload)`.
    """

    def __init__(self, trust: Trust, spool: Spool, say: Callable[[str, bytes], bool]) -> None:
        self._trust = trust
        self._spool = spool
        self._say = say
        self._replies: OrderedDict[bytes, bytes] = OrderedDict()
        self._applied: Mapping[str, Any] = {}
        self._errors: Mapping[str, str] = {}
        self._configuration: ConfigurationHandler | None = None
        self._owner: OwnerHandler | None = None
        self._early: deque[tuple[Down, bytes]] = deque(maxlen=_EARLY)
        self.commands: dict[str, CommandHandler] = {}
        self.notice_handler: NoticeHandler | None = None
        if spool.fact(_TOLD) is None:
            # A product that is new, or that knew its owner before anybody asked to be told.
            self._keep_told()

    def set_configuration_handler(self, handler: ConfigurationHandler) -> None:
        """Use `handler` from now on, and apply the configuration in force with it."""
        self._configuration = handler
        if self._trust.state is not None:
            self._apply(self._trust.configuration)
            self.report()

    def set_owner_handler(self, handler: OwnerHandler) -> None:
        """Use `handler` from now on; it hears of a change that nobody has heard of yet."""
        self._owner = handler
        self._tell_owner()

    def state(self, data: bytes, now_ns: int) -> None:
        """Put a signed state in force and report it; raises `WireError` if it is not acceptable."""
        known, before = self._trust.state is not None, self._trust.configuration
        epoch = self._trust.owner_epoch
        fresh = self._trust.accept(data)
        other = epoch != fresh.owner_epoch
        if other:
            self._replies.clear()
            self._applied, self._errors = {}, {}
        self._tell_owner()
        if other or not known or before != fresh.configuration:
            self._apply(fresh.configuration)
        self.report()
        early, self._early = self._early, deque(maxlen=_EARLY)
        for channel, waiting in early:
            (self.command if channel is Down.COMMAND else self.notice)(waiting, now_ns)

    def command(self, data: bytes, now_ns: int) -> None:
        """Do a command once and reply; raises `WireError` on a malformed one."""
        command = Command.decode(data)
        if self._waits(Down.COMMAND, data, command.owner_epoch):
            return
        if not self._spool.first_time(command.id, now_ns):
            if command.id in self._replies:
                self._say(Up.REPLY, self._replies[command.id])
            return
        reply = self._perform(command, now_ns).encode()
        self._replies[command.id] = reply
        if len(self._replies) > _REPLIES:
            self._replies.popitem(last=False)
        self._say(Up.REPLY, reply)

    def notice(self, data: bytes, now_ns: int) -> None:
        """Hand a notice on once; raises `WireError` on a malformed one."""
        notice = Notice.decode(data)
        if self._waits(Down.NOTICE, data, notice.owner_epoch):
            return
        if notice.owner_epoch not in {None, self._trust.owner_epoch}:
            return
        if self.notice_handler is None or not self._spool.first_time(notice.id, now_ns):
            return
        try:
            self.notice_handler(notice)
        except Exception:  # noqa: BLE001  a product's handler may raise anything
            _log.exception("The handler of notices failed on %s.", notice.code)

    def report(self) -> None:
        """Tell the hub which versions and which configuration are in force."""
        reported = Reported(
            self._trust.state_version, self._applied, self._trust.entitlement_version, self._errors
        )
        self._say(Up.REPORTED, reported.encode())

    def _waits(self, channel: Down, data: bytes, epoch: int | None) -> bool:
        """Put a message of an owner epoch still to come aside until its state is in force."""
        if epoch is None or epoch <= self._trust.owner_epoch:
            return False
        self._early.append((channel, data))
        self._say(Up.GET, Get(("state",), self._trust.state_version).encode())
        return True

    def _tell_owner(self) -> None:
        """Tell the product of its owner epoch until it has been told once, also over a restart."""
        epoch = self._trust.owner_epoch
        if self._owner is None or self._spool.fact(_TOLD) == str(epoch).encode():
            return
        try:
            self._owner(epoch)
        except Exception:  # noqa: BLE001  a product's handler may raise anything
            _log.exception("The handler of owner changes failed; it is called again.")
            return
        self._keep_told()

    def _keep_told(self) -> None:
        self._spool.keep_fact(_TOLD, str(self._trust.owner_epoch).encode())

    def _apply(self, configuration: Mapping[str, Any]) -> None:
        if self._configuration is None:
            return
        try:
            self._errors = dict(self._configuration(configuration) or {})
        except Exception as error:  # noqa: BLE001  a product's handler may raise anything
            _log.exception("The handler of configurations failed.")
            self._errors = dict.fromkeys(configuration, _sentence(error))
            return
        wrong = self._errors.keys()
        kept = {name: value for name, value in self._applied.items() if name in wrong}
        good = {name: value for name, value in configuration.items() if name not in wrong}
        self._applied = {**kept, **good}

    def _perform(self, command: Command, now_ns: int) -> Reply:
        handler = self.commands.get(command.name)
        if handler is None:
            return Reply(command.id, ReplyStatus.REFUSED, message="unknown command")
        if command.owner_epoch not in {None, self._trust.owner_epoch}:
            return Reply(command.id, ReplyStatus.REFUSED, message=OTHER_OWNER)
        if now_ns >= command.expiry:
            return Reply(command.id, ReplyStatus.REFUSED, message="expired")
        try:
            reply = Reply(command.id, ReplyStatus.DONE, dict(handler(command.arguments) or {}))
            reply.encode()
        except Exception as error:  # noqa: BLE001  a product's handler may raise anything
            _log.exception("The handler of command %s failed.", command.name)
            return Reply(command.id, ReplyStatus.FAILED, message=_sentence(error))
        return reply


def _sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]
