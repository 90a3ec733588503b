"""One recorded series through the product's own kernel: a score for each row, for public scorers.

1. Runs the shipped detector with the shipped parameters; nothing here may be tuned to recordings.
2. No look-ahead: the score of a row depends on the rows up to it.
"""

import numpy as np
import numpy.typing as npt

from analytics.detector import Detector


def score(
    timestamps: npt.NDArray[np.datetime64], values: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Score the rows of one series.

    Args:
        timestamps: datetime64[s][N], in the order received.
        values: float64[N], finite.

    Returns:
        float64[N]; higher is stranger, and 0 for rows that are not newer than all before.

    Raises:
        ValueError: a value is not finite, or the lengths differ.
    """
    detector = Detector(1)
    count = len(values)
    index = np.full(count, detector.allocate(1), np.int64)
    time = timestamps.astype("datetime64[ns]").astype(np.int64)
    return detector.score(index, time, values, np.zeros(count, np.bool_))
