"""Cohorts: products of one model with one firmware, numbered once and for good.

1. A device belongs to the cohort of the firmware that it named at its last birth; before that, to none.
2. A change is noted, so that the next gate snapshot tells the pipeline.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from hub.ports.database.product_tables import Cohort, Device, Product
from hub.services import changes


def place(session: Session, device: Device) -> None:
    """Put a device where its model and firmware belong; the cohort is made if it is the first."""
    model = session.scalars(
        select(Product.model_number).where(Product.id == device.product_id)
    ).one()
    number = _number(session, model, device.firmware) if device.firmware else None
    if number != device.cohort:
        device.cohort = number
        changes.note(session, device.product_id)


def _number(session: Session, model: int, firmware: str) -> int:
    query = select(Cohort.number).where(Cohort.model_number == model, Cohort.firmware == firmware)
    number = session.scalar(query)
    if number is not None:
        return number
    cohort = Cohort(model_number=model, firmware=firmware)
    session.add(cohort)
    session.flush()
    return cohort.number
