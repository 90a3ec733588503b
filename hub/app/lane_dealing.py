"""Makes the lanes of a hub, before any worker runs.

1. Lanes are a power of two, so that each new one takes its products from one old lane.
2. The folders of the journals say how many there are; they are made last, so a crash leaves the old number.
"""

from hub.config import Settings
from hub.errors import ConflictError
from hub.ports.journal.durability import make_folder
from hub.ports.journal.segments import list_segments


def made(settings: Settings) -> int:
    """Return how many lanes have a journal."""
    lanes = 0
    while settings.journal_dir(lanes).is_dir():
        lanes += 1
    return lanes


def deal(settings: Settings) -> None:
    """Make the lanes that are missing.

    Raises:
        ConflictError: products would have to move to another lane.
    """
    before = made(settings)
    if before < settings.lanes and any(
        list_segments(settings.journal_dir(n)) for n in range(before)
    ):
        raise ConflictError(
            f"This hub deals its products to {before} lanes and would need {settings.lanes} for "
            f"{settings.ingest.workers} workers. Start it with ingest.workers of {before} or less."
        )
    for lane in range(before, settings.lanes):
        make_folder(settings.journal_dir(lane))
