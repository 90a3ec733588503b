"""Cursor paging: lists are read from a key on, never by counting rows.

1. A cursor is opaque to callers: base64url of JSON `[listing, fingerprint of the filters, key]`.
2. A cursor holds only a position. It grants nothing: who may see what is decided on each request.
3. A cursor of another listing or of other filters is refused, not reinterpreted.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from hub.errors import InvalidInputError

DEFAULT_LIMIT = 50
MAX_LIMIT = 500

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Items per page.")]
After = Annotated[
    str | None,
    Query(max_length=1_024, description="`next` of the page before; absent: the first page."),
]

Key = tuple[str | int, ...]
Item = TypeVar("Item", bound=BaseModel)


class Page(BaseModel, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    next: str | None = Field(
        default=None, description="Pass it as `after` for the next page; null: this is the last."
    )

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_serialization_defaults_required=True,
        json_schema_extra={"description": "One page of a list."},
    )

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """Return the name of a page's schema, such as `AlertPage`."""
        return f"{params[0].__name__}Page"


class Listing:
    """Makes and reads the cursors of one listing under one set of filters.

    Args:
        name: operation id of the listing.
        shape: types of the key's parts, such as `(int, str)`.
        filters: the filters of the request, JSON values.
    """

    def __init__(self, name: str, shape: tuple[type[int] | type[str], ...], **filters: Any) -> None:
        self._name = name
        self._shape = shape
        text = json.dumps(filters, sort_keys=True)
        self._fingerprint = hashlib.sha256(text.encode()).hexdigest()[:12]

    def cursor(self, key: Key) -> str:
        """Return the cursor for what comes after a key."""
        text = json.dumps([self._name, self._fingerprint, list(key)], separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()

    def following(self, keys: Sequence[Key], limit: int) -> str | None:
        """Return the cursor of the page after one that was asked for with one item too many.

        Args:
            keys: keys of all items that came back, at most `limit + 1`.
            limit: items that the page shows.
        """
        return self.cursor(keys[limit - 1]) if len(keys) > limit else None

    def key(self, cursor: str | None) -> Key | None:
        """Return the key of a cursor, `None` for none.

        Raises:
            InvalidInputError: not a cursor of this listing with these filters.
        """
        if cursor is None:
            return None
        try:
            text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
            name, fingerprint, key = json.loads(text)
        except (binascii.Error, ValueError, TypeError, RecursionError) as error:
            raise self._refusal() from error
        fits = (
            isinstance(key, list)
            and len(key) == len(self._shape)
            and all(type(part) is kind for part, kind in zip(key, self._shape, strict=True))
            and all(-(2**63) <= part < 2**63 for part in key if isinstance(part, int))
        )
        if name != self._name or fingerprint != self._fingerprint or not fits:
            raise self._refusal()
        return tuple(key)

    def octets(self, text: str) -> bytes:
        """Return the bytes of a part of a key that holds them in hex.

        Raises:
            InvalidInputError: it does not.
        """
        try:
            return bytes.fromhex(text)
        except ValueError as error:
            raise self._refusal() from error

    @staticmethod
    def _refusal() -> InvalidInputError:
        return InvalidInputError(
            "The value of `after` is not a cursor of this list with these filters. Start again "
            "without it.",
            parameter="after",
        )
