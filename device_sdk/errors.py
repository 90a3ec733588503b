"""What can go wrong on a device, said so that a person can act on it.

1. Every error has a stable `code` and a sentence: what happened, to which thing, what to do next.
2. Messages never hold the enrolment secret or key material.
3. Bad arguments are plain `ValueError`s; network trouble after opening is never an error, only a
   delay.
"""

from typing import ClassVar


class DeviceError(Exception):
    """Base of the errors that the device SDK raises on purpose."""

    code: ClassVar[str] = "device"


class EnrolmentError(DeviceError):
    """The hub did not enrol this device or renew its certificate.

    Args:
        message: what happened and what to do next.
        status: HTTP status of the hub's answer; None when it did not answer.
        hub_time_s: the hub's time (seconds since 1970) if the answer was that ours is too far off.
        retry_after_s: how long to wait if the answer was that too many tried, as a whole production line may.
        temporary: whether the same may succeed later: too many tried, the hub has trouble of its own, or
            it cannot be reached.
    """

    code = "enrolment"

    def __init__(
        self,
        message: str,
        status: int | None = None,
        hub_time_s: int | None = None,
        retry_after_s: int | None = None,
        *,
        temporary: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.hub_time_s = hub_time_s
        self.retry_after_s = retry_after_s
        self.temporary = temporary


class SpoolFullError(DeviceError):
    """The spool holds as much as it may and its policy is to refuse more.

    Args:
        message: what happened and what to do next.
        recorded: rows of this call that were stored before it filled up.
    """

    code = "spool-full"

    def __init__(self, message: str, recorded: int = 0) -> None:
        super().__init__(message)
        self.recorded = recorded


class SpoolError(DeviceError):
    """The spool cannot be opened or written."""

    code = "spool"


class ClosedError(DeviceError):
    """The device was closed; open it again to go on."""

    code = "closed"
