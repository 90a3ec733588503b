"""Units of the catalogue are those of UCUM."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.services import catalogue_units

# Examples of the UCUM specification and of what products report.
UNITS = """
1 % Cel mCel [degF] [pH] dB dB{mW} B[10.nV] mm/s m/s2 kg.m-1.s-2 W/(m2.K) J/(kg.K) kW.h L/min m3/h
10*3/uL 10^ 4.[pi].10*-7.N/A2 {rotation}/min /min m[H2O] [in_i'H2O] mm[Hg] kBy KiBy/s cd dag Pa u
[lb_av].[ft_i]/s2 10.L/min (m/s)/(K.m) %{vol} 2.10*-3 [iU]/L mol/m3 deg ' ''
""".split()  # noqa: SIM905  as one writes units


@pytest.mark.parametrize("unit", ["", *UNITS])
def test_units(unit: str) -> None:
    assert catalogue_units.check(unit) == unit


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kWh", "write 'kW.h'"),
        ("°C", "write 'Cel'"),
        ("rpm", "write '{rotation}/min'"),
        ("dBm", "write 'dB{mW}'"),
        ("foo", "there is no unit 'foo'"),
        ("m{flow}3{x}", "unexpected '3' at position 8"),
        ("m/", "ends where a unit should follow"),
        ("m..s", "unexpected '.' at position 3"),
        ("m s", "unexpected ' ' at position 2"),
        ("(m/s", "parenthesis is not closed"),
        ("m)", "unexpected ')'"),
        ("{open", "brace"),
        ("{ä}", "brace"),
        ("Cel/h", "scale of its own"),
        ("/dB", "scale of its own"),
        ("[pH]2", "scale of its own"),
        ("k[degF]", "there is no unit"),
        ("kmin", "there is no unit"),
        ("m.m.m.m.m.m.m.m.m.m.m.m.m.m.m.m.m.m.m.m.m.m.m.m.m", "longer than 48"),
    ],
)
def test_what_is_no_unit_says_why(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        catalogue_units.check(text)


@given(st.text(alphabet="mskgKCelWhBy%[]{}()./+-0123456789*^'Äµ ", max_size=20))
def test_any_text_is_judged(text: str) -> None:
    wrong = catalogue_units.refusal(text)
    assert wrong is None or (text and wrong)


@given(
    st.lists(st.sampled_from(["m", "kg", "s-1", "{x}", "10*3", "(K/W)"]), min_size=1, max_size=6)
)
def test_products_and_quotients_of_units_are_units(parts: list[str]) -> None:
    for operator in "./":
        assert catalogue_units.refusal(operator.join(parts)) is None
