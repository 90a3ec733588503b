"""What the pipeline knows of devices and models: one gate snapshot, made ready for kernels.

1. Immutable: a new snapshot makes a new directory, and stages swap to it between two micro-batches.
2. Devices keep their slots for ever, so whatever is keyed by slot survives the swap.
What must never live here: decisions. They were compiled by `entitlements` (docs/architecture.md, "Gate snapshot").
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_sdk.wire.topics import shard_of
from hub.pipeline.authenticate import Authenticator
from hub.pipeline.decode import Decoder
from hub.pipeline.gate import Gate
from hub.pipeline.metric_table import MetricTable


@dataclass(frozen=True, slots=True)
class Directory:
    """Lookups for one version of the gate snapshot.

    Attributes:
        version: of the snapshot.
        device_id: u8[N, 16] by slot. shard: u8[N, 2], two hex digits. model: u16[N].
        metrics: the catalogue.
        authenticator, gate, decoder: stages bound to this version.
    """

    version: int
    device_id: NDArray[np.uint8]
    shard: NDArray[np.uint8]
    model: NDArray[np.uint16]
    metrics: MetricTable
    authenticator: Authenticator
    gate: Gate
    decoder: Decoder

    @classmethod
    def build(
        cls,
        version: int,
        arrays: Mapping[str, NDArray[Any]],
        root: str,
        before: "Directory | None" = None,
    ) -> "Directory":
        """Build from the arrays of a snapshot; shards of devices known `before` are taken over."""
        device_id = np.ascontiguousarray(arrays["device_id"], np.uint8)
        shard = _shards(device_id, before)
        model = np.ascontiguousarray(arrays["model"], np.uint16)
        metrics = MetricTable.build(arrays)
        return cls(
            version=version,
            device_id=device_id,
            shard=shard,
            model=model,
            metrics=metrics,
            authenticator=Authenticator(device_id, shard, root),
            gate=Gate(
                np.ascontiguousarray(arrays["epoch"], np.uint32),
                np.ascontiguousarray(arrays["span"], np.uint32),
                np.ascontiguousarray(arrays["span_from"], np.int64),
                np.ascontiguousarray(arrays["span_verdict"], np.uint8),
                np.ascontiguousarray(arrays["span_reason"], np.uint8),
            ),
            decoder=Decoder(model, metrics),
        )


def _shards(device_id: NDArray[np.uint8], before: Directory | None) -> NDArray[np.uint8]:
    shard = np.zeros((device_id.shape[0], 2), np.uint8)
    todo = device_id[:, 0] != 0
    if before is not None:
        known = min(before.device_id.shape[0], device_id.shape[0])
        same = (before.device_id[:known] == device_id[:known]).all(axis=1)
        shard[:known][same] = before.shard[:known][same]
        todo[:known] &= ~same
    for slot in np.flatnonzero(todo).tolist():
        shard[slot] = np.frombuffer(
            shard_of(device_id[slot].tobytes().decode("ascii")).encode(), np.uint8
        )
    return shard
