"""What the broker's auth callout asks of the database: may this certificate come in?

1. Read only. Whoever is not positively welcome is not let in.
2. A superseded certificate stays welcome until it expires: the answer to a renewal may get lost.
"""

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from hub.ports.broker.callout import Shown, Standing
from hub.ports.database.product_tables import Certificate, Device


def standing(session: Session, device_id: str, fingerprint: str) -> Standing:
    """Tell how a device's certificate stands.

    Args:
        session: any session.
        device_id: common name of the certificate.
        fingerprint: SHA-256 of the certificate in lower-case hex.
    """
    device = session.execute(
        select(Device.slot, Device.revoked_at).where(Device.device_id == device_id)
    ).first()
    if device is None:
        return Standing.UNKNOWN_DEVICE
    if device.revoked_at is not None:
        return Standing.REVOKED_DEVICE
    certificate = session.execute(
        select(Certificate.slot, Certificate.revoked_at).where(
            Certificate.fingerprint == fingerprint
        )
    ).first()
    if certificate is None or certificate.slot != device.slot:
        return Standing.UNKNOWN_CERTIFICATE
    if certificate.revoked_at is not None:
        return Standing.REVOKED_CERTIFICATE
    return Standing.WELCOME


def unwelcome(session: Session, connected: Collection[Shown]) -> set[Shown]:
    """Return those live connections of devices that may not be: revoked or unknown.

    Args:
        session: any session.
        connected: device id and certificate fingerprint of each.
    """
    asked = sorted({fingerprint for _, fingerprint in connected})
    welcome: set[Shown] = set()
    for start in range(0, len(asked), 1_000):
        query = (
            select(Device.device_id, Certificate.fingerprint)
            .join(Certificate, Certificate.slot == Device.slot)
            .where(
                Certificate.fingerprint.in_(asked[start : start + 1_000]),
                Certificate.revoked_at.is_(None),
                Device.revoked_at.is_(None),
            )
        )
        welcome.update((row.device_id, row.fingerprint) for row in session.execute(query))
    return set(connected) - welcome


def welcome(session: Session, device_id: str) -> bool:
    """Tell whether a device is known and not revoked, whichever certificate it shows.

    Args:
        session: any session.
        device_id: the device.
    """
    query = select(Device.slot).where(Device.device_id == device_id, Device.revoked_at.is_(None))
    return session.scalar(query) is not None


def revoked(session: Session) -> list[str]:
    """Return the ids of all devices that are revoked.

    Args:
        session: any session.
    """
    return list(session.scalars(select(Device.device_id).where(Device.revoked_at.is_not(None))))
