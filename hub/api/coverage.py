"""What covers a product, and what is bought beside it: more warranty and support contracts.

1. Coverage is derived for any instant, past ones included, and says why.
2. A purchase has a reference and happens once for it; what was bought is never changed, only ended.
"""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from hub.api.bodies import ID_PATTERN, DeviceId
from hub.api.coverage_bodies import (
    Coverage,
    EndContract,
    ExtendWarranty,
    RenewContract,
    SellContract,
    SupportContract,
    WarrantyExtension,
    shown_contract,
    shown_coverage,
)
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import Instant
from hub.api.lookup import product_id_of
from hub.ports.database.engine import read_session, write_session
from hub.services import contracts, coverage

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["coverage"])

ContractId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of the contract.")]
At = Annotated[Instant | None, Query(description="At this instant; absent: now.")]


@ROUTER.get(
    "/products/{device_id}/coverage",
    operation_id="get_coverage",
    summary="Explain what covers a product",
)
def get_coverage(hub: HubDep, caller: CallerDep, device_id: DeviceId, at: At = None) -> Coverage:
    """Say what covers faults that begin at an instant, why, and until when."""
    with read_session(hub.engine) as session:
        product_id = product_id_of(session, device_id)
        when = hub.clock() if at is None else at
        return shown_coverage(coverage.explained(session, caller, product_id, when))


@ROUTER.post(
    "/products/{device_id}/warranty/extensions",
    operation_id="extend_warranty",
    summary="Add to the warranty of a product",
    status_code=201,
)
def extend_warranty(
    hub: HubDep, caller: CallerDep, device_id: DeviceId, body: ExtendWarranty
) -> WarrantyExtension:
    """Take a purchase of more warranty; a warranty that is over is not extended."""
    with write_session(hub.engine) as session:
        row = contracts.extend(
            session,
            caller,
            product_id_of(session, device_id),
            body.months,
            body.reference,
            hub.clock(),
            hub.tokens,
            hours=body.hours,
            cycles=body.cycles,
            transferable=body.transferable,
        )
        return WarrantyExtension.model_validate(row)


@ROUTER.post(
    "/products/{device_id}/contracts",
    operation_id="sell_contract",
    summary="Begin a support contract",
    status_code=201,
)
def sell_contract(
    hub: HubDep, caller: CallerDep, device_id: DeviceId, body: SellContract
) -> SupportContract:
    """Take a purchase of a support contract of the catalogue."""
    at = hub.clock()
    with write_session(hub.engine) as session:
        row = contracts.sell(
            session,
            caller,
            product_id_of(session, device_id),
            body.plan,
            body.reference,
            at,
            hub.tokens,
            version=body.version,
            terms=body.terms,
            starts_at=body.starts_at,
        )
        return shown_contract(coverage.contract_view(session, row.product_id, row.id, at))


@ROUTER.post(
    "/contracts/{contract_id}/renew",
    operation_id="renew_contract",
    summary="Give a contract more terms",
)
def renew_contract(
    hub: HubDep, caller: CallerDep, contract_id: ContractId, body: RenewContract
) -> SupportContract:
    """Let a contract that runs have so many terms in all."""
    at = hub.clock()
    with write_session(hub.engine) as session:
        row = contracts.renew(session, caller, contract_id, body.terms, at)
        return shown_contract(coverage.contract_view(session, row.product_id, row.id, at))


@ROUTER.post("/contracts/{contract_id}/end", operation_id="end_contract", summary="End a contract")
def end_contract(
    hub: HubDep, caller: CallerDep, contract_id: ContractId, body: EndContract
) -> SupportContract:
    """End a contract now, before its time."""
    at = hub.clock()
    with write_session(hub.engine) as session:
        row = contracts.end(session, caller, contract_id, body.reason, at)
        return shown_contract(coverage.contract_view(session, row.product_id, row.id, at))
