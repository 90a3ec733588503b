"""SenML unit symbols (RFC 8428 and RFC 8798) and the UCUM codes of product models.

1. A given unit matches a model's when it is that UCUM code or a SenML symbol for it.
2. Units are compared, never converted.
"""

from types import MappingProxyType

SENML_TO_UCUM = MappingProxyType(
    {
        "1/min": "/min",
        "1/s": "/s",
        "/": "1",
        "%EL": "%",
        "%RH": "%",
        "EL": "s",
        "VA": "V.A",
        "VAh": "V.A.h",
        "VAs": "V.A.s",
        "Wh": "W.h",
        "kWh": "kW.h",
        "kVA": "kV.A",
        "kVAh": "kV.A.h",
        "kvar": "kV.A{reactive}",
        "var": "V.A{reactive}",
        "Ah": "A.h",
        "As": "A.s",
        "B": "By",
        "KiB": "KiBy",
        "MB": "MBy",
        "GB": "GBy",
        "B/s": "By/s",
        "beat/min": "{beat}/min",
        "beats": "{beat}",
        "count": "{count}",
        "dBm": "dB[mW]",
        "deg": "deg",
        "l": "L",
        "l/s": "L/s",
        "lat": "deg",
        "lon": "deg",
        "mm/h": "mm/h",
        "m3/h": "m3/h",
        "pH": "[pH]",
        "ppm": "[ppm]",
        "/100": "%",
        "/1000": "[ppth]",
        "NTU": "[NTU]",
        "km/h": "km/h",
    }
)
"""Symbols that differ from their UCUM code; all others (Cel, K, W, V, Pa, ...) are the same."""

_VARIANTS = MappingProxyType({"l": "L", "l/s": "L/s", "ml": "mL", "/min": "1/min", "/s": "1/s"})


def unit_matches(given: str, model: str) -> bool:
    """Tell whether `given` is the UCUM code `model` or a SenML symbol for it."""
    candidates = {given, SENML_TO_UCUM.get(given, given), _VARIANTS.get(given, given)}
    return model in candidates or _VARIANTS.get(model, model) in candidates
