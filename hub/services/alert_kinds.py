"""Kinds of alerts: those of the detector, and those that the hub itself raises.

1. Numbers are stored in logs and the database: append, never renumber or reuse. The detector's are below 128.
2. What the hub raises is about a device as a whole, for support alone: its metric is 0 and means nothing.
"""

from typing import Final

from analytics.findings import Kind

FIRST_OF_HUB: Final = 128
IDENTITY_CONFLICT: Final = 128
"""Other content came under a row identity that is known: a cloned device, or one restored from a backup."""
OLDER_COPY: Final = 129
"""A device connected and knows less of its stream than the hub: restored from an older copy of itself, or cloned."""
TWO_COPIES: Final = 130
"""Two programs with one device's identity are alive: it was cloned."""

SUSPICIONS: Final = frozenset({IDENTITY_CONFLICT, TWO_COPIES})
"""What makes a clone so likely that the product is held; an older copy may be a restored backup."""

_HUB: Final = {
    IDENTITY_CONFLICT: "identity_conflict",
    OLDER_COPY: "older_copy",
    TWO_COPIES: "two_copies",
}


def kind_words() -> list[str]:
    """Return the words of all kinds."""
    return [kind_word(kind) for kind in (*Kind, *_HUB)]


def kind_word(kind: int) -> str:
    """Return the word for a kind, as the API and the pages say it."""
    return _HUB[kind] if kind in _HUB else Kind(kind).name.lower()
