"""What one thing costs on this very hub, by what it has counted under load: better than what was measured elsewhere.

1. Only what was counted often enough says anything; until then the shipped figures stand.
2. A worker's three costs are scaled by one factor: what its stages took, over what the shipped figures say they should
   have taken for the same messages, samples and turns. Waiting for the disk is in it, as it keeps the worker busy.
3. Bytes are those of the live files of the store.
What must never live here: where metrics and manifest come from.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from prometheus_client.metrics_core import Metric

from hub.ports.store.manifest import Manifest
from hub.services.capacity_model import Figure

ENOUGH: Final = 10_000
"""Messages, rows or aggregates."""
_WORKER: Final = ("worker_us_per_message", "worker_us_per_sample", "worker_us_per_turn")


def calibrated(
    figures: Mapping[str, Figure], families: Iterable[Metric], manifest: Manifest
) -> dict[str, Figure]:
    """Replace figures by what this hub has counted.

    Args:
        figures: the shipped ones, by name.
        families: metrics of all processes.
        manifest: of the embedded store.
    """
    counted: dict[str, float] = defaultdict(float)
    for family in families:
        for sample in family.samples:
            counted[sample.name] += sample.value
    found = dict(figures)
    for one in (*_worker(figures, counted), *_meter(counted), *_store(manifest)):
        found[one.name] = one
    return found


def _worker(figures: Mapping[str, Figure], counted: Mapping[str, float]) -> list[Figure]:
    frames = counted["homeport_received_frames_total"]
    if frames < ENOUGH:
        return []
    counts = (
        frames,
        counted["homeport_journalled_samples_total"],
        counted["homeport_batch_frames_count"],
    )
    expected = sum(figures[name].value * count for name, count in zip(_WORKER, counts, strict=True))
    took = counted["homeport_stage_seconds_sum"] * 1e6
    if expected <= 0 or took <= 0:
        return []
    factor = took / expected
    source = (
        f"{took / frames:.3g} us a message, all in all, of {frames:,.0f} messages: * {factor:.2f}"
    )
    return [
        replace(figures[name], value=figures[name].value * factor, source=source, here=True)
        for name in _WORKER
    ]


def _meter(counted: Mapping[str, float]) -> list[Figure]:
    rows, took = counted["homeport_meter_rows_total"], counted["homeport_meter_step_seconds_sum"]
    if rows < ENOUGH or took <= 0:
        return []
    return [
        Figure("meter_us_per_row", took / rows * 1e6, f"steps over {rows:,.0f} rows", here=True)
    ]


def _store(manifest: Manifest) -> list[Figure]:
    found = []
    samples = sum(file.samples for file in manifest.files)
    if samples >= ENOUGH:
        size = sum(file.size for file in manifest.files)
        source = f"{len(manifest.files)} files with {samples:,} samples"
        found.append(Figure("raw_bytes_per_sample", size / samples, source, here=True))
    for level in dict.fromkeys(file.level for file in manifest.rollups):
        own = [file for file in manifest.rollups if file.level == level]
        entries = sum(file.entries for file in own)
        if entries >= ENOUGH:
            source = f"{len(own)} files with {entries:,} aggregates"
            size = sum(file.size for file in own)
            found.append(Figure(f"{level}_bytes_per_aggregate", size / entries, source, here=True))
    return found
