"""Surprise: how unlikely a statistic is in this series' own ordinary life, in nats.

1. Scale-free: a running high quantile starts the tail; excesses are relative to it.
2. The tail beyond is a generalised Pareto distribution fitted by the method of moments (Hosking and
   Wallis, Technometrics 29, 1987; peaks over threshold as in Siffer et al., KDD 2017, but with
   O(1) state).
3. Heavy tails stay heavy: a series that often jumps is not called surprising for jumping.
"""

import math
from typing import Any, Final

import numba as nb

EXCEEDANCE: Final = 0.05
"""Share of the statistic that lies beyond the running quantile."""

BASE_NATS: Final = -math.log(EXCEEDANCE)

_QUANTILE: Final = 0
_MEAN: Final = 1
_SQUARE: Final = 2
_EXPONENTIAL: Final = 1e-3  # shapes below this are exponential


@nb.njit(nogil=True)
def begin(tail: Any, which: int, start: float) -> None:
    """Start a tail with a guess; the excess of an exponential-like tail is assumed at first."""
    tail[which, _QUANTILE] = start
    tail[which, _MEAN] = 0.3
    tail[which, _SQUARE] = 0.2


@nb.njit(nogil=True)
def quantile(tail: Any, which: int) -> float:
    """Return where the tail starts."""
    return float(tail[which, _QUANTILE])


@nb.njit(nogil=True)
def shape_and_scale(tail: Any, which: int, lean: float) -> tuple[float, float]:
    """Return shape (0 to 0.5) and scale of the generalised Pareto tail.

    A shape below `lean` is taken for 0, others for that much less: its estimate errs by about as
    much, and an error upwards hides far more than one downwards invents.
    """
    mean = tail[which, _MEAN]
    variance = tail[which, _SQUARE] - mean * mean
    ratio = mean * mean / max(variance, 1e-12 * mean * mean + 1e-300)
    shape = 0.5 * (1.0 - ratio) - lean
    if shape < _EXPONENTIAL:
        return 0.0, mean
    return shape, mean * (1.0 - shape)


@nb.njit(nogil=True)
def surprise(tail: Any, which: int, x: float, lean: float) -> float:
    """Return -ln of the chance of `x` or more; below the quantile a straight line to zero."""
    start = tail[which, _QUANTILE]
    if x <= start:
        return float(BASE_NATS * x / start)
    excess = x / start - 1.0
    shape, scale = shape_and_scale(tail, which, lean)
    if shape == 0.0:
        return float(BASE_NATS + excess / scale)
    return BASE_NATS + math.log1p(shape * excess / scale) / shape


@nb.njit(nogil=True)
def threshold(tail: Any, which: int, nats: float, lean: float) -> float:
    """Return the value whose surprise is `nats`; the inverse of `surprise` above the quantile."""
    shape, scale = shape_and_scale(tail, which, lean)
    beyond = nats - BASE_NATS
    excess = scale * (beyond if shape == 0.0 else math.expm1(shape * beyond) / shape)
    return float(tail[which, _QUANTILE] * (1.0 + excess))


@nb.njit(nogil=True)
def learn(
    tail: Any, which: int, x: float, floor: float, step: float, rate: float, cap: float
) -> None:
    """Move the quantile by a relative `step`, and the moments of the excess by `rate`.

    The quantile never falls below `floor`; an excess counts up to `cap`.
    """
    start = tail[which, _QUANTILE]
    if x > start:
        excess = min(x / start - 1.0, cap)
        tail[which, _MEAN] += rate * (excess - tail[which, _MEAN])
        tail[which, _SQUARE] += rate * (excess * excess - tail[which, _SQUARE])
        tail[which, _QUANTILE] = start * (1.0 + (1.0 - EXCEEDANCE) * step)
    else:
        tail[which, _QUANTILE] = max(start * (1.0 - EXCEEDANCE * step), floor)
