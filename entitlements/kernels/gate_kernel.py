"""The compiled loop that turns the instants of many products into the gate's spans of time."""

import numba as nb
import numpy as np

from entitlements.kernels.decision_kernel import read_only


@nb.njit(
    nb.void(
        nb.i8,
        read_only(nb.i8),
        read_only(nb.i8),
        read_only(nb.i8),
        read_only(nb.i8),
        read_only(nb.i8),
        nb.i8[::1],
        nb.i8[::1],
        nb.i8[::1],
    ),
    cache=True,
    nogil=True,
)
def spans(at, first, count, instant, kind_first, kind, sizes, starts, kinds):  # type: ignore[no-untyped-def]
    """Write what the gate does with each product from an instant on.

    Args:
        at: the instant, ns UTC.
        first: i64[P], where the instants of each product begin in `instant`.
        count: i64[P], how many it has.
        instant: i64[K], rising for each product.
        kind_first: i64[P], where the product's kinds begin, one for each interval.
        kind: i64[C], what the gate does in an interval, by number.
        sizes: i64[P], set to the number of spans of each product.
        starts: i64, with room for a span an interval; set to when the spans begin, product after
            product. The first one of each begins at the lowest int64.
        kinds: i64, likewise; set to what the gate does in the spans.
    """
    filled = 0
    for i in range(first.shape[0]):
        begun = 0
        while begun < count[i] and instant[first[i] + begun] <= at:
            begun += 1
        before = kind[kind_first[i] + begun]
        starts[filled], kinds[filled] = np.iinfo(np.int64).min, before
        size = 1
        for k in range(begun, count[i]):
            now = kind[kind_first[i] + k + 1]
            if now != before:
                starts[filled + size], kinds[filled + size] = instant[first[i] + k], now
                size += 1
                before = now
        sizes[i] = size
        filled += size
