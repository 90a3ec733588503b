"""What plan versions cost, as the catalogue says.

1. A price belongs to its version and never changes.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from entitlements.billing.price import Price
from hub.ports.database.catalogue_tables import PlanVersion
from hub.services.price_document import price_of


def of_version(session: Session, plan_version_id: int) -> Price:
    """Return the price of a plan version by its id."""
    query = select(PlanVersion.price).where(PlanVersion.id == plan_version_id)
    return price_of(session.scalars(query).one())
