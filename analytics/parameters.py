"""The one global configuration of the detector.

1. One set of numbers serves every series: the detector learns scale, cadence and rhythm, nobody tunes a series.
2. Every number here has a unit and a reason; whatever can be learned from the data must not become a parameter.
3. A snapshot of a detector carries the parameters it ran with.
"""

from dataclasses import astuple, dataclass, fields

import numpy as np


@dataclass(frozen=True, slots=True)
class Parameters:
    """Settings of the detector; the defaults are what Homeport ships and measures.

    Attributes:
        limit_rearm_s: a value that stays outside its limits is reported again after this many seconds.
    """

    limit_rearm_s: float = 86_400.0

    def record(self) -> np.ndarray:
        """Return the parameters as an array of one record, as the kernel reads them."""
        return np.array([astuple(self)], dtype=PARAMETERS)


PARAMETERS = np.dtype([(field.name, np.float64) for field in fields(Parameters)])
"""The kernel's view of `Parameters`: one float64 each, in the order of the fields."""
