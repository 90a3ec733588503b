"""Units as the Unified Code for Units of Measure (UCUM, case sensitive) writes them.

1. The grammar is UCUM's own (section 2): terms of prefixed symbols, exponents, factors, parentheses
   and annotations. The symbols are those that connected products use; others can be added.
2. A special unit (`Cel`, `dB`, `[pH]`), whose scale has no zero or is logarithmic, stands alone.
3. What people often write instead is answered with what they mean.

Nothing is converted here: a unit says what values mean, and they are kept as they came.
Source: G. Schadow, C. McDonald, The Unified Code for Units of Measure, version 2.1.
"""

import re

LENGTH = 48
"""Bytes that a unit has in the arrays of the gate."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PREFIXES = _words("Y Z E P T G M k h da d c m u n p f a z y Ki Mi Gi Ti")

_METRIC = _words("""
    m s g rad K C cd mol sr Hz N Pa J W A V F Ohm S Wb T H lm lx Bq Gy Sv l L ar t bar u eV pc
    [c] [k] [h] [eps_0] [mu_0] [e] [m_e] [m_p] [G] [g] [ly] gf Ky Gal dyn erg P Bi St Mx G Oe Gb sb
    Lmb ph Ci R RAD REM cal cal_[15] cal_[20] cal_m cal_IT cal_th m[Hg] m[H2O] st kat U [iU] [IU]
    bit By Bd b mho eq osm g%
    """)
_PLAIN = _words("""
    10* 10^ [pi] % [ppth] [ppm] [ppb] [pptr] gon deg ' '' min h d a_t a_j a_g a wk mo_s mo_j mo_g mo
    AU atm [lbf_av] [in_i] [ft_i] [yd_i] [mi_i] [fth_i] [nmi_i] [kn_i] [sin_i] [sft_i] [syd_i]
    [cin_i] [cft_i] [cyd_i] [mil_i] [HP] [acr_us] [gal_us] [bbl_us] [qt_us] [pt_us] [foz_us]
    [cup_us] [tbs_us] [tsp_us] [gal_br] [qt_br] [pt_br] [foz_br] [gr] [oz_av] [lb_av] [ston_av]
    [lton_av] [degR] [Cal] [Btu] [Btu_IT] [Btu_th] [psi] [in_i'Hg] [in_i'H2O] [car_m] Ao att mesh_i
    [Ch] [CFU] circ sph
    """)
_SPECIAL_METRIC = _words("Cel Np B B[SPL] B[V] B[mV] B[uV] B[10.nV] B[W] B[kW]")
_SPECIAL_PLAIN = _words("[degF] [degRe] [pH] bit_s %[slope]")

# A symbol: square brackets hold anything; outside of them neither operators nor digits.
_SYMBOL = re.compile(r"10[*^]|(?:[^\s\d+\-./(){}\[\]]|\[[^\[\]\s]*\])+")
_EXPONENT = re.compile(r"[+-]?\d+")
_FACTOR = re.compile(r"\d+")
_ANNOTATION = re.compile(r"\{[!-z|~]*\}")

_MEANT = {
    "°C": "Cel", "degC": "Cel", "celsius": "Cel", "°F": "[degF]", "degF": "[degF]",
    "kWh": "kW.h", "Wh": "W.h", "MWh": "MW.h", "Ah": "A.h", "mAh": "mA.h", "VA": "V.A",
    "rpm": "{rotation}/min", "RPM": "{rotation}/min", "percent": "%", "pct": "%", "ppm": "[ppm]",
    "sec": "s", "second": "s", "seconds": "s", "minutes": "min", "hour": "h", "hours": "h",
    "hr": "h", "day": "d", "days": "d", "byte": "By", "bytes": "By", "kB": "kBy", "MB": "MBy",
    "GB": "GBy", "KB": "kBy", "bits": "bit", "ohm": "Ohm", "Ω": "Ohm", "kOhm": "kOhm",
    "µm": "um", "µs": "us", "µA": "uA", "µg": "ug", "dBm": "dB{mW}", "dB(A)": "dB{A}",
    "m³": "m3", "m²": "m2", "m^2": "m2", "m^3": "m3", "m³/h": "m3/h", "kmh": "km/h", "kph": "km/h",
    "mph": "[mi_i]/h", "psi": "[psi]", "inch": "[in_i]", "ft": "[ft_i]", "mmHg": "mm[Hg]",
    "pH": "[pH]", "count": "{count}", "pcs": "{count}", "degrees": "deg", "°": "deg", "lux": "lx",
    "year": "a", "years": "a", "month": "mo", "week": "wk", "weeks": "wk", "liter": "L",
    "litre": "L", "ltr": "L", "volt": "V", "watt": "W", "amp": "A", "g/m³": "g/m3",
}  # fmt: skip


def check(unit: str) -> str:
    """Return a unit as it is.

    Args:
        unit: UCUM code; empty for a quantity without one.

    Raises:
        ValueError: it is none; says what is wrong and, where that is known, what is meant.
    """
    wrong = refusal(unit)
    if wrong is not None:
        raise ValueError(wrong)
    return unit


def refusal(unit: str) -> str | None:
    """Say what is wrong with a unit, `None` if nothing is."""
    if not unit:
        return None
    try:
        _Reader(unit).read()
    except _NoUnitError as error:
        meant = _MEANT.get(unit.strip())
        if meant is None:
            return f"{unit!r} is not a UCUM unit: {error}"
        return f"{unit!r} is not a UCUM unit; write {meant!r}"
    if len(unit.encode()) > LENGTH:
        return f"the unit {unit!r} is longer than {LENGTH} characters"
    return None


class _NoUnitError(Exception):
    """What is wrong with the text."""


class _Reader:
    """Reads one unit by recursive descent; each method is a rule of the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._parts = 0  # components, other than annotations
        self._special = ""

    def read(self) -> None:
        """Read all of it: `main-term ::= "/" term | term`."""
        bare = not self._take("/")
        self._term()
        if self._at != len(self._text):
            raise _NoUnitError(f"unexpected {self._text[self._at]!r} at position {self._at + 1}")
        if self._special and (self._parts > 1 or not bare):
            raise _NoUnitError(
                f"{self._special!r} has a scale of its own and cannot be multiplied, divided or "
                "raised; use a unit with a zero, such as K for differences in temperature"
            )

    def _term(self) -> None:
        self._component()
        while self._take(".") or self._take("/"):
            self._component()

    def _component(self) -> None:
        if self._take("("):
            self._term()
            if not self._take(")"):
                raise _NoUnitError("a parenthesis is not closed")
        elif self._match(_ANNOTATION):
            pass
        else:
            self._parts += 1
            if symbol := self._match(_SYMBOL):
                self._simple(symbol)
                self._match(_ANNOTATION)
            elif not self._match(_FACTOR):
                raise _NoUnitError(self._missing())

    def _simple(self, symbol: str) -> None:
        special = _symbol_is_special(symbol)
        if special:
            self._special = symbol
        if self._match(_EXPONENT) and special:
            self._parts += 1

    def _missing(self) -> str:
        if self._at >= len(self._text):
            return "it ends where a unit should follow"
        if self._text[self._at] == "{":
            return "what stands in braces must be visible ASCII, and the brace be closed"
        return f"unexpected {self._text[self._at]!r} at position {self._at + 1}"

    def _take(self, character: str) -> bool:
        found = self._text.startswith(character, self._at)
        self._at += found
        return found

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            return ""
        self._at = found.end()
        return found.group()


def _symbol_is_special(symbol: str) -> bool:
    """Look a symbol up, with and without a prefix."""
    if symbol in _METRIC or symbol in _PLAIN:
        return False
    if symbol in _SPECIAL_METRIC or symbol in _SPECIAL_PLAIN:
        return True
    for length in (1, 2):
        prefix, rest = symbol[:length], symbol[length:]
        if prefix in _PREFIXES and rest in _METRIC:
            return False
        if prefix in _PREFIXES and rest in _SPECIAL_METRIC:
            return True
    raise _NoUnitError(f"there is no unit {symbol!r}")
