"""The one error of the wire package.

1. Every decoder raises `WireError` and nothing else, whatever the bytes.
2. `code` is the reject code that the hub answers with; the message names the field and what was
   wrong with it.
3. Messages never quote payload bytes: they may hold secrets.
"""

from device_sdk.wire.codes import RejectCode


class WireError(ValueError):
    """Bytes (or values to be encoded) break a rule of docs/wire.md.

    Args:
        message: which field, and which rule it breaks.
        code: the reject code for it.
    """

    def __init__(self, message: str, code: RejectCode = RejectCode.MALFORMED) -> None:
        super().__init__(message)
        self.code = code


class UnknownKeyError(WireError):
    """A message was signed by a key that its reader does not know (yet)."""

    def __init__(self) -> None:
        super().__init__("signed message was signed by an unknown key", RejectCode.REFUSED)
