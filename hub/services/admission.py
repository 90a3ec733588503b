"""How the records stand towards a device that connects, or is connected already.

1. A device comes in with a certificate that the records know and nobody revoked.
2. A certificate that a newer one superseded stays good until it ends: a device that renewed may
   not have switched yet. Revoking the device or the certificate is what ends it.
"""

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from hub.ports.broker.callout import Standing
from hub.ports.database.product_tables import Certificate, Device


def standing(session: Session, device_id: str, fingerprint: str) -> Standing:
    """Tell how a device and one of its certificates stand.

    Args:
        session: reads.
        device_id: common name of the certificate.
        fingerprint: SHA-256 of the certificate, lower-case hex.
    """
    row = session.execute(
        select(Device.revoked_at, Certificate.serial, Certificate.revoked_at)
        .outerjoin(
            Certificate,
            (Certificate.slot == Device.slot) & (Certificate.fingerprint == fingerprint),
        )
        .where(Device.device_id == device_id)
    ).one_or_none()
    if row is None:
        return Standing.UNKNOWN_DEVICE
    device_revoked, certificate_revoked = row[0], row[2]
    serial: str | None = row[1]  # None where the outer join found no certificate
    if device_revoked is not None:
        return Standing.REVOKED_DEVICE
    if serial is None:
        return Standing.UNKNOWN_CERTIFICATE
    if certificate_revoked is not None:
        return Standing.REVOKED_CERTIFICATE
    return Standing.WELCOME


def unwelcome(session: Session, device_ids: Collection[str]) -> set[str]:
    """Return those of the connected devices that are revoked or not known (any more)."""
    wanted = list(device_ids)
    welcome: set[str] = set()
    for start in range(0, len(wanted), 500):  # SQLite limits the parameters of one statement
        welcome.update(
            session.scalars(
                select(Device.device_id).where(
                    Device.device_id.in_(wanted[start : start + 500]),
                    Device.revoked_at.is_(None),
                )
            )
        )
    return set(wanted) - welcome
