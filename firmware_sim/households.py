"""The demo's customers: who they are, and how they stand with their plan.

1. Dates are relative to an instant given; every state of a subscription occurs at least once, and
   so do holds with an end and without one.
2. The first household is the one whose heat pump will fail. Two people live there, each with an
   account, and they own a product of each model.
3. The first ones have a story each; the others fill the fleet up, the same each time.
4. Never here: the hub's interface or its decision on these dates.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count as counting
from itertools import cycle, islice
from typing import Final

SHELF_DAYS: Final = 20
"""How long a product lay in the shop."""
PAST_DAYS: Final = 30
"""Products with a past were in use for so long at least."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a household's products are blocked for a while.

    Args:
        kind: one of the hub's words.
        reason: what support wrote down.
        days: when it ends by itself, counted from now; None: when it is lifted.
    """

    kind: str
    reason: str
    days: int | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a household stands with its plan. Days count from now; negative ones are ago.

    Args:
        words: the same in words for people.
        plan: what they subscribed to; None is nothing at all.
        starts_days: when the subscription begins.
        trial_days: length of its trial from there, if it has one.
        paid_days: paid until then; None is never paid.
        cancelled_days: cancelled then, if it is.
        buys: plan that they subscribe to themselves now, and pay for each month.
        pays_by: what comes of their payments; nothing is collected.
        claimed: whether they claimed the product.
        hold: what blocks their product, if anything does.
    """

    words: str
    plan: str | None
    starts_days: int = -400
    trial_days: int | None = None
    paid_days: int | None = None
    cancelled_days: int | None = None
    buys: str | None = None
    pays_by: str = "local:ok"
    claimed: bool = True
    hold: Hold | None = None

    @property
    def made_days(self) -> int:
        """How many days ago their product was made: before they used it, and some time before."""
        return max(-self.starts_days, PAST_DAYS) + SHELF_DAYS


@dataclass(frozen=True, slots=True)
class Household:
    """A customer.

    Args:
        name: the customer.
        email: sign-in name.
        standing: how they stand with their plan.
        members: name and e-mail of others in the household, who have accounts of their own.
    """

    name: str
    email: str
    standing: Standing
    members: Sequence[tuple[str, str]] = ()


ACTIVE: Final = Standing("active", "care", paid_days=200)
NAMED: Final[Sequence[Household]] = (
    Household(
        "Ana Gruber",
        "ana@example.com",
        Standing("active, pays each month", "care", paid_days=0, cancelled_days=0, buys="care"),
        members=(("Max Gruber", "max@example.com"),),
    ),
    Household(
        "Ben Okoro",
        "ben@example.com",
        Standing("begins a trial now", "comfort", paid_days=0, cancelled_days=0, buys="comfort"),
    ),
    Household(
        "Chiara Conti",
        "chiara@example.com",
        Standing(
            "begins a trial now, will not be able to pay",
            "essential",
            paid_days=0,
            cancelled_days=0,
            buys="essential",
            pays_by="local:declines",
        ),
    ),
    Household(
        "Dag Lund",
        "dag@example.com",
        Standing("in its trial", "comfort", starts_days=-10, trial_days=30),
    ),
    Household(
        "Eva Novak",
        "eva@example.com",
        Standing("payment late, in grace", "comfort", paid_days=-5),
    ),
    Household(
        "Finn Meyer",
        "finn@example.com",
        Standing("unpaid, lapsed", "comfort", paid_days=-60),
    ),
    Household(
        "Greta Olsen",
        "greta@example.com",
        Standing("cancelled, paid to the end", "care", paid_days=25, cancelled_days=-8),
    ),
    Household(
        "Hugo Martin",
        "hugo@example.com",
        Standing("trial ran out, lapsed", "essential", starts_days=-70, trial_days=30),
    ),
    Household("Ines Costa", "ines@example.com", Standing("no plan", None)),
    Household(
        "Jan Kowalski",
        "jan@example.com",
        Standing("not claimed yet", None, claimed=False),
    ),
    Household(
        "Kati Virtanen",
        "kati@example.com",
        Standing("begins in a week", "comfort", starts_days=7, paid_days=372),
    ),
    Household(
        "Luis Romero",
        "luis@example.com",
        Standing("cancelled, over", "care", paid_days=-20, cancelled_days=-45),
    ),
    Household(
        "Mila Petrova",
        "mila@example.com",
        Standing(
            "on hold, payment charged back",
            "comfort",
            paid_days=80,
            hold=Hold("payment", "The bank charged the last payment back", days=14),
        ),
    ),
    Household(
        "Noor Haddad",
        "noor@example.com",
        Standing(
            "on hold, reported stolen",
            "care",
            paid_days=150,
            hold=Hold("theft", "Reported stolen by its owner"),
        ),
    ),
)

_FIRST_NAMES: Final = (
    "Mara",
    "Nils",
    "Oona",
    "Paolo",
    "Quentin",
    "Rosa",
    "Sven",
    "Tilda",
    "Ulf",
    "Vera",
    "Wanda",
    "Yves",
)
_SURNAMES: Final = ("Adler", "Berg", "Castro", "Dahl")
# Most customers pay; the rest is a little of everything, as in life.
_USUAL: Final = (
    ACTIVE,
    Standing("active", "comfort", paid_days=90),
    Standing("active", "essential", paid_days=14),
    Standing("active", "comfort", paid_days=300),
    Standing("in its trial", "care", starts_days=-20, trial_days=30),
    ACTIVE,
    Standing("active", "essential", paid_days=250),
    Standing("payment late, in grace", "care", paid_days=-12),
    Standing("active", "comfort", paid_days=45),
    Standing("unpaid, lapsed", "essential", paid_days=-40),
)


def households(count: int) -> list[Household]:
    """Return the demo's households, the named ones first.

    Args:
        count: how many, at least one.
    """
    return list(islice(_all(), count))


def _all() -> Iterator[Household]:
    yield from NAMED
    usual = cycle(_USUAL)
    for generation in counting():
        surname = _SURNAMES[generation % len(_SURNAMES)]
        mark = str(generation + 1) if generation >= len(_SURNAMES) else ""
        for first in _FIRST_NAMES:
            email = f"{first}.{surname}{mark}@example.com".lower()
            yield Household(f"{first} {surname}", email, next(usual))
