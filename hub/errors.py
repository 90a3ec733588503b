"""What can go wrong in the hub, said so that a person can act on it.

1. Every error has a stable `code` (the type of its RFC 9457 problem) and a sentence naming the thing and the next step.
2. `status` is the HTTP status the API answers with; nothing else here knows of HTTP.
3. Context must never hold a secret: it is shown to callers and written to logs.
"""

from typing import Any, ClassVar


class HubError(Exception):
    """Base of all errors that the hub raises on purpose.

    Args:
        detail: what happened, to which thing, and what to do next.
        context: machine-readable facts shown beside the detail.
    """

    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong in the hub"
    status: ClassVar[int] = 500

    def __init__(self, detail: str, **context: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.context = context


class InvalidInputError(HubError):
    """The caller sent something that cannot be accepted as it is."""

    code = "invalid-input"
    title = "The request is not valid"
    status = 422


class NotAuthenticatedError(HubError):
    """Nobody, or nobody we know, is asking."""

    code = "not-authenticated"
    title = "Sign in first"
    status = 401


class ForbiddenError(HubError):
    """Known caller, but this is not theirs to do."""

    code = "forbidden"
    title = "Not allowed"
    status = 403


class NotFoundError(HubError):
    """No such thing, or none that the caller may know of."""

    code = "not-found"
    title = "Not found"
    status = 404


class ConflictError(HubError):
    """The thing is not in a state in which this can be done."""

    code = "conflict"
    title = "Conflict with the present state"
    status = 409


class KeyMissingError(HubError):
    """A write that must not happen twice came without a key, or with one that is none."""

    code = "idempotency-key"
    title = "An idempotency key is needed"
    status = 400


class KeyInUseError(HubError):
    """The first request with this key has not been answered yet."""

    code = "idempotency-in-progress"
    title = "The first request with this key is still running"
    status = 409


class KeyReusedError(HubError):
    """The key was sent before, with another request."""

    code = "idempotency-key-reused"
    title = "This key stands for another request"
    status = 422


class PreconditionFailedError(HubError):
    """The thing was changed since the caller read it."""

    code = "precondition-failed"
    title = "It was changed in the meantime"
    status = 412


class PreconditionRequiredError(HubError):
    """The caller must say which state of the thing they mean to change."""

    code = "precondition-required"
    title = "Say which version you change"
    status = 428


class RateLimitedError(HubError):
    """Too many tries; `retry_after_s` says when to come back."""

    code = "rate-limited"
    title = "Too many attempts"
    status = 429

    def __init__(self, detail: str, *, retry_after_s: int, **context: Any) -> None:
        super().__init__(detail, retry_after_s=retry_after_s, **context)
        self.retry_after_s = retry_after_s


class NotReadyError(HubError):
    """Something that the answer needs is still being made; it will be there soon."""

    code = "not-ready"
    title = "Not ready yet"
    status = 503


class StorageError(HubError):
    """The hub's own files are damaged or cannot be written."""

    code = "storage"
    title = "The hub's storage failed"
    status = 503


class DiskFullError(StorageError):
    """There is no room on the hub's disk; it goes on by itself when there is."""

    code = "disk-full"
    title = "The hub's disk is full"
