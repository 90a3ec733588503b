"""Leases on lanes of telemetry: who may write a lane, told by rows of the database.

1. Taking is one conditional update on what was seen: of two who see the same, one gets it.
2. Each taking raises the lane's token, above every token that its journal has seen.
3. No clock, here or in the rows. A holder beats; who sees a beat stand still for the term on a clock of its own may
   take the lane. So clocks that are wrong, or moved, change nothing (the lock of Amazon's DynamoDB client works so).
4. A holder trusts its lease for less than the term from before its last beat; see `hub.app.lane_hold`.
What must never live here: what a lane is, or how a worker is kept from writing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from hub.ports.database.engine import read_session, write_session
from hub.ports.database.lane_tables import IngestLane

NOBODY = ""


@dataclass(frozen=True, slots=True)
class Lease:
    """One row as it was seen.

    Attributes:
        lane: its number.
        holder: name of the worker that has it; `NOBODY`: it is free.
        token: of the holder, or of the last one.
        beat: rises while the holder lives.
        wanted_by: name of the worker that asked to get it back; `NOBODY`: none did.
    """

    lane: int
    holder: str
    token: int
    beat: int
    wanted_by: str = NOBODY


def deal(session: Session, lanes: int) -> None:
    """Make the rows of lanes that have none; all of them are free."""
    known = set(session.scalars(select(IngestLane.lane)))
    session.add_all(
        IngestLane(lane=lane, holder=NOBODY, token=0, beat=0, wanted_by=NOBODY)
        for lane in range(lanes)
        if lane not in known
    )


class LaneLeases:
    """The leases of a hub.

    Args:
        engine: the database; all lanes were dealt.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def look(self) -> list[Lease]:
        """Return all leases, by lane."""
        with read_session(self._engine) as session:
            rows = session.scalars(select(IngestLane).order_by(IngestLane.lane))
            return [Lease(r.lane, r.holder, r.token, r.beat, r.wanted_by) for r in rows]

    def take(self, seen: Lease, holder: str, above: int = 0) -> int | None:
        """Take a lane that is as it was seen.

        Args:
            seen: the lease when it was found to be free or stale.
            holder: who takes it.
            above: a token that the lane's journal has seen: the database may be older than that.

        Returns:
            The new token; None if the lease is not as it was seen any more.
        """
        token = max(seen.token, above) + 1
        with write_session(self._engine) as session:
            changed = session.execute(
                update(IngestLane)
                .where(
                    IngestLane.lane == seen.lane,
                    IngestLane.holder == seen.holder,
                    IngestLane.token == seen.token,
                    IngestLane.beat == seen.beat,
                )
                .values(holder=holder, token=token, beat=0, wanted_by=NOBODY)
                .returning(IngestLane.lane)
            ).first()
        return None if changed is None else token

    def beat(self, held: Mapping[int, int]) -> frozenset[int]:
        """Beat for lanes that somebody holds.

        Args:
            held: lane: token.

        Returns:
            The lanes that are still theirs.
        """
        still = set()
        with write_session(self._engine) as session:
            for lane, token in held.items():
                kept = session.execute(
                    update(IngestLane)
                    .where(
                        IngestLane.lane == lane,
                        IngestLane.token == token,
                        IngestLane.holder != NOBODY,
                    )
                    .values(beat=IngestLane.beat + 1)
                    .returning(IngestLane.lane)
                ).first()
                if kept is not None:
                    still.add(lane)
        return frozenset(still)

    def release(self, held: Mapping[int, int]) -> None:
        """Let go of lanes (lane: token), so that others need not wait for the term."""
        with write_session(self._engine) as session:
            for lane, token in held.items():
                session.execute(
                    update(IngestLane)
                    .where(IngestLane.lane == lane, IngestLane.token == token)
                    .values(holder=NOBODY, beat=IngestLane.beat + 1)
                )

    def ask(self, lanes: Iterable[int], who: str) -> None:
        """Ask whoever holds some lanes to give them to `who`."""
        with write_session(self._engine) as session:
            session.execute(
                update(IngestLane)
                .where(IngestLane.lane.in_(list(lanes)), IngestLane.holder != who)
                .values(wanted_by=who)
            )
