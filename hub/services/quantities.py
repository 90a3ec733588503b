"""Quantities as people read them: symbols for UCUM codes, and how many decimals say something.

1. Units are UCUM codes inside and their usual symbols outside.
2. A number has three significant digits, or more if it has them before the point: more is noise.
3. Never here: languages; separators and digits of a language are of the pages.
"""

import math
import re
from collections.abc import Mapping
from typing import Final

MAX_DECIMALS: Final = 6
_ANNOTATION: Final = re.compile(r"\{[^}]*\}")
_UNITS: Mapping[str, str] = {
    "Cel": "°C",
    "[degF]": "°F",
    "Ohm": "Ω",
    "1": "",
    "m3": "m³",
    "m2": "m²",
    "kW.h": "kWh",
    "W.h": "Wh",
    "L": "l",
    "{rotation}/min": "rpm",
    # Decibels to 1 mW: an annotation, as UCUM itself knows only those to 1 W, 1 kW and 1 V.
    "dB{mW}": "dBm",
    "dB[W]": "dBW",
    "dB[SPL]": "dB",
    "By": "B",
    "kBy": "kB",
    "MBy": "MB",
    "GBy": "GB",
    "KiBy": "KiB",
    "MiBy": "MiB",
    "GiBy": "GiB",
}


def decimals_of(value: float) -> int:
    """Return after how many decimals a finite number is rounded."""
    magnitude = math.floor(math.log10(abs(value))) if value else 0
    return min(max(0, 2 - magnitude), MAX_DECIMALS)


def plain(value: float, unit: str) -> str:
    """Return a quantity in English, without separators."""
    if not math.isfinite(value):
        return "unknown"
    rounded = round(value, decimals_of(value)) + 0.0  # -0.0 becomes 0.0
    # Not `g`: it writes 1.2e+03 where people write 1200.
    text = f"{rounded:.{MAX_DECIMALS}f}".rstrip("0").rstrip(".")
    return f"{text} {symbol(unit)}".rstrip()


def symbol(unit: str) -> str:
    """Return the usual symbol of a UCUM code."""
    if unit in _UNITS:
        return _UNITS[unit]
    over, slash, under = unit.rpartition("/")
    if slash:
        return f"{symbol(over)}/{symbol(under)}"
    # What is in braces says what was counted; the title of the metric says it better.
    terms = [_UNITS.get(term, term) for term in _ANNOTATION.sub("", unit).split(".")]
    return "·".join(term for term in terms if term)
