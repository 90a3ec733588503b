"""Writes the golden vectors of wire v1 once; they never change afterwards.

Usage: `python -m tests.wire.make_vectors`, from the top folder. Files that exist are left alone and
reported: vectors can be added, old ones cannot be rewritten. A vector is a `.bin` with the bytes
and a `.json` that says what it is, who reads it, and what must come out: `value` or `code`.
"""

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from device_sdk.wire import cose, flat, pack, senml, state
from device_sdk.wire import messages as m
from device_sdk.wire.codes import ClockState, RejectCode, ReplyStatus, Severity
from device_sdk.wire.receipt import Receipt, StreamReceipt

FOLDER = Path(__file__).parent / "vectors"
STREAM = bytes.fromhex("0123456789abcdef")
BOOT = bytes.fromhex("b007b007b007b007")
DEVICE = "abcdefgh01234567"
TIME = 1_700_000_000_123_456_789
SIGNER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
CODE = RejectCode

Fields = dict[int, Any]
Reader = Callable[[bytes], Any]
SECOND = 1_000_000_000
RECEIVED = 1_700_000_000 * SECOND


def plain(value: Any) -> Any:
    """Return a value as JSON can show it; the tests compare this form."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def read_signed(external: bytes, decode: Callable[[bytes], Any]) -> Reader:
    """Return a reader of signed messages."""
    public = SIGNER.public_key()
    keys = {cose.key_id(public): public}
    return lambda data: decode(cose.verify1(data, keys, external))


READERS: dict[str, Reader] = {
    "pack": pack.decode_pack,
    "flat": flat.FlatRow.decode,
    "senml": lambda data: senml.decode_senml(data, RECEIVED),
    "receipt": Receipt.decode,
    "presence": m.Presence.decode,
    "get": m.Get.decode,
    "reported": m.Reported.decode,
    "event": m.Event.decode,
    "command": m.Command.decode,
    "reply": m.Reply.decode,
    "notice": m.Notice.decode,
    "state": read_signed(cose.STATE_EXTERNAL, state.decode_state),
    "entitlement": read_signed(cose.ENTITLEMENT_EXTERNAL, state.decode_token),
}


def typed(tag: int, code: str, *numbers: float) -> cbor2.CBORTag:
    """Return a little-endian typed array."""
    return cbor2.CBORTag(tag, struct.pack(f"<{len(numbers)}{code}", *numbers))


def pack_fields(**changes: Any) -> Fields:
    """Return the fields of a small pack; `k8=...` replaces key 8, and None of `DROP` removes it."""
    fields: Fields = {
        0: 1,
        1: STREAM,
        2: 7,
        3: 3,
        4: BOOT,
        5: 2,
        6: False,
        7: TIME,
        8: typed(78, "i", 0, 1000),
        10: [["temp_c", typed(86, "d", 21.4, 21.5), None]],
    }
    for name, value in changes.items():
        if value is ...:
            del fields[int(name[1:])]
        else:
            fields[int(name[1:])] = value
    return fields


def good_packs() -> dict[str, tuple[str, bytes]]:
    """Return packs that must be read."""

    def encoded(**changes: Any) -> bytes:
        first: dict[str, Any] = {
            "stream": STREAM,
            "first_seq": 7,
            "owner_epoch": 3,
            "boot": BOOT,
            "clock": ClockState.SYNCED,
            "historical": False,
            "times": [TIME, TIME + SECOND, TIME + 3 * SECOND],
            "metrics": {"temp_c": [21.4, 21.5, 21.6], "power_w": [900.0, None, 1.5]},
        }
        return pack.encode_pack(pack.Pack(**(first | changes)))

    history = {"temp_c": [float(i) for i in range(20)]}
    steps = [TIME + i * 300 * SECOND for i in range(20)]
    mixed = [
        ["small_i", typed(77, "h", 1, -2), None],
        ["middle_i", typed(78, "i", 1 << 20, -2), None],
        ["large_i", typed(79, "q", 1 << 50, -2), None],
        ["single_f", typed(85, "f", 0.5, -2.0), None],
    ]
    nan = [["temp_c", typed(86, "d", float("nan"), 21.5), None]]
    unordered = cbor2.dumps(dict(reversed(pack_fields().items())))
    return {
        "pack_two_metrics": ("three rows, one metric absent in one of them", encoded()),
        "pack_history": (
            "20 historical rows in a unit of 300 s",
            encoded(times=steps, metrics=history, historical=True),
        ),
        "pack_lost": ("rows declared lost", encoded(first_seq=30, lost=((3, 7), (9, 30)))),
        "pack_clock_unset": (
            "an unset clock at 1970",
            encoded(clock=ClockState.UNSET, times=[0, 1, 2]),
        ),
        "pack_every_type": ("all element types", cbor2.dumps(pack_fields(k10=mixed))),
        "pack_long_offsets": (
            "64-bit offsets",
            cbor2.dumps(pack_fields(k8=typed(79, "q", -(1 << 40), 0))),
        ),
        "pack_unknown_key": (
            "an unknown key is ignored",
            cbor2.dumps(pack_fields(k99=["new", {1: 2}])),
        ),
        "pack_unordered": ("keys in another order", unordered),
        "pack_nan": (
            "a row that is not finite is the hub's to reject by itself",
            cbor2.dumps(pack_fields(k10=nan)),
        ),
    }


def bad_packs() -> dict[str, tuple[str, bytes, RejectCode]]:
    """Return packs that must be refused, with the code."""
    good = cbor2.dumps(pack_fields())
    two = typed(86, "d", 1.0, 2.0)

    def fields(
        why: str, code: RejectCode = CODE.MALFORMED, **changes: Any
    ) -> tuple[str, bytes, RejectCode]:
        return why, cbor2.dumps(pack_fields(**changes)), code

    def raw(
        why: str, data: bytes, code: RejectCode = CODE.MALFORMED
    ) -> tuple[str, bytes, RejectCode]:
        return why, data, code

    deep: Any = 0
    for _ in range(9):
        deep = [deep]
    indefinite = b"\xbf" + good[1:] + b"\xff"
    rows = 8_193
    many = fields(
        "8,193 rows",
        CODE.TOO_LARGE,
        k8=cbor2.CBORTag(78, bytes(4 * rows)),
        k10=[["temp_c", cbor2.CBORTag(77, bytes(2 * rows)), None]],
    )
    return {
        "bad_pack_empty": raw("no bytes", b""),
        "bad_pack_garbage": raw("not CBOR", b"\xff\xfe garbage"),
        "bad_pack_cut": raw("the last byte is missing", good[:-1]),
        "bad_pack_trailing": raw("a byte follows", good + b"\x00"),
        "bad_pack_duplicate_key": raw("key 3 twice", b"\xab" + good[1:] + b"\x03\x00"),
        "bad_pack_indefinite": raw("an indefinite map", indefinite),
        "bad_pack_text_key": raw("a text key", b"\xab" + good[1:] + b"\x61a\x00"),
        "bad_pack_deep": fields("nesting of ten", k99=deep),
        "bad_pack_too_large": raw("300 KB", good + bytes(300_000), CODE.TOO_LARGE),
        "bad_pack_too_many_rows": many,
        "bad_pack_version": fields("wire version 2", k0=2),
        "bad_pack_no_stream": fields("no stream", k1=...),
        "bad_pack_short_stream": fields("a stream of 7 bytes", k1=STREAM[:7]),
        "bad_pack_negative_seq": fields("a negative seq", k2=-1),
        "bad_pack_seq_overflow": fields("seqs beyond 2^63", k2=(1 << 63) - 1),
        "bad_pack_epoch": fields("an owner epoch of 33 bits", k3=1 << 32),
        "bad_pack_clock": fields("clock state 3", k5=3),
        "bad_pack_historical": fields("historical is a number", k6=0),
        "bad_pack_time_base": fields("a time base beyond int64", CODE.BAD_TIME, k7=1 << 63),
        "bad_pack_time_offset": fields("a time beyond int64", CODE.BAD_TIME, k7=(1 << 63) - 2),
        "bad_pack_unit_zero": fields("a unit of 0", k9=0),
        "bad_pack_no_rows": fields(
            "no rows", k8=typed(78, "i"), k10=[["temp_c", typed(86, "d"), None]]
        ),
        "bad_pack_no_metrics": fields("no metrics", k10=[]),
        "bad_pack_offsets_float": fields("offsets as floats", k8=two),
        "bad_pack_half_element": fields(
            "half an element", k10=[["temp_c", cbor2.CBORTag(86, bytes(15)), None]]
        ),
        "bad_pack_plain_array": fields(
            "values as a plain array", k10=[["temp_c", [1.0, 2.0], None]]
        ),
        "bad_pack_big_endian": fields(
            "big-endian values", k10=[["temp_c", cbor2.CBORTag(82, bytes(16)), None]]
        ),
        "bad_pack_count": fields(
            "three values for two rows", k10=[["temp_c", typed(86, "d", 1, 2, 3), None]]
        ),
        "bad_pack_presence_count": fields(
            "presence of one, two values", k10=[["temp_c", two, b"\x01"]]
        ),
        "bad_pack_presence_size": fields(
            "presence of two bytes", k10=[["temp_c", two, b"\x03\x00"]]
        ),
        "bad_pack_presence_padding": fields("a padding bit is set", k10=[["temp_c", two, b"\x05"]]),
        "bad_pack_bare_row": fields(
            "a row without a metric", k10=[["temp_c", typed(86, "d", 1.0), b"\x01"]]
        ),
        "bad_pack_name": fields("an upper-case name", k10=[["Temp", two, None]]),
        "bad_pack_name_long": fields("a name of 49", k10=[["a" * 49, two, None]]),
        "bad_pack_lost_order": fields("lost ranges that fall", k11=[4, 5, 1, 2]),
        "bad_pack_lost_beyond": fields("a lost range beyond the first seq", k11=[1, 8]),
        "bad_pack_lost_odd": fields("half a lost range", k11=[1]),
        "bad_pack_name_twice": fields("a metric twice", k10=[["temp_c", two, None]] * 2),
    }


def flats() -> tuple[dict[str, tuple[str, bytes]], dict[str, tuple[str, bytes, RejectCode]]]:
    """Return rows of flat JSON, good and bad."""
    row = flat.FlatRow({"temp_c": 21.4, "power_w": 900.0}, TIME, STREAM, 12)
    many = "{" + ",".join(f'"metric_{i}":1' for i in range(65)) + "}"
    good = {
        "flat_full": ("with time, stream and seq", row.encode()),
        "flat_anonymous": ("one value and nothing else", b'{"temp_c": 21}'),
        "flat_rfc3339": (
            "time as text",
            b'{"t":"2023-11-14T23:13:20.123456789+01:00","temp_c":-1e-3}',
        ),
        "flat_fraction": ("a time no float can hold", b'{"temp_c":0,"t":1700000000.123456789}'),
        "flat_before_1970": ("a time before 1970", b'{"temp_c":0,"t":-0.5}'),
    }
    bad = {
        "bad_flat_garbage": ("not JSON", b"\x00\x01", CODE.MALFORMED),
        "bad_flat_array": ("an array", b"[1]", CODE.MALFORMED),
        "bad_flat_no_metric": ("no metric", b'{"t":1}', CODE.MALFORMED),
        "bad_flat_twice": ("a name twice", b'{"temp_c":1,"temp_c":2}', CODE.MALFORMED),
        "bad_flat_nested": ("nesting", b'{"temp_c":{"v":1}}', CODE.MALFORMED),
        "bad_flat_text": ("a text value", b'{"temp_c":"21"}', CODE.MALFORMED),
        "bad_flat_bool": ("a boolean value", b'{"temp_c":true}', CODE.MALFORMED),
        "bad_flat_null": ("a null value", b'{"temp_c":null}', CODE.MALFORMED),
        "bad_flat_nan": ("NaN", b'{"temp_c":NaN}', CODE.MALFORMED),
        "bad_flat_infinity": ("infinity", b'{"temp_c":-Infinity}', CODE.MALFORMED),
        "bad_flat_overflow": ("a number beyond float64", b'{"temp_c":1e999}', CODE.MALFORMED),
        "bad_flat_utf16": ("UTF-16", '{"temp_c":1}'.encode("utf-16"), CODE.MALFORMED),
        "bad_flat_deep": ("deep nesting", b"[" * 8000, CODE.MALFORMED),
        "bad_flat_no_seq": ("s without q", b'{"s":"0123456789abcdef","temp_c":1}', CODE.MALFORMED),
        "bad_flat_no_stream": ("q without s", b'{"q":1,"temp_c":1}', CODE.MALFORMED),
        "bad_flat_stream": (
            "upper-case stream",
            b'{"s":"0123456789ABCDEF","q":1,"temp_c":1}',
            CODE.MALFORMED,
        ),
        "bad_flat_seq_fraction": (
            "q with a fraction",
            b'{"s":"0123456789abcdef","q":1.0,"temp_c":1}',
            CODE.MALFORMED,
        ),
        "bad_flat_day": (
            "the 30th of February",
            b'{"t":"2023-02-30T00:00:00Z","temp_c":1}',
            CODE.MALFORMED,
        ),
        "bad_flat_time_range": (
            "the year 2263",
            b'{"t":"2263-01-01T00:00:00Z","temp_c":1}',
            CODE.BAD_TIME,
        ),
        "bad_flat_time_huge": ("a huge time", b'{"t":1e99999,"temp_c":1}', CODE.BAD_TIME),
        "bad_flat_name": ("a name no metric can have", b'{"Temp C":1}', CODE.UNKNOWN_METRIC),
        "bad_flat_many": ("65 metrics", many.encode(), CODE.TOO_LARGE),
        "bad_flat_large": ("8,193 bytes", b'{"temp_c":1}'.ljust(8_193), CODE.TOO_LARGE),
    }
    return good, bad


def senmls() -> tuple[dict[str, tuple[str, bytes]], dict[str, tuple[str, bytes, RejectCode]]]:
    """Return SenML packs, good and bad; the time of receipt is 1,700,000,000 s."""
    based = (
        b'[{"bn":"urn:dev:ow:10e2073a0108006:","bt":1276020076.001,"bu":"A","bver":5,"n":"voltage","u":"V","v":120.1},'
        b'{"n":"current","t":-5,"v":1.2},{"n":"current","t":-4,"v":1.3}]'
    )
    records = [
        {-2: "pump/", -3: 1.7e9, -4: "Cel", 0: "temp_c", 2: 21.5},
        {0: "on_state", 4: True, 6: -1},
    ]
    good = {
        "senml_base_fields": ("the example of RFC 8428, 5.1.2, shortened", based),
        "senml_relative": (
            "relative to receipt",
            b'[{"n":"temp_c","v":1},{"n":"temp_c","v":2,"t":-60}]',
        ),
        "senml_base_value": (
            "base value",
            b'[{"bv":100,"n":"temp_c","v":0.1},{"n":"power_w","v":1}]',
        ),
        "senml_same_time": (
            "a metric twice at one time",
            b'[{"n":"temp_c","v":1},{"n":"temp_c","v":2}]',
        ),
        "senml_cbor": ("CBOR with base fields", cbor2.dumps(records)),
        "senml_cbor_indefinite": (
            "CBOR of indefinite length",
            b"\x9f\xbf\x00\x66temp_c\x02\xf9\x3e\x00\xff\xff",
        ),
        "senml_cbor_decimal": (
            "CBOR decimal fraction",
            cbor2.dumps([{0: "temp_c", 2: cbor2.CBORTag(4, [-1, 215])}]),
        ),
    }
    bad = {
        "bad_senml_garbage": ("neither JSON nor CBOR", b"\xff\xff", CODE.MALFORMED),
        "bad_senml_empty": ("no records", b"[]", CODE.MALFORMED),
        "bad_senml_no_name": ("no name", b'[{"v":1}]', CODE.MALFORMED),
        "bad_senml_no_value": ("no value", b'[{"n":"temp_c"}]', CODE.MALFORMED),
        "bad_senml_text": ("a text value", b'[{"n":"temp_c","vs":"warm"}]', CODE.MALFORMED),
        "bad_senml_two_values": ("two values", b'[{"n":"temp_c","v":1,"vb":true}]', CODE.MALFORMED),
        "bad_senml_must_understand": (
            "a field to be understood",
            b'[{"n":"temp_c","v":1,"x_":1}]',
            CODE.MALFORMED,
        ),
        "bad_senml_version": ("version 11", b'[{"bver":11,"n":"temp_c","v":1}]', CODE.MALFORMED),
        "bad_senml_name": (
            "a name ending in no metric",
            b'[{"n":"urn:dev:x:TEMP","v":1}]',
            CODE.UNKNOWN_METRIC,
        ),
        "bad_senml_time": (
            "a time beyond int64",
            b'[{"n":"temp_c","v":1,"t":1e12}]',
            CODE.BAD_TIME,
        ),
        "bad_senml_nan": (
            "CBOR with NaN",
            cbor2.dumps([{0: "temp_c", 2: float("nan")}]),
            CODE.NOT_FINITE,
        ),
        "bad_senml_large": ("70 KB", b"[" + b" " * 70_000 + b"]", CODE.TOO_LARGE),
    }
    return good, bad


def controls() -> dict[str, tuple[str, str, bytes]]:
    """Return one of each control message: reader, description, bytes."""
    one = StreamReceipt(STREAM, 100, ((120, 130), (140, 141)), ((99, 100, 5),))
    receipt = Receipt(b"hub-one.", TIME, (one, StreamReceipt(BOOT, 0)), 4096, 1000, 2500, (BOOT,))
    birth = m.Birth(STREAM, BOOT, "2.4.0", "test/1", ("identify",), 4, 3, ClockState.SYNCED, TIME)
    identity = bytes(range(16))
    items: dict[str, Any] = {
        "receipt": receipt,
        "receipt_smallest": Receipt(b"hub-one.", TIME, (), 4096, 1000),
        "presence_birth": m.Presence(birth),
        "presence_birth_sent": m.Presence(replace(birth, sent=130)),
        "presence_gone": m.Presence(),
        "get": m.Get(("state",), 4),
        "reported": m.Reported(
            4, {"interval_s": 10, "mode": "eco", "limit": None}, 3, {"mode": "unknown"}
        ),
        "event": m.Event(identity, TIME, "door_open", {"seconds": 3}, 1),
        "command": m.Command(identity, "identify", {"seconds": 3.5}, TIME),
        "command_owned": m.Command(identity, "identify", {}, TIME, 3),
        "reply": m.Reply(identity, ReplyStatus.FAILED, {}, "stuck"),
        "notice": m.Notice(identity, "alert.opened", {"metric": "temp_c"}, Severity.WARNING, TIME),
        "notice_owned": m.Notice(identity, "owner.changed", {}, Severity.INFO, TIME, 3),
    }
    return {
        name: (name.partition("_")[0], f"a {name.replace('_', ', ')}", item.encode())
        for name, item in items.items()
    }


def token() -> bytes:
    """Return a signed entitlement token."""
    features = {
        "boost": state.FeatureGrant(True, "plan", 1_800_000_000, False, {"plan": "comfort"}),
        "local_control": state.FeatureGrant(True, "safe", None, True),
        "history": state.FeatureGrant(False, "not_in_plan"),
    }
    claims = state.EntitlementToken(
        DEVICE, bytes(16), 9, 3, 1_700_000_000, 1_702_592_000, 604_800, bytes(range(32)), features
    )
    return cose.sign1(SIGNER, state.encode_token(claims), cose.ENTITLEMENT_EXTERNAL)


def signed_state(others: tuple[tuple[str, int], ...] = ()) -> bytes:
    """Return a signed state; `others` are further addresses of the broker."""
    public = SIGNER.public_key()
    value = state.State(
        device=DEVICE,
        version=4,
        owner_epoch=3,
        entitlement=token(),
        configuration={"interval_s": 10, "mode": "eco", "gain": 0.5, "night": True, "limit": None},
        update={"target": "2.5.0"},
        trust=(b"not a real certificate",),
        endpoint=state.Endpoint(
            "hub.example", 8883, "hp/1", "47", "https://hub.example:8443", others
        ),
        time=TIME,
        signing_keys=(state.SigningKey(cose.key_id(public), public.public_bytes_raw()),),
    )
    return cose.sign1(SIGNER, state.encode_state(value), cose.STATE_EXTERNAL)


def bad_controls() -> dict[str, tuple[str, str, bytes, RejectCode]]:
    """Return control messages that must be refused: reader, description, bytes, code."""
    good = signed_state()
    payload = cbor2.loads(good).value[2]
    kid = cose.key_id(SIGNER.public_key())

    def forged(protected: dict[int, Any], unprotected: dict[int, Any]) -> bytes:
        head = cbor2.dumps(protected)
        signature = SIGNER.sign(cbor2.dumps(["Signature1", head, cose.STATE_EXTERNAL, payload]))
        return cbor2.dumps(cbor2.CBORTag(18, [head, unprotected, payload, signature]))

    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    return {
        "bad_receipt_order": (
            "receipt",
            "ranges that fall",
            cbor2.dumps({0: 1, 1: b"hub-one.", 2: TIME, 3: [[STREAM, 5, [9, 7], []]], 4: 1, 5: 1}),
            CODE.MALFORMED,
        ),
        "bad_receipt_below": (
            "receipt",
            "a range below the watermark",
            cbor2.dumps({0: 1, 1: b"hub-one.", 2: TIME, 3: [[STREAM, 5, [3, 7], []]], 4: 1, 5: 1}),
            CODE.MALFORMED,
        ),
        "bad_presence_flag": (
            "presence",
            "a number for a flag",
            cbor2.dumps({0: 1, 1: 1}),
            CODE.MALFORMED,
        ),
        "bad_command_id": (
            "command",
            "an id of 15 bytes",
            cbor2.dumps({0: 1, 1: bytes(15), 2: "identify", 3: {}, 4: 0}),
            CODE.MALFORMED,
        ),
        "bad_reply_status": (
            "reply",
            "status 3",
            cbor2.dumps({0: 1, 1: bytes(16), 2: 3, 3: {}, 4: ""}),
            CODE.MALFORMED,
        ),
        "bad_state_tampered": (
            "state",
            "a changed payload",
            good.replace(b"eco", b"max"),
            CODE.REFUSED,
        ),
        "bad_state_alg": ("state", "another algorithm", forged({1: -7, 4: kid}, {}), CODE.REFUSED),
        "bad_state_header": (
            "state",
            "another protected field",
            forged({1: -8, 3: 0, 4: kid}, {}),
            CODE.REFUSED,
        ),
        "bad_state_unprotected": (
            "state",
            "an unprotected field",
            forged({1: -8, 4: kid}, {4: kid}),
            CODE.REFUSED,
        ),
        "bad_state_kid": (
            "state",
            "an unknown key",
            cose.sign1(other, payload, cose.STATE_EXTERNAL),
            CODE.REFUSED,
        ),
        "bad_state_purpose": ("state", "a token in place of a state", token(), CODE.REFUSED),
        "bad_state_untagged": (
            "state",
            "no tag",
            cbor2.dumps(cbor2.loads(good).value),
            CODE.MALFORMED,
        ),
    }


def write(name: str, reader: str, about: str, data: bytes, outcome: dict[str, Any]) -> None:
    """Write one vector unless it exists."""
    target = FOLDER / f"{name}.bin"
    if target.exists():
        print(f"kept {target.name}")  # noqa: T201  a script speaks to its user
        return
    target.write_bytes(data)
    note = {"about": about, "reader": reader, **outcome}
    target.with_suffix(".json").write_text(json.dumps(note, indent=1, allow_nan=True) + "\n")


def main() -> None:
    """Write all vectors that do not exist yet."""
    FOLDER.mkdir(exist_ok=True)
    good_flat, bad_flat = flats()
    good_senml, bad_senml = senmls()
    good = {name: ("pack", *item) for name, item in good_packs().items()}
    good |= {name: ("flat", *item) for name, item in good_flat.items()}
    good |= {name: ("senml", *item) for name, item in good_senml.items()}
    good |= controls()
    good["state"] = ("state", "a signed state", signed_state())
    cluster = (("two.hub.example", 8883), ("three.hub.example", 8884))
    good["state_cluster"] = ("state", "a broker of three addresses", signed_state(cluster))
    good["entitlement"] = ("entitlement", "a signed entitlement token", token())
    for name, (reader, about, data) in good.items():
        write(name, reader, about, data, {"value": plain(READERS[reader](data))})
    bad = {name: ("pack", *item) for name, item in bad_packs().items()}
    bad |= {name: ("flat", *item) for name, item in bad_flat.items()}
    bad |= {name: ("senml", *item) for name, item in bad_senml.items()}
    bad |= bad_controls()
    for name, (reader, about, data, code) in bad.items():
        write(name, reader, about, data, {"code": int(code)})


if __name__ == "__main__":
    main()
