"""Which lanes a worker takes, asks for and gives back: decided from what it sees of the leases.

1. A worker has home lanes, dealt by its number; it takes others when they stand still, and gives them back when their
   home worker asks. So lanes spread evenly, and nobody waits for a dead one.
2. Stale is what stood still for the term on this worker's own clock, since it first saw it so.
3. What has its own name is its predecessor's, which its supervisor has buried: it takes that at once.
What must never live here: a clock, the database, threads.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from hub.services.lane_leases import NOBODY, Lease


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now.

    Attributes:
        take: leases to take, as they were seen.
        ask: lanes to ask for.
        give: lanes to give back.
    """

    take: list[Lease] = field(default_factory=list)
    ask: list[int] = field(default_factory=list)
    give: list[int] = field(default_factory=list)


class LaneWatch:
    """Looks at the leases for one worker.

    Args:
        name: of the worker; no other may have it.
        home: its own lanes.
        term_s: how long a lease stands still until it is stale.
    """

    def __init__(self, name: str, home: Collection[int], term_s: float) -> None:
        self._name = name
        self._home = frozenset(home)
        self._term_s = term_s
        self._seen: dict[int, tuple[Lease, float]] = {}

    def plan(self, leases: Iterable[Lease], held: Collection[int], now_s: float) -> Plan:
        """Say what to do.

        Args:
            leases: all, as they stand.
            held: lanes that this worker has.
            now_s: seconds that only go forward, from before the leases were read.
        """
        plan = Plan()
        for lease in leases:
            if lease.lane in held:
                self._seen.pop(lease.lane, None)
                if lease.wanted_by not in (NOBODY, self._name) and lease.lane not in self._home:
                    plan.give.append(lease.lane)
            elif self._may_take(lease, self._stood_still(lease, now_s)):
                plan.take.append(lease)
            elif lease.lane in self._home and lease.wanted_by != self._name:
                plan.ask.append(lease.lane)
        return plan

    def _stood_still(self, lease: Lease, now_s: float) -> float:
        before, since = self._seen.get(lease.lane, (None, now_s))
        same = before is not None and (before.holder, before.token, before.beat) == (
            lease.holder,
            lease.token,
            lease.beat,
        )
        if not same:
            since = now_s
        self._seen[lease.lane] = lease, since
        return now_s - since

    def _may_take(self, lease: Lease, still_s: float) -> bool:
        if lease.holder == self._name:
            return True
        if lease.holder == NOBODY and lease.lane in self._home:
            return True
        return still_s >= self._term_s
