"""Strict CBOR: the subset of RFC 8949 that wire v1 speaks.

1. Output is deterministic: definite lengths, shortest heads, map keys in rising order.
2. Input may come in any key order; duplicate keys, nesting deeper than 8, trailing bytes and
   oversize are refused.
3. No tag is ever interpreted: a tag comes back as `cbor2.CBORTag`. (The general decoder of cbor2
   runs regular expressions, dates, shared references and big numbers that a stranger wrote; hence
   the reader here.)
4. Map keys are integers, text or bytes, at most `MAX_ENTRIES` a map, so crafted hash collisions
   stay cheap.
"""

import struct
from collections.abc import Iterable
from typing import Any, NoReturn

import cbor2

from device_sdk.wire.codes import RejectCode
from device_sdk.wire.errors import WireError

MAX_DEPTH = 8
MAX_ENTRIES = 1024
MAX_CONTROL_BYTES = 65_536
"""Largest control message (everything but packs and state)."""
VERSION = 1

_BREAK = object()
_FLOATS = {25: struct.Struct(">e"), 26: struct.Struct(">f"), 27: struct.Struct(">d")}
_KEYS = frozenset({int, str, bytes})
_SIMPLE = {20: False, 21: True, 22: None}


def encode(value: Any) -> bytes:
    """Encode None, bool, int, float, str, bytes, lists, tuples, dicts and `cbor2.CBORTag`.

    Raises:
        WireError: the value holds something the wire does not have, or nests deeper than 8.
    """
    _check(value, 0)
    try:
        return cbor2.dumps(value, canonical=True)
    except (cbor2.CBOREncodeError, UnicodeError) as error:
        raise WireError("value cannot be written as CBOR") from error


def decode(data: bytes, *, max_bytes: int = MAX_CONTROL_BYTES, indefinite: bool = False) -> Any:
    """Decode exactly one CBOR item.

    Args:
        data: the whole message.
        max_bytes: longer input is refused before it is looked at (`TOO_LARGE`).
        indefinite: accept indefinite lengths (foreign encoders of SenML use them).

    Returns:
        None, bool, int, float, str, bytes, list, dict or `cbor2.CBORTag`.

    Raises:
        WireError: on anything that is not one well-formed item within the limits.
    """
    if len(data) > max_bytes:
        raise WireError(f"message is longer than {max_bytes} bytes", RejectCode.TOO_LARGE)
    reader = _Reader(data, indefinite=indefinite)
    try:
        value = reader.item(0)
    except IndexError:
        raise WireError("CBOR is cut short") from None
    if value is _BREAK:
        _fail("a break stands outside of an indefinite item")
    if reader.position != len(data):
        _fail("bytes follow the CBOR item")
    return value


def decode_map(data: bytes, *, max_bytes: int = MAX_CONTROL_BYTES) -> dict[int, Any]:
    """Decode a message of wire v1: a map with unsigned integer keys whose key 0 is the version 1.

    Raises:
        WireError: not such a map, or another version.
    """
    value = decode(data, max_bytes=max_bytes)
    if not isinstance(value, dict):
        raise WireError("message is not a CBOR map")
    for key in value:
        if type(key) is not int or key < 0:
            raise WireError("message has a key that is not an unsigned integer")
    version = value.get(0)
    if type(version) is not int or version != VERSION:
        raise WireError("message is not of wire version 1")
    return value


def _fail(message: str) -> NoReturn:
    raise WireError(message)


def _check(value: Any, depth: int) -> None:
    """Refuse, before encoding, what a reader of the wire would refuse."""
    if value is None or isinstance(value, (bool, float, str, bytes)):
        return
    if isinstance(value, int):
        if not -(2**64) <= value < 2**64:
            raise WireError("integer does not fit 64 bits")
        return
    if depth >= MAX_DEPTH:
        raise WireError(f"value nests deeper than {MAX_DEPTH}")
    for item in _inside(value):
        _check(item, depth + 1)


