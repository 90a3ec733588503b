"""Products that a household owned once: what it keeps of them is what was measured in its time.

1. A product is listed until the household owns it again; nothing newer than its time is shown.
"""

from dataclasses import dataclass

from sqlalchemy import and_, select
from sqlalchemy.orm import Session, aliased

from hub.ports.database.catalogue_tables import ProductModel
from hub.ports.database.ownership_tables import Ownership
from hub.ports.database.product_tables import Device, Product
from hub.services.caller import Caller, Scope
from hub.services.parties import households
from hub.services.relations import Act


@dataclass(frozen=True, slots=True)
class FormerProduct:
    """A product that a household owned; instants in ns, of the last time that it was theirs."""

    product_id: str
    device_id: str | None
    serial: str
    model: str
    model_title: str
    started_at: int
    ended_at: int


def listed(session: Session, caller: Caller) -> list[FormerProduct]:
    """List the products that the caller's household owned and does not own now, the latest first."""
    caller.require(Scope.PRODUCTS_READ)
    mine = households(caller, Act.HISTORY)
    own, newer = aliased(Ownership), aliased(Ownership)
    later = and_(
        newer.product_id == own.product_id,
        newer.owner_id == own.owner_id,
        newer.undone_at.is_(None),
        newer.epoch > own.epoch,
    )
    query = (
        select(own, Product, ProductModel, Device.device_id)
        .join(Product, Product.id == own.product_id)
        .join(ProductModel, ProductModel.number == Product.model_number)
        .outerjoin(Device, Device.product_id == Product.id)
        .where(
            own.owner_id.in_(mine),
            own.undone_at.is_(None),
            own.ended_at.is_not(None),
            ~select(newer.epoch).where(later).exists(),
        )
        .order_by(own.ended_at.desc(), Product.id)
    )
    return [
        FormerProduct(
            product_id=product.id,
            device_id=device_id,
            serial=product.serial,
            model=model.name,
            model_title=model.title,
            started_at=row.started_at,
            ended_at=row.ended_at or 0,
        )
        for row, product, model, device_id in session.execute(query)
    ]
