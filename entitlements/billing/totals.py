"""The tax of the lines of one invoice, rounded once for each rate so that the lines add up.

1. Tax is computed on the sum of what is taxed alike, not line by line: ten lines of 0.33 at 19% owe
   the tax of 3.30. A line's share is a difference of two running sums.
2. Prices that contain the tax stay what they are to the minor unit; net is what is left.
"""

from collections.abc import Iterable

from entitlements.billing.money import Money, Taxed, taxed


def taxed_lines(lines: Iterable[tuple[Money, int, bool]]) -> list[Taxed]:
    """Split the amounts of an invoice's lines into net and tax.

    Args:
        lines: of each line its amount, the tax rate (ppm), and whether the amount contains the tax.

    Returns:
        One for each line, in their order. For each rate the taxes add up to the tax of the sum.

    Raises:
        CurrencyMismatchError: amounts are of different currencies.
        ValueError: a rate is out of range.
    """
    sums: dict[tuple[int, bool], Money] = {}
    found: list[Taxed] = []
    for amount, rate, inclusive in lines:
        before = sums.get((rate, inclusive), Money.zero(amount.currency))
        after = before + amount
        sums[rate, inclusive] = after
        tax = taxed(after, rate, inclusive=inclusive).tax - (
            taxed(before, rate, inclusive=inclusive).tax
        )
        found.append(Taxed(amount - tax if inclusive else amount, tax))
    for one in found[1:]:
        found[0].net + one.net  # raises where currencies differ
    return found
