"""What tests of changes of owner share: a hub's keys, and people who press buttons."""

from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select

from device_sdk.wire.cose import key_id
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.ownership_tables import Letter, Ownership
from hub.ports.database.record_tables import Audit
from hub.services import disputes, ownership, possession, transfers
from hub.services.caller import Caller
from hub.services.health_certificates import Issuer
from hub.services.products import Manufactured
from hub.services.signing_keys import Ring, RingKey, SigningKeys
from tests.hub.services.service_world import DAY, T0, S, World

_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
_PUBLIC = _KEY.public_key()
_RING_KEY = RingKey(key_id(_PUBLIC).hex(), "", _PUBLIC.public_bytes_raw().hex())
ISSUER = Issuer(SigningKeys(Path("none"), Ring((_RING_KEY,), (_KEY,))), "https://hub.example")
DISPUTE_DAYS = 14


@dataclass
class Market:
    """Somebody who sells, somebody who buys, and a product that they agree about."""

    world: World
    made: Manufactured
    seller: Caller
    buyer: Caller
    now: int = T0
    pressed: int = field(default=0)

    @property
    def product_id(self) -> str:
        return self.made.product_id

    def later(self, ns: int = S) -> int:
        self.now += ns
        return self.now

    def press(self, seconds: int = 300) -> None:
        with write_session(self.world.engine) as session:
            possession.open_window(session, self.product_id, {"seconds": seconds}, self.now)

    def claim(self, caller: Caller) -> ownership.Claimed:
        return self.world.claim(self.made, caller, self.now)

    def offer(self, *, email: str | None = None, days: int = 14) -> transfers.Offered:
        with write_session(self.world.engine) as session:
            return transfers.offer(
                session,
                self.seller,
                self.product_id,
                self.now,
                self.world.tokens,
                email=email,
                days=days,
            )

    def accept(
        self, caller: Caller, *, code: str | None = None, offer_id: str | None = None
    ) -> transfers.HandedOver:
        with write_session(self.world.engine) as session:
            return transfers.accept(
                session,
                caller,
                self.now,
                self.world.tokens,
                ISSUER,
                code=code,
                offer_id=offer_id,
            )

    def dispute(self, caller: Caller) -> str:
        with write_session(self.world.engine) as session:
            return disputes.begin(
                session,
                caller,
                self.made.claim_code,
                self.now,
                self.world.tokens,
                DISPUTE_DAYS,
            ).id

    def complete(self, caller: Caller, dispute_id: str) -> transfers.HandedOver:
        with write_session(self.world.engine) as session:
            return disputes.complete(
                session, caller, dispute_id, self.now, self.world.tokens, ISSUER
            )

    def owners(self) -> list[tuple[int, str, int, int | None]]:
        with read_session(self.world.engine) as session:
            rows = session.scalars(
                select(Ownership)
                .where(Ownership.product_id == self.product_id)
                .order_by(Ownership.epoch)
            )
            return [(row.epoch, row.owner_id, row.started_at, row.ended_at) for row in rows]

    def letters(self, caller: Caller) -> list[str]:
        with read_session(self.world.engine) as session:
            query = select(Letter.code).where(Letter.owner_id == caller.owner_id)
            return list(session.scalars(query.order_by(Letter.id)))

    def audited(self) -> list[str]:
        with read_session(self.world.engine) as session:
            query = select(Audit.action).where(Audit.object == f"product:{self.product_id}")
            return list(session.scalars(query.order_by(Audit.id)))


def market(world: World) -> Market:
    """Make a product that its seller claimed and let it connect."""
    seller, buyer, made = world.customer(), world.customer(), world.product()
    world.enrol(made)
    world.claim(made, seller)
    return Market(world, made, seller, buyer, T0 + DAY)
