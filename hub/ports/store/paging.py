"""Cutting a page out of samples, in the order that the port promises."""

from dataclasses import astuple, replace

import numpy as np

from hub.ports.store.columns import Samples
from hub.ports.store.port import Cursor, RawColumns


def first_page(found: Samples, limit: int, after: Cursor | None) -> RawColumns:
    """Order samples by (time, stream, seq, value) and give the first `limit` behind the cursor.

    Args:
        found: everything from the cursor's row on, or more of what comes after.
        limit: rows of a page, at least 1.
        after: the cursor, None for the first page; rows before it are not among `found`.
    """
    found = found.take(np.lexsort((found.value, found.seq, found.stream, found.time)))
    skip = 0 if after is None else min(after.skip, _same_key(found, after))
    page = found.take(slice(skip, skip + limit))
    following = _cursor(page, after) if len(found) > skip + limit else None
    return RawColumns(page.time, page.value, page.seq, page.stream, following)


def _same_key(samples: Samples, row: Cursor) -> int:
    """Count the samples with exactly this time, stream and seq."""
    same = (samples.time == row.time) & (samples.stream == row.stream) & (samples.seq == row.seq)
    return int(np.count_nonzero(same))


def _cursor(page: Samples, after: Cursor | None) -> Cursor:
    """Name the last row of a page, and how many rows like it have been returned."""
    last = Cursor(int(page.time[-1]), int(page.stream[-1]), int(page.seq[-1]), 0)
    skip = _same_key(page, last)
    if after is not None and (after.time, after.stream, after.seq) == astuple(last)[:3]:
        skip += after.skip
    return replace(last, skip=skip)
