"""The name of a row, which devices and hubs of all versions must make alike."""

from device_sdk.wire.trace import trace_id


def test_the_name_of_a_row_is_frozen() -> None:
    assert trace_id("0123456789abcdef", bytes(range(8)), 7) == "84c66be8eb3f59412787d3169ec07458"


def test_rows_have_names_of_their_own() -> None:
    names = {
        trace_id(device, stream, seq)
        for device in ("a" * 16, "b" * 16)
        for stream in (bytes(8), bytes(range(8)))
        for seq in range(50)
    }
    assert len(names) == 200
