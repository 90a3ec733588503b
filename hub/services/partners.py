"""Partners, such as dealers: organisations whose people may do what a grant says, and no more.

1. A grant names products (by id, model, region or the beginning of the order reference), acts, a
   reason and an end. It is of the operator, over anybody's products, or of a household, over its own.
2. Only a household gives away what its products measured; an operator's grant never holds that.
3. Owners see every grant that reaches a product of theirs; everything is audited.
What must never live here: what a partner may be granted at most; see `relations`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from hub.errors import ForbiddenError, InvalidInputError, NotFoundError
from hub.ports.database.catalogue_tables import ProductModel
from hub.ports.database.ownership_tables import Ownership
from hub.ports.database.people_tables import Partner, PartnerGrant, Person
from hub.ports.database.product_tables import Product
from hub.services import audit, households, ties
from hub.services.caller import Caller, Role, Scope
from hub.services.relations import ACTS, Act, Relation
from hub.services.tokens import Tokens

MAX_GRANT_NS = 2 * 366 * 86_400_000_000_000
OF_OPERATOR = ACTS[Relation.PARTNER] - {Act.HISTORY}
"""What an operator's grant may hold."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Which products a grant is about; each that is not None narrows them down."""

    product_ids: Sequence[str] | None = None
    model: str | None = None
    region: str | None = None
    order_prefix: str | None = None


@dataclass(frozen=True, slots=True)
class GrantView:
    """A grant; `owner_id` None for one of the operator. Instants in ns."""

    id: str
    partner_id: str
    partner: str
    owner_id: str | None
    product_ids: Sequence[str] | None
    model: str | None
    region: str | None
    order_prefix: str | None
    acts: Sequence[Act]
    reason: str
    starts_at: int
    ends_at: int
    revoked_at: int | None


def create(session: Session, caller: Caller, name: str, at: int, tokens: Tokens) -> str:
    """Create an organisation and return its id; its people are created with its id."""
    caller.require(Scope.PEOPLE_WRITE)
    if not 1 <= len(name.strip()) <= 200:
        raise InvalidInputError("A name has 1 to 200 characters.")
    row = Partner(id=tokens.new_id(), name=name.strip(), created_at=at)
    session.add(row)
    session.flush()
    audit.record(session, at, caller.actor, "partner.create", f"partner:{row.id}", {})
    return row.id


def of_caller(session: Session, caller: Caller) -> Partner:
    """Return the organisation that a caller belongs to.

    Raises:
        ForbiddenError: they are nobody of a partner.
    """
    query = select(Partner).join(Person, Person.partner_id == Partner.id)
    row = session.scalar(query.where(Person.id == caller.person_id))
    if row is None:
        raise ForbiddenError("Only people of a partner belong to one.")
    return row


def named(session: Session, caller: Caller, text: str) -> Partner:
    """Return the partner that somebody names, by its number or by its whole name.

    Partners are not listed to households: who is to be granted something gives their number.

    Raises:
        NotFoundError: there is none, or the name is that of several.
    """
    caller.require(Scope.PRODUCTS_READ)
    text = text.strip()
    one = session.get(Partner, text)
    found = [one] if one is not None else _called(session, text)
    if len(found) != 1:
        raise NotFoundError(
            "No partner, or more than one, has this name. Ask them for their number."
        )
    return found[0]


