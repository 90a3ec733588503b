"""Answers what a fleet would need of the machine that this hub runs on.

1. Everything is read from outside: settings, the machine, published metrics, the manifest of the store.
2. Without a running hub, or before it has had load, the shipped figures answer.
What must never live here: formulas.
"""

import os
import resource
from contextlib import suppress
from pathlib import Path

from hub.config import Settings
from hub.errors import StorageError
from hub.metrics import Metrics, merged
from hub.ports.journal.durability import free_bytes
from hub.ports.store.manifest import Manifest
from hub.services.capacity import compute
from hub.services.capacity_here import calibrated
from hub.services.capacity_model import Fleet, Machine, Needs, shipped


class CapacityDesk:
    """For any number of threads.

    Args:
        settings: of the hub.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @property
    def kept(self) -> str:
        """How long telemetry is kept of products whose plan does not say, as `parse_kept` reads it."""
        return "/".join("-" if one is None else str(one) for one in self._settings.retention.days)

    def answer(self, fleet: Fleet) -> Needs:
        """Say what a fleet needs, by the best figures that there are."""
        figures, _ = shipped()
        settings = self._settings
        manifest = Manifest()
        with suppress(OSError, StorageError):
            manifest = Manifest.read(settings.store_dir)
        families = merged(Metrics("capacity"), settings.run_dir / "metrics").collect()
        return compute(fleet, calibrated(figures, families, manifest), self._machine())

    def _machine(self) -> Machine:
        settings = self._settings
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        return Machine(
            cores=os.cpu_count(),
            memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
            disk=self._disk(),
            connections=settings.broker.max_connections,
            files=None if most == resource.RLIM_INFINITY else most,
            segment=settings.ingest.segment_bytes,
            cadence_s=settings.ingest.cadence_ms / 1_000,
        )

    def _disk(self) -> float | None:
        """Return what is free for telemetry, and what the hub's parts have of it already."""
        settings = self._settings
        folder = settings.data_dir
        while not folder.is_dir() and folder != folder.parent:
            folder = folder.parent
        with suppress(OSError):
            parts = (settings.data_dir / "journal", settings.store_dir)
            own = sum(_size(path) for part in parts for path in part.rglob("*"))
            return max(0, free_bytes(folder) - settings.ingest.reserve_bytes) + own
        return None


def _size(path: Path) -> int:
    with suppress(OSError):  # gone since it was listed
        return path.lstat().st_size
    return 0
