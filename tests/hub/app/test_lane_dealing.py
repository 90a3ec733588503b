"""A hub that gets more workers: each product's new lane knows what its old one promised."""

from functools import partial
from pathlib import Path

import pytest

from hub.app import lane_dealing
from hub.app.ingest import IngestConfig, filters_of
from hub.config import IngestSettings, Settings
from hub.errors import ConflictError
from hub.pipeline.checkpoint import load_checkpoint
from hub.pipeline.receive import LinkAddress
from hub.services.snapshot_file import publish_snapshot
from tests.hub.pipeline.frame_bench import gate_arrays
from tests.hub.pipeline.test_worker import STREAM, Pipe, Worker, pack, pipe, stored

__all__ = ["pipe"]


def hub(folder: Path, workers: int) -> Settings:
    return Settings(data_dir=folder, ingest=IngestSettings(workers=workers))


def config(settings: Settings, port: int, lane: int) -> IngestConfig:
    return IngestConfig(
        worker=lane,
        address=LinkAddress("127.0.0.1", port, f"hub-ingest-{lane}"),
        incarnation=b"incarnat",
        gate=settings.gate_dir,
        journal=settings.journal_dir(lane),
        findings=settings.findings_dir(lane),
        dead_letters=settings.deadletters_dir(lane),
        checkpoints=settings.detector_dir(lane),
        progress=settings.run_dir / f"ingest-{lane}.progress",
        metrics=settings.run_dir,
        cadence_ms=1,
        lanes=settings.lanes,
    )


def worker_of(settings: Settings, port: int, lane: int) -> Worker:
    made = Worker(settings.data_dir, port)
    made.config = config(settings, port, lane)
    return made


def streams_of(settings: Settings, lane: int) -> set[tuple[int, int]]:
    loaded = load_checkpoint(settings.detector_dir(lane))
    assert loaded is not None
    _, arrays = loaded
    return set(
        zip(arrays["stream_slot"].tolist(), arrays["stream_watermark"].tolist(), strict=True)
    )


@pytest.mark.parametrize("crash", [False, True])
def test_new_lanes_know_what_is_settled(tmp_path: Path, pipe: Pipe, *, crash: bool) -> None:
    settings = hub(tmp_path, 1)
    publish_snapshot(settings.gate_dir, gate_arrays())
    lane_dealing.deal(settings, partial(config, settings, pipe.port))
    with worker_of(settings, pipe.port, 0):
        pipe.send(pack(0, [1.0, 2.0]) + pack(0, [1.0, 2.0, 3.0], slot=2))
        pipe.wait_for(lambda: STREAM + b"\x03" in pipe.heard)
    if crash:  # before its first checkpoint
        for path in settings.detector_dir(0).glob("*.checkpoint"):
            path.unlink()
    settings = hub(tmp_path, 7)
    assert settings.lanes == 8
    lane_dealing.deal(settings, partial(config, settings, pipe.port))
    assert hub(tmp_path, 1).lanes == 8  # lanes are never taken away
    assert streams_of(settings, 4) == {(1, 2), (2, 3)}  # of the shards 14 and 34
    assert streams_of(settings, 1) == set()


def test_a_product_goes_on_in_its_new_lane_and_is_left_out_of_the_old_one(
    tmp_path: Path, pipe: Pipe
) -> None:
    settings = hub(tmp_path, 1)
    publish_snapshot(settings.gate_dir, gate_arrays())
    lane_dealing.deal(settings, partial(config, settings, pipe.port))
    with worker_of(settings, pipe.port, 0):
        pipe.send(pack(0, [1.0, 2.0]))  # shard 14
        pipe.wait_for(lambda: STREAM + b"\x02" in pipe.heard)
    settings = hub(tmp_path, 8)
    lane_dealing.deal(settings, partial(config, settings, pipe.port))
    pipe.heard.clear()
    with worker_of(settings, pipe.port, 4):
        pipe.wait_for(lambda: STREAM + b"\x02" in pipe.heard)  # it knows, and says so on connecting
        pipe.send(pack(0, [1.0, 2.0, 3.0]))
        pipe.wait_for(lambda: STREAM + b"\x03" in pipe.heard)
    with worker_of(settings, pipe.port, 0):
        pass
    assert streams_of(settings, 4) == {(1, 3)}
    assert stored_in(settings, 0) + stored_in(settings, 4) == [0, 1, 2]


def stored_in(settings: Settings, lane: int) -> list[int]:
    place = settings.data_dir / f"view-{lane}"
    place.mkdir()
    (place / "journal").symlink_to(settings.journal_dir(lane))
    return stored(place)


def test_without_a_gate_nothing_is_dealt(tmp_path: Path, pipe: Pipe) -> None:
    settings = hub(tmp_path, 1)
    publish_snapshot(settings.gate_dir, gate_arrays())
    lane_dealing.deal(settings, partial(config, settings, pipe.port))
    with worker_of(settings, pipe.port, 0):
        pass
    (settings.gate_dir / "CURRENT").unlink()
    more = hub(tmp_path, 2)
    with pytest.raises(ConflictError, match="no gate snapshot"):
        lane_dealing.deal(more, partial(config, more, pipe.port))
    assert hub(tmp_path, 1).lanes == 1


def test_every_shard_is_in_one_lane() -> None:
    for lanes in (2, 4, 64, 256):
        filters = [one for lane in range(lanes) for one in filters_of(lane, lanes)]
        assert len(filters) == len(set(filters)) == 4 * 256
