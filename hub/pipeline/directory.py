"""What the pipeline knows of devices and models: one gate snapshot, made ready for kernels.

1. A new version makes a new directory, and stages swap to it between two micro-batches.
2. A directory takes over what it can of the one before, which must not be used any more: the arrays themselves where
   the version is a patch, so that a swap costs as much as changed.
3. Devices keep their slots for ever, so whatever is keyed by slot survives the swap.
What must never live here: decisions. They were compiled by `entitlements` (docs/architecture.md, "Gate snapshot").
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_sdk.wire.topics import shard_of
from hub.pipeline.authenticate import Authenticator
from hub.pipeline.budget import Buckets, Budgets
from hub.pipeline.decode import Decoder
from hub.pipeline.gate import Gate
from hub.pipeline.metric_table import MetricTable
from hub.services.snapshot_file import Snapshot, read_snapshot


@dataclass(frozen=True, slots=True)
class Directory:
    """Lookups for one version of the gate snapshot.

    Attributes:
        version: of the snapshot.
        device_id: u8[N, 16] by slot. shard: u8[N, 2], two hex digits. model: u16[N].
        cohort: u32[N], whose values a product's are compared with; 0 for nobody's.
        metrics: the catalogue.
        authenticator, gate, budgets, decoder: stages bound to this version.
        snapshot: the mapped file; `None` where the arrays came from elsewhere.
    """

    version: int
    device_id: NDArray[np.uint8]
    shard: NDArray[np.uint8]
    model: NDArray[np.uint16]
    cohort: NDArray[np.uint32]
    metrics: MetricTable
    authenticator: Authenticator
    gate: Gate
    budgets: Budgets
    decoder: Decoder
    snapshot: Snapshot | None = None

    @classmethod
    def read(cls, folder: Path, root: str, before: "Directory | None" = None) -> "Directory":
        """Read the newest snapshot of a folder; `before` is given up.

        Raises:
            StorageError: there is none yet, or it is damaged.
        """
        held = None if before is None else before.snapshot
        snapshot = read_snapshot(folder, held)
        if before is not None and held is not None and snapshot.arrays is held.arrays:
            return before.patched(snapshot)
        return replace(
            cls.build(snapshot.version, snapshot.arrays, root, before), snapshot=snapshot
        )

    @classmethod
    def build(
        cls,
        version: int,
        arrays: Mapping[str, NDArray[Any]],
        root: str,
        before: "Directory | None" = None,
    ) -> "Directory":
        """Build from the arrays of a snapshot; `before` is given up."""
        device_id = np.ascontiguousarray(arrays["device_id"], np.uint8)
        model = np.ascontiguousarray(arrays["model"], np.uint16)
        metrics = MetricTable.build(arrays)
        shard = np.zeros((device_id.shape[0], 2), np.uint8)
        authenticator = None
        if before is not None and (news := _joined(before.device_id, device_id)) is not None:
            known = min(before.shard.shape[0], shard.shape[0])
            shard[:known] = before.shard[:known]
            _fill_shards(device_id, news, shard)
            authenticator = before.authenticator.moved(device_id, shard, news)
        if authenticator is None:
            _fill_shards(
                device_id, np.flatnonzero((device_id[:, 0] != 0) & (shard[:, 0] == 0)), shard
            )
            authenticator = Authenticator(device_id, shard, root)
        return cls(
            version=version,
            device_id=device_id,
            shard=shard,
            model=model,
            cohort=np.ascontiguousarray(arrays["cohort"], np.uint32),
            metrics=metrics,
            authenticator=authenticator,
            gate=Gate(
                np.ascontiguousarray(arrays["epoch"], np.uint32),
                np.ascontiguousarray(arrays["span"], np.uint32),
                np.ascontiguousarray(arrays["span_from"], np.int64),
                np.ascontiguousarray(arrays["span_verdict"], np.uint8),
                np.ascontiguousarray(arrays["span_reason"], np.uint8),
                np.ascontiguousarray(arrays["span_budget"], np.uint16),
            ),
            budgets=Budgets(
                np.ascontiguousarray(arrays["owner"], np.uint32),
                np.ascontiguousarray(arrays["budget"], np.int64),
                Buckets() if before is None else before.budgets.buckets,
            ),
            decoder=Decoder(model, metrics),
        )

    def patched(self, snapshot: Snapshot) -> "Directory":
        """The same lookups after `read_snapshot` patched their arrays in place, with the devices that are new."""
        rows = snapshot.changed["device_id"]
        news = rows[(self.device_id[rows, 0] != 0) & (self.shard[rows, 0] == 0)]
        _fill_shards(self.device_id, news, self.shard)
        self.authenticator.learn(news)
        self.budgets.fit(renumbered=False)
        return replace(self, version=snapshot.version, snapshot=snapshot)

    def foreign(self, lane: int, lanes: int) -> NDArray[np.bool_]:
        """Tell which devices belong to another one of the lanes, bool[N] by slot."""
        digits = np.frombuffer(b"0123456789abcdef", np.uint8)
        value: NDArray[np.int64] = np.searchsorted(digits, self.shard)
        foreign: NDArray[np.bool_] = (16 * value[:, 0] + value[:, 1]) % lanes != lane
        foreign &= self.shard[:, 0] != 0
        return foreign


def _joined(before: NDArray[np.uint8], now: NDArray[np.uint8]) -> NDArray[np.int64] | None:
    """The slots whose devices joined, i64[K]; `None` if a device left, which only another hub's snapshot can do."""
    known = min(before.shape[0], now.shape[0])
    if before[known:].any():
        return None
    differs = before[:known].view(np.uint64) != now[:known].view(np.uint64)
    news = np.flatnonzero(differs[:, 0] | differs[:, 1])
    if before[news].any():
        return None
    return np.concatenate((news, known + np.flatnonzero(now[known:, 0])))


def _fill_shards(
    device_id: NDArray[np.uint8], slots: NDArray[np.int64], shard: NDArray[np.uint8]
) -> None:
    for slot in slots.tolist():
        shard[slot] = np.frombuffer(
            shard_of(device_id[slot].tobytes().decode("ascii")).encode(), np.uint8
        )
