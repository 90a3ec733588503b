"""Receipts in bulk against the reference encoder, and when they are due."""

from hypothesis import given
from hypothesis import strategies as st

from device_sdk.wire.codes import RejectCode
from device_sdk.wire.receipt import Receipt, StreamReceipt
from device_sdk.wire.topics import ROOT, shard_of
from hub.pipeline.directory import Directory
from hub.pipeline.identity import StreamTable
from hub.pipeline.receipt import ReceiptStage
from tests.hub.pipeline.frame_bench import DEVICES, NOW, Bench, gate_arrays, publish, topic_of
from tests.hub.pipeline.row_bench import rows_of

INCARNATION = b"hubhubhu"
SECOND = 1_000_000_000
DIRECTORY = Directory.build(1, gate_arrays(), ROOT)


def stage_of(table: StreamTable, cadence_ms: int = 1000) -> ReceiptStage:
    stage = ReceiptStage(table, INCARNATION, ROOT, cadence_ms)
    stage.use(DIRECTORY.device_id, DIRECTORY.shard)
    return stage


def admit(table: StreamTable, rows: list[tuple[int, int, int]]) -> None:
    table.admit(rows_of(rows), NOW)


def read(data: bytes) -> dict[str, Receipt]:
    """Receipts by device, out of MQTT packets; each device at most once."""
    out: dict[str, Receipt] = {}
    at = 0
    while at < len(data):
        assert data[at] == 0x30
        at, size, shift = at + 1, 0, 0
        while True:
            byte = data[at]
            size |= (byte & 127) << shift
            at, shift = at + 1, shift + 7
            if byte < 128:
                break
        length = int.from_bytes(data[at : at + 2], "big")
        topic = data[at + 2 : at + 2 + length].decode()
        *root, shard, device, down, channel = topic.split("/")
        assert ("/".join(root), shard, down, channel) == (ROOT, shard_of(device), "down", "receipt")
        assert device not in out
        payload = data[at + 2 + length : at + size]
        out[device] = Receipt.decode(payload)
        assert out[device].encode() == payload
        at += size
    return out


rows = st.lists(
    st.tuples(
        st.integers(1, 4),
        st.sampled_from([0, 1, 2**63, 2**64 - 1]),
        st.integers(0, 2**62) | st.integers(0, 9),
    ),
    min_size=1,
    max_size=60,
)


@given(rows, st.integers(0, 2**62), st.integers(1, 2**31))
def test_bulk_receipts_are_the_reference_encoders_bytes(
    sent: list[tuple[int, int, int]], now: int, cadence_ms: int
) -> None:
    table = StreamTable(1 << 62)
    admit(table, sent)
    data, count = stage_of(table, cadence_ms).receipts(now + cadence_ms * 1_000_000)
    receipts = read(data)
    assert count == len(receipts) == len({slot for slot, _, _ in sent})
    for slot in {slot for slot, _, _ in sent}:
        receipt = receipts[DEVICES[slot]]
        assert (receipt.incarnation, receipt.window) == (INCARNATION, 1 << 62)
        assert (receipt.time, receipt.cadence_ms) == (now + cadence_ms * 1_000_000, cadence_ms)
        assert len(receipt.streams) == len({stream for s, stream, _ in sent if s == slot})
        for told in receipt.streams:
            view = table.view(slot, int.from_bytes(told.stream, "big"))
            assert view is not None
            assert (told.watermark, told.ranges, told.rejections) == (
                view.watermark,
                view.ranges,
                (),
            )


def test_at_most_one_a_cadence_unless_half_the_window_is_spent() -> None:
    table = StreamTable(100)
    stage = stage_of(table)
    admit(table, [(1, 5, 0)])
    assert stage.receipts(NOW)[1] == 1
    assert stage.receipts(NOW + 5 * SECOND)[1] == 0  # nothing new
    admit(table, [(1, 5, 1)])
    assert stage.receipts(NOW + SECOND // 2)[1] == 0
    admit(table, [(1, 5, seq) for seq in range(2, 52)])
    assert stage.receipts(NOW + SECOND // 2)[1] == 1
    admit(table, [(1, 5, 52)])
    assert stage.receipts(NOW + SECOND)[1] == 0
    assert stage.receipts(NOW + 2 * SECOND)[1] == 1


def test_duplicates_are_receipted_again_because_the_device_missed_it() -> None:
    table = StreamTable(100)
    stage = stage_of(table)
    admit(table, [(1, 5, 0)])
    stage.receipts(NOW)
    admit(table, [(1, 5, 0)])
    (receipt,) = read(stage.receipts(NOW + SECOND)[0]).values()
    assert receipt.streams[0].watermark == 1


def test_rejections_are_told_at_once_and_once() -> None:
    table = StreamTable(100)
    stage = stage_of(table)
    admit(table, [(1, 5, 0), (2, 6, 0)])
    stage.receipts(NOW)
    assert table.settle(1, 5, 1, 3, NOW)
    entry = table.find(1, 5)
    assert entry is not None
    stage.reject([(entry, 1, 3, 4)])
    receipts = read(stage.receipts(NOW + 1)[0])
    assert receipts == {
        DEVICES[1]: Receipt(
            INCARNATION,
            NOW + 1,
            (StreamReceipt((5).to_bytes(8, "big"), 3, (), ((1, 3, 4),)),),
            100,
            1000,
        )
    }
    assert stage.receipts(NOW + 2) == (b"", 0)


def test_throttled_devices_are_told_when_to_come_back_and_keep_their_data() -> None:
    bench = Bench(DIRECTORY)
    stage = stage_of(StreamTable(100))
    frames = bench.frames(*(publish(topic_of(slot, "json"), b"{}") for slot in (1, 2, 1, 3)))
    assert stage.waits(frames, NOW) == b""
    frames.wait[:4] = [0, 2_500_000_001, 1_000_000, 0]
    receipts = read(stage.waits(frames, NOW))
    assert {device: receipt.retry_after_ms for device, receipt in receipts.items()} == {
        DEVICES[2]: 2501,
        DEVICES[1]: 1,
    }
    assert all(receipt.streams == () for receipt in receipts.values())


def test_a_conflict_tells_the_device_to_leave_the_stream() -> None:
    table = StreamTable(100)
    stage = stage_of(table)
    admit(table, [(1, 5, 0), (1, 6, 0)])
    entry = table.find(1, 5)
    assert entry is not None
    stage.reject([(entry, 0, 1, RejectCode.CONFLICT)])
    (receipt,) = read(stage.receipts(NOW)[0]).values()
    assert receipt.abandon == ((5).to_bytes(8, "big"),)
    assert {len(s.rejections) for s in receipt.streams} == {0, 1}
