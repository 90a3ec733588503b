"""Finds the product that a path names: by device id, or by product id before it has enrolled.

1. This finds an id only. Whether the caller may know of it is decided by the services.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from hub.ports.database.product_tables import Device


def product_id_of(session: Session, named: str) -> str:
    """Return the product id for a device id, and any other id as it is."""
    found = session.scalar(select(Device.product_id).where(Device.device_id == named))
    return named if found is None else found
