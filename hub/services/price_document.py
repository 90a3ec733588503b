"""The part of a catalogue document that says what plans cost and how they are taxed.

    [taxes.DE]                          # region of the customer, ISO 3166; others are not taxed
    title = "USt."
    rates = { standard = "19", reduced = "7" }      # percent, by tax class
    reverse_charge = false              # true: businesses with a tax id owe the tax themselves
    [[plans.comfort.versions]]
    version = 2
    price = { EUR = "9.99", JPY = 1200 }            # exact, of the currency's main unit
    interval_months = 1                 # paid for at once; 12: by the year
    tax = "standard"                    # class; empty: none
    tax_included = true                 # false: tax is added to the price
    overage = { printed_pages = { EUR = "0.02", JPY = 3, per = 1 } }    # by meter, per so many units
    top_ups = { pages_500 = { meter = "printed_pages", amount = 500, price = { EUR = "4.90", JPY = 700 }, days = 365 } }
    [plans.extra-zone]
    addon = true                        # bought beside a plan, so many of it

1. An amount that is not exact is refused: a decimal number of TOML is a float, so amounts are texts
   or whole numbers. They are kept as they are paid: `9.9` becomes `9.90`.
2. A price belongs to its version, so it never changes for who has it.
What must never live here: what a rate means for an invoice (`entitlements.billing`).
"""

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from entitlements.billing.money import PPM, Money
from entitlements.billing.price import Price, TopUp, UnitPrice, amount

REGION: Final = r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$"
_PER: Final = "per"
_PER_MOST: Final = 10**9


