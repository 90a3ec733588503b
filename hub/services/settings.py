"""What products are configured to: model, plan, household and product, the later one wins.

1. Models and plan versions say it in the catalogue, households and products here and in `pushes`.
2. The plan's word is that of the subscriptions that serve the product at the instant; of two the
   one that grants features first.
3. What wins goes down in the signed state. A plan that lapses takes its values back with the next
   state that the product is sent: at the latest when it connects again.
"""

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from entitlements.facts import Facts
from entitlements.ladder import entitled, ownership
from entitlements.settings import Layer, Scalar, Setting, resolve
from hub.errors import ForbiddenError, InvalidInputError, NotFoundError
from hub.ports.database.ownership_tables import Ownership
from hub.ports.database.people_tables import Owner, OwnerSetting
from hub.ports.database.product_tables import Device
from hub.services import audit, changes, products, pushes
from hub.services.caller import Caller, Scope
from hub.services.catalogue_facts import load_catalogue
from hub.services.facts import load_one
from hub.services.relations import Act


def of_product(session: Session, caller: Caller, product_id: str, at: int) -> dict[str, Setting]:
    """Return what a product is configured to, by name of the setting.

    Raises:
        NotFoundError: no such product, or not one of the caller's.
    """
    caller.require(Scope.PRODUCTS_READ)
    product = products.visible(session, caller, product_id)
    device = session.scalar(select(Device).where(Device.product_id == product.id))
    desired = {} if device is None else device.desired
    return resolved(session, load_one(session, product.id), desired, at)


def resolved(
    session: Session, facts: Facts, desired: Mapping[str, Scalar], at: int
) -> dict[str, Setting]:
    """Resolve the settings of a product.

    Args:
        session: any session.
        facts: of the product.
        desired: what it is itself configured to.
        at: the instant, ns.
    """
    catalogue = load_catalogue(session)
    plan: dict[str, Scalar] = {}
    for subscription in entitled(facts, at):
        plan |= catalogue.plan_settings.get((subscription.plan, subscription.plan_version), {})
    owned = ownership(facts, at)
    return resolve(
        {
            Layer.MODEL: catalogue.model_settings.get(facts.model.number, {}),
            Layer.PLAN: plan,
            Layer.OWNER: {} if owned is None else _of_owner(session, owned.owner_id),
            Layer.DEVICE: desired,
        }
    )


def of_owner(session: Session, caller: Caller, owner_id: str) -> dict[str, Scalar]:
    """Return what a household wants for all of its products.

    Raises:
        NotFoundError: no such owner, or not the caller's household.
    """
    caller.require(Scope.PRODUCTS_READ)
    _check_owner(session, caller, owner_id, Act.SEE)
    return _of_owner(session, owner_id)


def change_owner(
    session: Session, caller: Caller, owner_id: str, values: Mapping[str, Scalar], at: int
) -> dict[str, Scalar]:
    """Merge settings into what a household wants for all of its products; null removes one.

    Raises:
        ForbiddenError: the caller may see the household, but not do this.
        InvalidInputError: a name or value cannot be sent to a device, or there are too many.
        NotFoundError: no such owner, or not the caller's household.
    """
    caller.require(Scope.DEVICES_PUSH)
    _check_owner(session, caller, owner_id, Act.CONFIGURE)
    for name, value in values.items():
        pushes.check_setting(name, value)
    before = _of_owner(session, owner_id)
    after = {name: value for name, value in {**before, **values}.items() if value is not None}
    if len(after) > pushes.MAX_SETTINGS:
        raise InvalidInputError(
            f"A household has at most {pushes.MAX_SETTINGS} settings; this would be {len(after)}."
        )
    if pushes.same_settings(before, after):
        return before
    for name, value in values.items():
        row = session.get(OwnerSetting, (owner_id, name))
        if value is None:
            if row is not None:
                session.delete(row)
        elif row is None:
            session.add(OwnerSetting(owner_id=owner_id, name=name, value=value))
        else:
            row.value = value
    session.flush()
    details = {"names": sorted(values)}
    audit.record(session, at, caller.actor, "owner.configure", f"owner:{owner_id}", details)
    owned = select(Ownership.product_id).where(
        Ownership.owner_id == owner_id, Ownership.ended_at.is_(None)
    )
    for product_id in session.scalars(owned):
        changes.note(session, product_id, changes.About.DECISIONS)
    return dict(sorted(after.items()))


def _of_owner(session: Session, owner_id: str) -> dict[str, Scalar]:
    query = select(OwnerSetting.name, OwnerSetting.value).where(OwnerSetting.owner_id == owner_id)
    return {row.name: row.value for row in session.execute(query.order_by(OwnerSetting.name))}


def _check_owner(session: Session, caller: Caller, owner_id: str, act: Act) -> None:
    if caller.is_staff and session.get(Owner, owner_id) is not None:
        return
    if not caller.may(Act.SEE, owner_id) or session.get(Owner, owner_id) is None:
        raise NotFoundError(f"There is no owner {owner_id}.", owner=owner_id)
    if not caller.may(act, owner_id):
        raise ForbiddenError("Your role in this household does not permit to configure products.")