def _inside(value: Any) -> Iterable[Any]:
    """Return what a container holds; keys of maps are checked here."""
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, cbor2.CBORTag):
        return (value.value,)
    if not isinstance(value, dict):
        raise WireError(f"the wire has no {type(value).__name__}")
    if len(value) > MAX_ENTRIES:
        raise WireError(f"map has more than {MAX_ENTRIES} entries")
    if not all(type(key) in _KEYS for key in value):
        raise WireError("map key is neither integer nor text nor bytes")
    return (*value.keys(), *value.values())


class _Reader:
    """A cursor over one message. `IndexError` means that the bytes ran out."""

    def __init__(self, data: bytes, *, indefinite: bool) -> None:
        self.data = data
        self.position = 0
        self.indefinite = indefinite

    def item(self, depth: int) -> Any:  # noqa: PLR0911  one return for each of CBOR's major types
        """Read one item; `depth` counts the arrays, maps and tags around it."""
        head = self.data[self.position]
        self.position += 1
        major, low = head >> 5, head & 31
        if major == 7:
            return self.simple(low)
        argument = low if low < 24 else self.argument(low)
        if major == 0:
            return argument if argument is not None else _fail("integer without a value")
        if major == 1:
            return -1 - argument if argument is not None else _fail("integer without a value")
        if major == 2:
            return self.chunks(2) if argument is None else self.take(argument)
        if major == 3:
            return self.text(self.chunks(3) if argument is None else self.take(argument))
        if depth >= MAX_DEPTH:
            _fail(f"message nests deeper than {MAX_DEPTH}")
        if major == 4:
            return self.array(argument, depth + 1)
        if major == 5:
            return self.map(argument, depth + 1)
        if argument is None:
            _fail("tag without a number")
        return cbor2.CBORTag(argument, self.inner(depth + 1))

    def argument(self, low: int) -> int | None:
        """Read the argument that follows a head; None stands for an indefinite length."""
        if low < 28:
            return int.from_bytes(self.take(1 << (low - 24)), "big")
        if low == 31 and self.indefinite:
            return None
        _fail("a head is reserved, or an indefinite length stands where none may")

    def take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self.data):
            _fail("CBOR is cut short")
        piece = self.data[self.position : end]
        self.position = end
        return piece

    def text(self, raw: bytes) -> str:
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise WireError("text is not UTF-8") from None

    def chunks(self, major: int) -> bytes:
        """Read the chunks of an indefinite string; each must be a definite one of the same kind."""
        pieces = []
        while (head := self.data[self.position]) != 0xFF:
            if head >> 5 != major or head & 31 > 27:
                _fail("an indefinite string holds something else")
            self.position += 1
            low = head & 31
            length = low if low < 24 else self.argument(low)
            if length is None:
                _fail("an indefinite string holds another")
            piece = self.take(length)
            if major == 3:
                self.text(piece)
            pieces.append(piece)
        self.position += 1
        return b"".join(pieces)

    def inner(self, depth: int) -> Any:
        value = self.item(depth)
        if value is _BREAK:
            _fail("a break stands outside of an indefinite item")
        return value

    def array(self, count: int | None, depth: int) -> list[Any]:
        if count is None:
            items = []
            while (value := self.item(depth)) is not _BREAK:
                items.append(value)
            return items
        if count > len(self.data) - self.position:
            _fail("an array claims more items than there are bytes")
        return [self.inner(depth) for _ in range(count)]

    def map(self, count: int | None, depth: int) -> dict[Any, Any]:
        if count is not None and count > MAX_ENTRIES:
            _fail(f"a map has more than {MAX_ENTRIES} entries")
        entries: dict[Any, Any] = {}
        while count is None or len(entries) < count:
            key = self.item(depth)
            if key is _BREAK and count is None:
                break
            if type(key) not in _KEYS:
                _fail("a map key is neither integer nor text nor bytes")
            if key in entries:
                _fail("a map has the same key twice")
            if len(entries) >= MAX_ENTRIES:
                _fail(f"a map has more than {MAX_ENTRIES} entries")
            entries[key] = self.inner(depth)
        return entries

    def simple(self, low: int) -> Any:
        if low in _SIMPLE:
            return _SIMPLE[low]
        if low in _FLOATS:
            number: float = _FLOATS[low].unpack(self.take(1 << (low - 24)))[0]
            return number
        if low == 31 and self.indefinite:
            return _BREAK
        _fail("a simple value is none of false, true, null")
