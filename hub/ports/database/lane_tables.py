"""Which worker has which lane of telemetry; see `hub/services/lane_leases.py`.

1. No instants here: a lease is stale by how long its beat stands still on the clock of who looks.
2. A token only rises, also when nobody has the lane.
"""

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from hub.ports.database.tables import Base, Name


class IngestLane(Base):
    """The lease of one lane: who has it (empty: nobody), and who asked to get it back (empty: nobody)."""

    __tablename__ = "ingest_lane"

    lane: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    holder: Mapped[Name]
    token: Mapped[int] = mapped_column(BigInteger)
    beat: Mapped[int] = mapped_column(BigInteger)
    wanted_by: Mapped[Name]