def grant(
    session: Session,
    caller: Caller,
    partner_id: str,
    reach: Reach,
    acts: Collection[Act],
    reason: str,
    ends_at: int,
    at: int,
    tokens: Tokens,
    *,
    owner_id: str | None = None,
) -> PartnerGrant:
    """Let a partner's people do something with some products, from now until an instant.

    Args:
        session: a writing session.
        caller: an operator; or an owner of the household whose products they are.
        partner_id: which partner.
        reach: which products.
        acts: what they may do; seeing the product is always part of it.
        reason: what for.
        ends_at: ns.
        at: now, ns.
        tokens: source of ids.
        owner_id: only products of this household; customers: null takes their own.

    Raises:
        ForbiddenError: the caller may not give this.
        InvalidInputError: no acts, acts that cannot be given, no products named by an operator,
            no reason, or an end in the past or too far.
        NotFoundError: no such partner, household, model, or product of the household.
    """
    owner_id = _giver(session, caller, owner_id)
    if session.get(Partner, partner_id) is None:
        raise NotFoundError(f"There is no partner {partner_id}.", partner=partner_id)
    possible = OF_OPERATOR if owner_id is None else ACTS[Relation.PARTNER]
    for act in sorted(set(acts) - possible):
        raise InvalidInputError(
            f"This grant cannot hold: {act}. What a product measured only its household can give.",
            act=str(act),
        )
    if not acts or not 1 <= len(reason.strip()) <= 200:
        raise InvalidInputError("A grant needs acts, and a reason of 1 to 200 characters.")
    if not at < ends_at <= at + MAX_GRANT_NS:
        raise InvalidInputError("A grant ends in the future and within two years.")
    row = PartnerGrant(
        id=tokens.new_id(),
        partner_id=partner_id,
        owner_id=owner_id,
        product_ids=None if reach.product_ids is None else sorted(set(reach.product_ids)),
        model_number=_checked(session, reach, owner_id),
        region=reach.region,
        order_prefix=reach.order_prefix,
        acts=sorted({str(act) for act in acts} | {str(Act.SEE)}),
        reason=reason.strip(),
        starts_at=at,
        ends_at=ends_at,
        given_by=caller.actor,
    )
    session.add(row)
    session.flush()
    _record(session, caller, row, "partner.grant", at)
    return row


def revoke(session: Session, caller: Caller, grant_id: str, at: int) -> None:
    """End a grant now; one that has ended stays as it is.

    Raises:
        ForbiddenError: the caller may read it, but did not give it.
        NotFoundError: no such grant, or none that the caller may know of.
    """
    row = session.get(PartnerGrant, grant_id)
    if row is None or (caller.role is Role.PARTNER and not _holds(caller, row)):
        raise NotFoundError(f"There is no grant {grant_id}.", grant=grant_id)
    if caller.is_operator:
        households.require(caller, Act.INVITE)
    else:
        if row.owner_id is None:
            if caller.is_staff or caller.role is Role.PARTNER:
                raise ForbiddenError("Only an operator can end this grant.", grant=grant_id)
            raise NotFoundError(f"There is no grant {grant_id}.", grant=grant_id)
        if caller.role is Role.PARTNER:
            raise ForbiddenError("Only the household can end this grant.", grant=grant_id)
        households.check(session, caller, row.owner_id, Act.INVITE)
    if row.revoked_at is None and row.ends_at > at:
        row.revoked_at, row.revoked_by = max(at, row.starts_at), caller.actor
        session.flush()
        # What its people have open says nothing more.
        for person_id in session.scalars(
            select(Person.id).where(Person.partner_id == row.partner_id)
        ):
            ties.note(session, person_id)
        _record(session, caller, row, "partner.revoke", at)


def listed(session: Session, caller: Caller, owner_id: str | None, at: int) -> list[GrantView]:
    """List the grants in force that a caller may know of, the earliest end first.

    Args:
        session: any session.
        caller: staff get all, a partner's people theirs, customers those that reach a product of
            the household.
        owner_id: of which household; None: all (staff), the caller's own (customers).
        at: now, ns.

    Raises:
        ForbiddenError: the caller's role in the household does not permit it.
        NotFoundError: no such household, or none of the caller's.
    """
    caller.require(Scope.PRODUCTS_READ)
    query = (
        select(PartnerGrant, Partner.name, ProductModel.name)
        .join(Partner, Partner.id == PartnerGrant.partner_id)
        .outerjoin(ProductModel, ProductModel.number == PartnerGrant.model_number)
        .where(PartnerGrant.revoked_at.is_(None), PartnerGrant.ends_at > at)
        .order_by(PartnerGrant.ends_at, PartnerGrant.id)
    )
    if caller.role is Role.PARTNER:
        query = query.where(PartnerGrant.id.in_([tie.id for tie in caller.ties]))
    elif owner_id is not None or not caller.is_staff:
        household = owner_id or caller.household(Act.PEOPLE)
        households.check(session, caller, household, Act.PEOPLE)
        query = query.where(
            or_(PartnerGrant.owner_id == household, PartnerGrant.owner_id.is_(None))
        )
        owned = session.scalars(_owned(household)).all()
        found = []
        for row, partner, model in session.execute(query):
            view = _view(row, partner, model)
            reached = [one.id for one in owned if _reaches(row, one)]
            if row.owner_id is not None:
                found.append(view)
            elif reached and row.product_ids is not None:
                found.append(replace(view, product_ids=sorted(reached)))  # not those of others
            elif reached:
                found.append(view)
        return found
    return [_view(row, partner, model) for row, partner, model in session.execute(query)]


