"""All tables in one place, for migrations and for making a whole database known to the mapper.

1. Every `*_tables` module is imported here; a table missing here does not exist.
"""

from hub.ports.database import (
    access_tables,
    agreement_tables,
    alert_tables,
    billing_tables,
    catalogue_tables,
    coverage_tables,
    idempotency_tables,
    lane_tables,
    order_tables,
    ownership_tables,
    people_tables,
    privacy_tables,
    product_tables,
    record_tables,
    sign_in_tables,
    usage_tables,
    webhook_tables,
)
from hub.ports.database.tables import Base

TABLE_MODULES = (
    catalogue_tables,
    coverage_tables,
    product_tables,
    people_tables,
    ownership_tables,
    alert_tables,
    record_tables,
    usage_tables,
    access_tables,
    idempotency_tables,
    billing_tables,
    agreement_tables,
    lane_tables,
    order_tables,
    privacy_tables,
    sign_in_tables,
    webhook_tables,
)

METADATA = Base.metadata
