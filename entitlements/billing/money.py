"""Amounts of money, exact to the minor unit.

1. An amount is an `int` of the currency's minor unit (cents; whole yen; thousandths of a dinar).
   There is no float and no division that loses anything.
2. Amounts of different currencies never meet: that is an error, not a conversion.
3. A total that is split is split by running sums, so that the parts always add up to the total and
   the part of a stretch does not depend on how the rest was cut.

Number of decimals: ISO 4217, list one (2024).
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Self

_NONE: Final = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE: Final = "BHD IQD JOD KWD LYD OMR TND"
_FOUR: Final = "CLF UYW"
_TWO: Final = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD"
    " CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ"
    " GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL"
    " MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR"
    " PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT"
    " TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD YER ZAR ZMW ZWG"
)

DECIMALS: Final[dict[str, int]] = {
    code: decimals
    for decimals, codes in ((0, _NONE), (2, _TWO), (3, _THREE), (4, _FOUR))
    for code in codes.split()
}
"""Decimals of each currency, by its ISO 4217 code."""

PPM: Final = 1_000_000
"""Parts per million: the unit of tax rates and discounts (19% is 190,000)."""


class CurrencyMismatchError(ValueError):
    """Amounts of two currencies were put together."""


@dataclass(frozen=True, slots=True, order=False)
class Money:
    """An amount of one currency; may be negative (a credit).

    Args:
        minor: the amount in minor units.
        currency: ISO 4217 code.

    Raises:
        ValueError: the currency is none of ISO 4217.
    """

    minor: int
    currency: str

    def __post_init__(self) -> None:
        if self.currency not in DECIMALS:
            raise ValueError(f"{self.currency!r} is not a currency code of ISO 4217, such as EUR")

    @classmethod
    def zero(cls, currency: str) -> Self:
        """Return nothing, in a currency."""
        return cls(0, currency)

    @property
    def decimal(self) -> Decimal:
        """The amount in the currency's main unit, exactly."""
        return Decimal(self.minor).scaleb(-DECIMALS[self.currency])

    def __add__(self, other: Self) -> Self:
        """Add an amount of the same currency."""
        return type(self)(self.minor + self._same(other), self.currency)

    def __sub__(self, other: Self) -> Self:
        """Take off an amount of the same currency."""
        return type(self)(self.minor - self._same(other), self.currency)

    def __neg__(self) -> Self:
        """Return the same amount the other way."""
        return type(self)(-self.minor, self.currency)

    def __mul__(self, times: int) -> Self:
        """Return a whole number of times the amount."""
        return type(self)(self.minor * times, self.currency)

    def __bool__(self) -> bool:
        """Say whether it is anything at all."""
        return self.minor != 0

    def __str__(self) -> str:
        """Return such as `12.30 EUR`; how a person reads it is a matter of their language."""
        return f"{self.decimal} {self.currency}"

    def part(self, start: int, end: int, whole: int) -> Self:
        """Return what falls on `[start, end)` of `[0, whole)`.

        The running sum up to `x` is the total times `x / whole`, rounded half away from zero; a part
        is the difference of two of them. So the parts of any cut of the whole add up to it.

        Args:
            start: first unit of the part.
            end: end of the part.
            whole: number of units of all.

        Raises:
            ValueError: not `0 <= start <= end <= whole`, or the whole is empty.
        """
        if not 0 <= start <= end <= whole or whole == 0:
            raise ValueError(f"[{start}, {end}) is no part of [0, {whole})")
        until, before = _rounded(self.minor * end, whole), _rounded(self.minor * start, whole)
        return type(self)(until - before, self.currency)

    def rate(self, ppm: int) -> Self:
        """Return so many parts per million of the amount, rounded half away from zero."""
        return type(self)(_rounded(self.minor * ppm, PPM), self.currency)

    def _same(self, other: Self) -> int:
        if other.currency != self.currency:
            raise CurrencyMismatchError(
                f"{self} and {other} are of different currencies; bill each currency apart"
            )
        return other.minor


@dataclass(frozen=True, slots=True)
class Taxed:
    """An amount with its tax.

    Args:
        net: without tax.
        tax: the tax.
    """

    net: Money
    tax: Money

    @property
    def gross(self) -> Money:
        """What is to be paid."""
        return self.net + self.tax


def taxed(amount: Money, rate_ppm: int, *, inclusive: bool) -> Taxed:
    """Split an amount into net and tax.

    Args:
        amount: a net amount, or a gross one if `inclusive`.
        rate_ppm: tax rate in parts per million of the net amount, 0 to 1,000,000.
        inclusive: whether the tax is in the amount already, as in consumer prices.

    Raises:
        ValueError: the rate is out of range.
    """
    if not 0 <= rate_ppm <= PPM:
        raise ValueError(f"a tax rate of {rate_ppm} ppm is not within 0 to {PPM}")
    if not inclusive:
        return Taxed(amount, amount.rate(rate_ppm))
    tax = Money(_rounded(amount.minor * rate_ppm, PPM + rate_ppm), amount.currency)
    return Taxed(amount - tax, tax)


def _rounded(numerator: int, denominator: int) -> int:
    """Divide and round half away from zero; the denominator is positive."""
    quotient = (2 * abs(numerator) + denominator) // (2 * denominator)
    return quotient if numerator >= 0 else -quotient
