"""What sends webhooks, as the hub sees it.

1. One request, one answer, never a redirect. What went wrong is a value, not an exception.
2. Nothing here knows what is told or whom.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Posted:
    """What came of a request.

    Args:
        status: of the answer; None where none came.
        error: why none came, in a few words without anything secret; empty where one came.
        retry_after_s: seconds after which the receiver wants to be asked again; None: it did not say.
        duration_ms: how long it took.
    """

    status: int | None
    error: str = ""
    retry_after_s: int | None = None
    duration_ms: int = 0


class Post(Protocol):
    """Sends a body to an address."""

    def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> Posted:
        """POST a body and return what came of it; never raises for what the network does."""
