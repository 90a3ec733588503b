"""What the hub does with a worker's findings: alerts in the database, then notices and live events.

1. `apply` runs in the reactor's transaction, `publish` after it committed.
2. A notice that does not arrive now is sent again at the device's next birth.
"""

import logging
from collections.abc import Callable, Sequence

from sqlalchemy.orm import Session

from device_sdk.wire.topics import Down
from hub.app.log_records import Entry
from hub.services import alert_desk, alerts, pushes
from hub.services.alert_desk import AlertView
from hub.services.alert_kinds import kind_word
from hub.services.alerts import AlertChange
from hub.services.caller import HUB
from hub.services.events import Event
from hub.services.found import Found

_log = logging.getLogger("homeport.findings")

Send = Callable[[str, Down, bytes], bool]
"""Hands a payload to the broker for a device; says whether it took it."""

Changes = list[tuple[AlertChange, Event]]


class FindingsDesk:
    """Takes the findings of all workers.

    Args:
        send: hands notices to the broker.
        tell: tells live listeners.
        count: told kind and change of each alert that changed.
    """

    def __init__(
        self,
        send: Send,
        tell: Callable[[Event], None],
        count: Callable[[str, str], None] = lambda _kind, _change: None,
    ) -> None:
        self._send = send
        self._tell = tell
        self._count = count

    def apply(self, session: Session, entries: Sequence[Entry], at: int) -> Changes:
        """Write findings and open or update alerts; see `Follower.apply`."""
        found = [Found.of(entry.record) for entry in entries]
        return self.announced(session, alerts.apply_findings(session, found, at), at)

    def announced(self, session: Session, changed: Sequence[AlertChange], at: int) -> Changes:
        """Return changes with what live listeners are told of them; call it before the commit."""
        return [
            (change, alert_desk.live_event(change, _seen(session, change), at))
            for change in changed
        ]

    def publish(self, changes: Changes) -> None:
        """Send notices to devices and tell live listeners."""
        for change, event in changes:
            kind = kind_word(change.alert.kind)
            self._count(kind, change.change)
            sent = None
            if change.notice is not None:
                payload = pushes.notice_payload(change.notice)
                sent = self._send(change.device_id, Down.NOTICE, payload)
            self._tell(event)
            facts = {"device": change.device_id, "alert": change.alert.id, "trace": change.trace}
            _log.info("alert %s", change.change, extra={"kind": kind, "notice_sent": sent, **facts})


def _seen(session: Session, change: AlertChange) -> AlertView:
    return alert_desk.view(session, HUB, change.alert.id)
