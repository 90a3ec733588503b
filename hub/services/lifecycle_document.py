"""The part of a catalogue document that says how a plan is tried, collected, and left.

    [[plans.comfort.versions]]
    version = 3
    trial_days = 14                     # free, once for a household and product; 0: none
    trial_method = "optional"           # "required": only with a means of payment
    retry_days = [1, 3, 5]              # after a payment failed; then comes the grace
    withdrawal_days = 14                # the law's right to withdraw from the contract
    withdrawal_refund = "full"          # "unused": what was used, by seconds, is kept
    cancel_refund = "none"              # who cancels at once gets back the "unused" rest, or nothing

1. Terms belong to their version, so they never change for who has it.
What must never live here: what a term does (`agreements`, `renewals` and beside them).
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_DAY_S = 86_400


def _rising(value: tuple[int, ...]) -> tuple[int, ...]:
    if list(value) != sorted(set(value)):
        raise ValueError("must rise, such as [1, 3, 5]")
    return value


RetryDays = Annotated[
    tuple[Annotated[int, Field(ge=1, le=60)], ...],
    Field(max_length=10, strict=False),
    AfterValidator(_rising),
]


class LifecycleTerms(BaseModel):
    """How a plan version is tried, collected, and left."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    trial_days: Annotated[int, Field(ge=0, le=366)] = 0
    trial_method: Literal["optional", "required"] = Field(
        default="optional", description="Whether a trial needs a means of payment."
    )
    retry_days: RetryDays = Field(
        default=(1, 3, 5), description="Days after a failed payment on which it is tried again."
    )
    withdrawal_days: Annotated[int, Field(ge=0, le=366)] = 14
    withdrawal_refund: Literal["full", "unused"] = "full"
    cancel_refund: Literal["none", "unused"] = "none"

    @property
    def retry_s(self) -> int:
        """Seconds for which a payment is collected: until a day after the last retry.

        At least an hour, as the first attempt takes its time, too.
        """
        return (self.retry_days[-1] + 1) * _DAY_S if self.retry_days else 3_600

    def lifecycle(self) -> dict[str, Any] | None:
        """Return the terms that are not the default, `None` if all are."""
        own = set(LifecycleTerms.model_fields)
        return self.model_dump(mode="json", include=own, exclude_defaults=True) or None


def lifecycle_of(stored: dict[str, Any] | None) -> LifecycleTerms:
    """Return the terms that `LifecycleTerms.lifecycle` keeps."""
    return LifecycleTerms.model_validate(stored or {})