def _giver(session: Session, caller: Caller, owner_id: str | None) -> str | None:
    """Return the household on whose behalf a caller gives a grant; None for the operator."""
    if caller.is_operator:
        households.require(caller, Act.INVITE)
        return None
    if caller.role is not Role.CUSTOMER:
        raise ForbiddenError("Only an operator or the owner of a household gives grants.")
    household = owner_id or caller.owner_id or ""
    households.check(session, caller, household, Act.INVITE)
    return household


def _checked(session: Session, reach: Reach, owner_id: str | None) -> int | None:
    """Check which products a grant names, and return the number of their model, if it names one."""
    for text in (reach.region, reach.order_prefix):
        if text is not None and not 1 <= len(text) <= 64:
            raise InvalidInputError("A region or an order reference has 1 to 64 characters.")
    named = (reach.product_ids, reach.model, reach.region, reach.order_prefix)
    if owner_id is None and all(one is None for one in named):
        raise InvalidInputError(
            "Name products, a model, a region or orders: nobody is granted the whole hub."
        )
    if reach.product_ids is not None:
        if owner_id is not None:
            households.check_products(session, owner_id, reach.product_ids)
        else:
            _check_known(session, reach.product_ids)
    if reach.model is None:
        return None
    number = session.scalar(select(ProductModel.number).where(ProductModel.name == reach.model))
    if number is None:
        raise NotFoundError(f"There is no product model {reach.model!r}.", model=reach.model)
    return number


def _check_known(session: Session, product_ids: Sequence[str]) -> None:
    if not 1 <= len(product_ids) <= households.MAX_NAMED:
        raise InvalidInputError(f"Name 1 to {households.MAX_NAMED} products.")
    known = session.scalars(select(Product.id).where(Product.id.in_(sorted(product_ids))))
    for missing in sorted(set(product_ids) - set(known)):
        raise NotFoundError(f"There is no product {missing}.", product=missing)


def _called(session: Session, name: str) -> Sequence[Partner]:
    query = select(Partner).where(func.lower(Partner.name) == name.lower())
    return session.scalars(query.limit(2)).all()


def _holds(caller: Caller, row: PartnerGrant) -> bool:
    return any(tie.id == row.id for tie in caller.ties)


def _owned(owner_id: str) -> Select[Product]:
    return (
        select(Product)
        .join(Ownership, Ownership.product_id == Product.id)
        .where(Ownership.owner_id == owner_id, Ownership.ended_at.is_(None))
    )


def _reaches(row: PartnerGrant, product: Product) -> bool:
    return (
        (row.product_ids is None or product.id in row.product_ids)
        and row.model_number in {None, product.model_number}
        and row.region in {None, product.region}
        and (
            row.order_prefix is None or (product.order_reference or "").startswith(row.order_prefix)
        )
    )


def _view(row: PartnerGrant, partner: str, model: str | None) -> GrantView:
    return GrantView(
        id=row.id,
        partner_id=row.partner_id,
        partner=partner,
        owner_id=row.owner_id,
        product_ids=row.product_ids,
        model=model,
        region=row.region,
        order_prefix=row.order_prefix,
        acts=[Act(word) for word in row.acts],
        reason=row.reason,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        revoked_at=row.revoked_at,
    )


def _record(session: Session, caller: Caller, row: PartnerGrant, action: str, at: int) -> None:
    details = {"grant": row.id, "acts": row.acts, "owner": row.owner_id}
    audit.record(session, at, caller.actor, action, f"partner:{row.partner_id}", details)
