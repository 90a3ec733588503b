"""Typed access to the fields of a decoded message.

1. Every read says which field was missing or of the wrong type or size; nothing is coerced.
2. Unknown keys are never looked at.
"""

from collections.abc import Mapping
from typing import Any

from device_sdk.wire.errors import WireError


class Fields:
    """The fields of one map (by key) or of one array (by position).

    Args:
        what: name of the message for error messages.
        values: the decoded map, or a list whose positions stand for keys.
    """

    def __init__(self, what: str, values: Mapping[int, Any] | list[Any]) -> None:
        self.what = what
        self.values = dict(enumerate(values)) if isinstance(values, list) else values

    def has(self, key: int) -> bool:
        """Tell whether `key` is there."""
        return key in self.values

    def uint(self, key: int, bits: int = 63) -> int:
        """Return an unsigned integer below `2**bits`."""
        value = self.values.get(key)
        if type(value) is not int or not 0 <= value < 1 << bits:
            raise self.wrong(key, f"an unsigned integer below 2^{bits}")
        return value

    def int64(self, key: int) -> int:
        """Return a signed 64-bit integer."""
        value = self.values.get(key)
        if type(value) is not int or not -(1 << 63) <= value < 1 << 63:
            raise self.wrong(key, "a signed 64-bit integer")
        return value

    def flag(self, key: int) -> bool:
        """Return a boolean."""
        value = self.values.get(key)
        if not isinstance(value, bool):
            raise self.wrong(key, "a boolean")
        return value

    def octets(self, key: int, size: int | None = None) -> bytes:
        """Return a byte string, of exactly `size` bytes if given."""
        value = self.values.get(key)
        if not isinstance(value, bytes) or (size is not None and len(value) != size):
            raise self.wrong(key, "bytes" if size is None else f"{size} bytes")
        return value

    def text(self, key: int, limit: int = 4096) -> str:
        """Return a text of at most `limit` characters."""
        value = self.values.get(key)
        if not isinstance(value, str) or len(value) > limit:
            raise self.wrong(key, f"a text of at most {limit} characters")
        return value

    def array(self, key: int, length: int | None = None) -> list[Any]:
        """Return an array, of exactly `length` items if given."""
        value = self.values.get(key)
        if not isinstance(value, list) or (length is not None and len(value) != length):
            raise self.wrong(key, "an array" if length is None else f"an array of {length} items")
        return value

    def texts(self, key: int) -> tuple[str, ...]:
        """Return an array of texts."""
        items = self.array(key)
        if not all(isinstance(item, str) for item in items):
            raise self.wrong(key, "an array of texts")
        return tuple(items)

    def named(self, key: int) -> dict[str, Any]:
        """Return a map with text keys."""
        value = self.values.get(key)
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            raise self.wrong(key, "a map with text keys")
        return value

    def scalars(self, key: int) -> dict[str, Any]:
        """Return a map of text to null, bool, integer, float or text."""
        value = self.named(key)
        kinds = (type(None), bool, int, float, str)
        if not all(isinstance(item, kinds) for item in value.values()):
            raise self.wrong(key, "a map of text to null, bool, number or text")
        return value

    def rows(self, key: int, length: int) -> "list[Fields]":
        """Return an array of arrays of at least `length` items, each as `Fields`."""
        items = self.array(key)
        if not all(isinstance(item, list) and len(item) >= length for item in items):
            raise self.wrong(key, f"an array of arrays of {length} items")
        return [Fields(f"{self.what} field {key}", item) for item in items]

    def wrong(self, key: int, expected: str) -> WireError:
        """Return the error for a field that is missing or not `expected`."""
        found = "is missing" if key not in self.values else "is wrong"
        return WireError(f"{self.what}: field {key} {found}; it must be {expected}")
