"""The facts about one product that its warranty and support contracts are derived from.

1. Facts are immutable; they say what was agreed, bought and seen, never what follows from it.
2. Instants are `int` ns since 1970 UTC; intervals are half-open. Months are those of the calendar
   in the product's time zone.
3. What does not pass on to the next owner belongs to an owner epoch; 0 stands for the first owner.

No clock, no database, no money.
"""

from dataclasses import dataclass

from entitlements.facts import Ownership


@dataclass(frozen=True, slots=True)
class WarrantyTerms:
    """What the vendor promises with every product of a model.

    Args:
        version: version of the terms; a product keeps the ones it was made under.
        months: for how long from the first use, at least 1.
        latest_start_months: it begins so long after the product was made, used or not.
        transferable: whether it passes on to the next owner.
        hours: operating hours that it covers, `None` for any number.
        cycles: cycles that it covers, `None` for any number.
    """

    version: int
    months: int
    latest_start_months: int
    transferable: bool = True
    hours: float | None = None
    cycles: float | None = None


@dataclass(frozen=True, slots=True)
class Extension:
    """More warranty, bought.

    Args:
        id: identity of the purchase.
        bought_at: when; it adds nothing to any instant before.
        months: added behind the end, or behind the purchase if the end was past.
        hours: operating hours added to a limit on them.
        cycles: cycles added to a limit on them.
        transferable: whether it passes on to the next owner, if the warranty does.
        epoch: owner epoch that bought it.
    """

    id: str
    bought_at: int
    months: int
    hours: float = 0.0
    cycles: float = 0.0
    transferable: bool = True
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """What a counter had counted in all at an instant; totals never fall (`lifetime.py`)."""

    at: int
    total: float


@dataclass(frozen=True, slots=True)
class Contract:
    """A support contract.

    Args:
        id: identity of the contract.
        plan: what was sold, such as `care`.
        version: its version.
        start: first instant; the local day of it is the first of the first term.
        months: length of a term.
        terms: terms that were bought, at least 1.
        incidents: cases that each term covers, `None` for any number.
        transferable: whether it passes on to the next owner.
        epoch: owner epoch that bought it.
        ended_at: when it was ended before its time, `None` if it was not.
    """

    id: str
    plan: str
    version: int
    start: int
    months: int
    terms: int = 1
    incidents: int | None = None
    transferable: bool = False
    epoch: int = 0
    ended_at: int | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """One case charged to a contract.

    Args:
        contract_id: to which.
        at: when the case was opened; the term of that instant pays for it.
        given_back_at: when it turned out not to be chargeable, `None` if it did not.
    """

    contract_id: str
    at: int
    given_back_at: int | None = None


@dataclass(frozen=True, slots=True)
class CoverageFacts:
    """Everything that decides who pays for a repair of one product.

    Args:
        zone: IANA name of the product's time zone.
        made_at: when it was made.
        first_use_at: when it was first seen at work, `None` if it was not yet.
        terms: of its warranty, `None` if the model has none.
        extensions: all that were ever bought.
        hours: readings of its operating hours, in any order.
        cycles: readings of its cycles, in any order.
        contracts: all it ever had.
        uses: all cases that were charged to them.
        ownership: who owned it when.
    """

    zone: str
    made_at: int
    first_use_at: int | None = None
    terms: WarrantyTerms | None = None
    extensions: tuple[Extension, ...] = ()
    hours: tuple[Reading, ...] = ()
    cycles: tuple[Reading, ...] = ()
    contracts: tuple[Contract, ...] = ()
    uses: tuple[Use, ...] = ()
    ownership: tuple[Ownership, ...] = ()