def _amounts(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {code: f"{amount(one, code).decimal:f}" for code, one in value.items()}


def _unit_price(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    per = value.get(_PER, 1)
    if isinstance(per, bool) or not isinstance(per, int) or not 1 <= per <= _PER_MOST:
        raise ValueError(f"{_PER} must be a whole number of units from 1 to {_PER_MOST}")
    amounts = _amounts({code: one for code, one in value.items() if code != _PER})
    if not amounts:
        raise ValueError("must name an amount in a currency")
    return amounts | {_PER: per}


def _percent(value: Any) -> Any:
    """Bring a rate to its shortest text."""
    try:
        rate = Decimal(value) if isinstance(value, str | int) else Decimal("NaN")
    except InvalidOperation:
        rate = Decimal("NaN")
    if isinstance(value, bool) or not rate.is_finite() or not 0 <= rate <= 100:
        raise ValueError("must be a percentage from 0 to 100 as a text, such as '19' or '5.5'")
    if rate * PPM / 100 != int(rate * PPM / 100):
        raise ValueError("must have at most four decimals")
    return f"{rate.normalize():f}"


def _units(value: Any) -> Any:
    """Bring a number of units to its shortest text."""
    try:
        units = Decimal(value) if isinstance(value, str | int) else Decimal("NaN")
    except InvalidOperation:
        units = Decimal("NaN")
    if isinstance(value, bool) or not units.is_finite() or not 0 < units < 2**53:
        raise ValueError("must be a number of units above zero, as a whole number or a text")
    return f"{units.normalize():f}"


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must have no control characters")
    return value


Amounts = Annotated[dict[str, str], BeforeValidator(_amounts), Field(max_length=64)]
"""Amounts by currency, as decimal text in the number of decimals that the currency has."""
UnitAmounts = Annotated[dict[str, str | int], BeforeValidator(_unit_price), Field(max_length=64)]
"""Amounts by currency, and `per`: for so many units."""
Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")]
TaxClass = Annotated[str, Field(pattern=r"^([a-z][a-z0-9_-]{0,47})?$")]
Percent = Annotated[str, BeforeValidator(_percent)]


class TaxEntry(BaseModel):
    """How customers of a region are taxed. Rates hold for invoices from when they are applied."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    title: Annotated[str, Field(max_length=100), AfterValidator(_printable)] = ""
    rates: Annotated[dict[TaxClass, Percent], Field(max_length=32)] = {}
    reverse_charge: bool = Field(
        default=False, description="Businesses with a tax id owe the tax themselves."
    )

    def ppm(self, tax_class: str, *, business: bool) -> int:
        """Return the rate of a class in parts per million.

        Args:
            tax_class: of the plan; one that has no rate here is not taxed.
            business: whether the customer has a tax id.
        """
        if business and self.reverse_charge:
            return 0
        return int(Decimal(self.rates.get(tax_class, "0")) * PPM / 100)


class TopUpEntry(BaseModel):
    """Units of a meter that are bought at once; without `days` they can be used without end."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    title: Annotated[str, Field(max_length=200), AfterValidator(_printable)] = ""
    meter: Word
    amount: Annotated[str, BeforeValidator(_units)] = Field(description="Units, exact.")
    price: Amounts = Field(min_length=1)
    days: Annotated[int, Field(ge=1, le=3_660)] | None = None


class PriceTerms(BaseModel):
    """What a plan version costs; without a price it costs nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    price: Amounts = Field(default={}, examples=[{"EUR": "9.99", "JPY": "1200"}])
    interval_months: Annotated[int, Field(ge=1, le=120)] = Field(
        default=1, description="Months that are paid for at once."
    )
    tax: TaxClass = Field(default="", description="Tax class; empty: not taxed.")
    tax_included: bool = Field(default=True, description="Whether prices contain the tax.")
    overage: Annotated[dict[str, UnitAmounts], Field(max_length=64)] = Field(
        default={},
        description="What usage beyond the quota costs, by meter.",
        examples=[{"printed_pages": {"EUR": "0.02", "per": 1}}],
    )

    top_ups: Annotated[dict[Word, TopUpEntry], Field(max_length=64)] = Field(
        default={},
        description="What can be bought once beside the quotas.",
        examples=[
            {"pages_500": {"meter": "printed_pages", "amount": "500", "price": {"EUR": "4.90"}}}
        ],
    )

    @model_validator(mode="after")
    def _sold_alike(self) -> Self:
        sold = {f"overage of {meter}": amounts.keys() for meter, amounts in self.overage.items()}
        sold |= {f"top-up {name}": entry.price.keys() for name, entry in self.top_ups.items()}
        for what, currencies in sold.items():
            missing = self.price.keys() - currencies
            if missing:
                raise ValueError(
                    f"the {what} has no amount in {', '.join(sorted(missing))}, in which the plan is"
                    " sold"
                )
        return self

    def stored(self) -> dict[str, Any] | None:
        """Return the terms that are not the default, `None` if all are."""
        own = set(PriceTerms.model_fields)
        return self.model_dump(mode="json", include=own, exclude_defaults=True) or None

    @property
    def value(self) -> Price:
        """What it costs, as `entitlements` knows it."""
        return price_of(self.stored())


def price_of(stored: dict[str, Any] | None) -> Price:
    """Return a price from what `PriceTerms.stored` keeps."""
    terms = stored or {}
    return Price(
        {code: amount(one, code) for code, one in terms.get("price", {}).items()},
        terms.get("interval_months", 1),
        terms.get("tax", ""),
        terms.get("tax_included", True),
        {meter: _unit_prices(one) for meter, one in terms.get("overage", {}).items()},
        {name: _top_up(name, one) for name, one in terms.get("top_ups", {}).items()},
    )


def _top_up(name: str, terms: dict[str, Any]) -> TopUp:
    return TopUp(
        terms.get("title") or name,
        terms["meter"],
        Decimal(terms["amount"]),
        {code: amount(one, code) for code, one in terms["price"].items()},
        terms.get("days"),
    )


def _unit_prices(terms: dict[str, Any]) -> dict[str, UnitPrice]:
    per = terms.get(_PER, 1)
    found: dict[str, Money] = {code: amount(v, code) for code, v in terms.items() if code != _PER}
    return {code: UnitPrice(one, per) for code, one in found.items()}
