"""What a plan says of a quota beside its size: what happens when it is used up, and with the rest.

1. A hard limit closes the feature; a soft one lets usage go on and counts it as overage.
2. At the end of a period a rest may be carried on: `min(rollover_max, max(rollover_min, rest))`, for
   so many further periods as the plan says.

What must never live here: how much was used, or which grant pays for it (`billing/credit.py`).
"""

from dataclasses import dataclass
from typing import Final

SHARES: Final = (50, 80, 100)
"""Percent of what may be used at which people are told, where a plan names no others."""


@dataclass(frozen=True, slots=True)
class QuotaTerms:
    """Terms of a quota.

    Args:
        hard: whether the feature closes when the quota is used up.
        keep_overage: whether what is over is taken from the next period.
        rollover_min: at least so much is carried on at the end of a period, in the quota's unit.
        rollover_max: at most so much.
        rollover_periods: for so many further periods; 0: nothing is carried on.
        shares: percent at which people are told, rising.

    Raises:
        ValueError: a number is out of range, or the shares do not rise.
    """

    hard: bool = True
    keep_overage: bool = False
    rollover_min: int = 0
    rollover_max: int = 0
    rollover_periods: int = 0
    shares: tuple[int, ...] = SHARES

    def __post_init__(self) -> None:
        if not 0 <= self.rollover_min <= self.rollover_max:
            raise ValueError(
                f"at least {self.rollover_min} and at most {self.rollover_max} would be carried on; the"
                " least must not be negative nor above the most"
            )
        if self.rollover_periods < 0:
            raise ValueError("a quota cannot be carried on for less than no period")
        rising = all(a < b for a, b in zip((0, *self.shares), self.shares, strict=False))
        if not rising or len(self.shares) > 16:
            raise ValueError("thresholds are at most 16 percentages, rising from 1")

    @property
    def carries(self) -> bool:
        """Whether what happened in earlier periods changes what may be used in this one."""
        return self.keep_overage or (self.rollover_periods > 0 and self.rollover_max > 0)


PLAIN: Final = QuotaTerms()
"""A hard limit, told at the usual shares, of which nothing is carried on."""
