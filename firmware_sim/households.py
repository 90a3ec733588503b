"""The demo's customers: who they are, where they live, and how they stand with their plan.

1. Dates are relative to an instant given; every state of a subscription occurs at least once.
2. The first household is the one whose heat pump will fail: it lives where it is always cold, so
   its compressor runs when the demo is watched.
3. Never here: the hub's interface or its decision on these dates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from firmware_sim.products.climate import (
    ALPINE,
    CONTINENTAL,
    GLACIER,
    MARITIME,
    NORDIC,
    Climate,
)


@dataclass(frozen=True, slots=True)
class Household:
    """A customer and their one heat pump.

    Args:
        name: the customer.
        email: sign-in name.
        climate: where they live.
        zone: IANA time zone.
        plan: what they subscribed to; None is nothing at all.
        standing: how the subscription stands, in words for people.
        since_days: when it began, days before now.
        trial_days: length of its trial, if it has one.
        paid_days: paid until so many days from now (negative: ago); None is never paid.
        cancelled_days: cancelled so many days ago, if it is.
        claimed: whether they claimed the product.
        loss_w_per_k: heat that the house loses; None leaves it to the seed.
    """

    name: str
    email: str
    climate: Climate
    zone: str
    plan: str | None
    standing: str
    since_days: int = 400
    trial_days: int | None = None
    paid_days: int | None = None
    cancelled_days: int | None = None
    claimed: bool = True
    loss_w_per_k: float | None = None


HOUSEHOLDS: Final[Sequence[Household]] = (
    Household(
        "Ana Gruber", "ana@example.com", GLACIER, "Europe/Vienna", "care", "active", paid_days=200
    ),
    Household(
        "Ben Okoro", "ben@example.com", MARITIME, "Europe/London", "comfort", "active", paid_days=31
    ),
    Household(
        "Chiara Conti",
        "chiara@example.com",
        ALPINE,
        "Europe/Rome",
        "essential",
        "active",
        paid_days=120,
    ),
    Household(
        "Dag Lund",
        "dag@example.com",
        NORDIC,
        "Europe/Oslo",
        "comfort",
        "in its trial",
        since_days=10,
        trial_days=30,
    ),
    Household(
        "Eva Novak",
        "eva@example.com",
        CONTINENTAL,
        "Europe/Prague",
        "comfort",
        "payment late, in grace",
        paid_days=-5,
    ),
    Household(
        "Finn Meyer",
        "finn@example.com",
        CONTINENTAL,
        "Europe/Berlin",
        "comfort",
        "lapsed",
        paid_days=-60,
    ),
    Household(
        "Greta Olsen",
        "greta@example.com",
        NORDIC,
        "Europe/Copenhagen",
        "care",
        "cancelled, paid to the end",
        paid_days=25,
        cancelled_days=8,
    ),
    Household(
        "Hugo Martin",
        "hugo@example.com",
        MARITIME,
        "Europe/Paris",
        "essential",
        "trial ran out",
        since_days=70,
        trial_days=30,
    ),
    Household("Ines Costa", "ines@example.com", MARITIME, "Europe/Lisbon", None, "no plan"),
    Household(
        "Jan Kowalski",
        "jan@example.com",
        CONTINENTAL,
        "Europe/Warsaw",
        None,
        "not claimed yet",
        claimed=False,
    ),
)
