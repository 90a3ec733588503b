"""What the hub does with what the meter tells: quotas used up, notices to products, live events.

1. `apply` runs in the reactor's transaction, `publish` after it committed.
2. When terms change, a quota may be used up, or not any more, without anything being counted: products
   whose facts changed are settled by what their accounts say.
"""

from collections.abc import Callable, Iterable, Sequence

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from device_sdk.wire.topics import Down
from hub.app.findings_desk import Send
from hub.app.log_records import Entry
from hub.metrics import Metrics
from hub.ports.database.engine import read_session, write_session
from hub.ports.store.port import TelemetryStore
from hub.services import changes, pushes, usage_limits
from hub.services.events import Event
from hub.services.usage_accounts import Accounts
from hub.services.usage_archive import Totals
from hub.services.usage_limits import Told

PART = 20
"""Products that are settled in one transaction."""


class UsageDesk:
    """Takes the log of the meter.

    Args:
        engine: the database.
        store: the archive.
        accounts: reads the accounts that the meter published.
        send: hands notices to the broker.
        tell: tells live listeners.
        clock: the present time, ns.
        metrics: of this process.
    """

    def __init__(
        self,
        engine: Engine,
        store: TelemetryStore,
        accounts: Accounts,
        send: Send,
        tell: Callable[[Event], None],
        clock: Callable[[], int],
        metrics: Metrics,
    ) -> None:
        self._engine = engine
        self._store = store
        self._archive = Totals(store)  # what the present batch of records asks for
        self._accounts = accounts
        self._send = send
        self._tell = tell
        self._clock = clock
        self._shares = {
            usage_limits.REACHED: metrics.usage_shares.labels("reached"),
            usage_limits.FREED: metrics.usage_shares.labels("left"),
        }

    def foresee(self, entries: Sequence[Entry], at: int) -> None:
        """Read from the archive what `apply` will ask for."""
        self._archive = Totals(self._store)
        with read_session(self._engine) as session:
            usage_limits.foresee(session, self._archive, _records(entries), at)

    def apply(self, session: Session, entries: Sequence[Entry], at: int) -> list[Told]:
        """Take records into the database; see `Follower.apply`."""
        return usage_limits.apply(session, self._archive, _records(entries), at)

    def publish(self, told: Sequence[Told]) -> None:
        """Send notices to products and tell live listeners."""
        for one in told:
            notice = one.notice
            self._shares[notice.code].inc()
            self._send(one.device_id, Down.NOTICE, pushes.notice_payload(notice))
            data = {"code": notice.code, **notice.arguments}
            self._tell(Event("usage", notice.created_at, one.product_id, one.owner_id, data))

    def settle(self, products: Iterable[str], archive: Totals) -> None:
        """Settle products whose facts changed; for `EVERY_PRODUCT` those with a quota that is used up.

        Args:
            products: which.
            archive: reads it, and may have read some of it a moment ago.
        """
        named = set(products)
        every = changes.EVERY_PRODUCT in named
        named.discard(changes.EVERY_PRODUCT)
        if every:
            with read_session(self._engine) as session:
                named.update(usage_limits.held_products(session, self._clock()))
        waiting = sorted(named)
        for first in range(0, len(waiting), PART):
            part, at, accounts = waiting[first : first + PART], self._clock(), self._accounts()
            with read_session(self._engine) as session:
                usage_limits.foresee_products(session, archive, part, accounts, at)
            with write_session(self._engine) as session:
                told = usage_limits.settle_products(session, archive, part, accounts, at)
            self.publish(told)


def _records(entries: Sequence[Entry]) -> list[dict[str, int]]:
    return [dict(entry.record) for entry in entries]
