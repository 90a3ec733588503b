"""A real database file with a small catalogue, a household and staff."""

import random
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from entitlements.facts import Facts
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.product_tables import Device
from hub.services import catalogue, catalogue_facts, enrolment, ownership, products
from hub.services.caller import HUB, ROLE_SCOPES, Caller, Role
from hub.services.facts import load_some
from hub.services.people import OneTimePassword, create_person
from hub.services.pki import CertificateAuthority
from hub.services.products import Manufactured
from hub.services.relations import owner_tie
from hub.services.tokens import Tokens
from tests.hub.database.sqlite_template import open_migrated

S = 1_000_000_000
T0 = 1_900_000_000 * S
DAY = 86_400 * S

CATALOGUE = """
[models.heat-pump]
possession = "label"
title = "Heat pump"
[[models.heat-pump.metrics]]
name = "temp_c"
title = "Flow temperature"
unit = "Cel"
low = -40.0
high = 95.0
[[models.heat-pump.metrics]]
name = "energy_wh"
unit = "W.h"
kind = "counter"
[models.heat-pump.features.telemetry]
[models.heat-pump.features.frost_protection]
safe = true
default = true
[models.heat-pump.features.boost_hours]
kind = "metered"
[plans.comfort]
title = "Comfort"
[[plans.comfort.versions]]
version = 1
grace_days = 14
features = { telemetry = {}, boost_hours = { value = 20 } }
"""


@dataclass
class World:
    """The database and the means to fill it."""

    engine: Engine
    tokens: Tokens
    ca: CertificateAuthority
    made: int = 0

    def customer(self) -> Caller:
        self.made += 1
        password = OneTimePassword.new(self.tokens)
        with write_session(self.engine) as session:
            person = create_person(
                session,
                HUB,
                email=f"p{self.made}@example.org",
                name=f"Person {self.made}",
                role=Role.CUSTOMER,
                at=T0,
                tokens=self.tokens,
                password=password,
            )
        assert person.owner_id is not None
        scopes = ROLE_SCOPES[Role.CUSTOMER]
        ties = (owner_tie(person.owner_id),)
        return Caller(Role.CUSTOMER, person.person_id, person.owner_id, scopes, ties)

    def product(self) -> Manufactured:
        self.made += 1
        with write_session(self.engine) as session:
            return products.register(
                session,
                HUB,
                model="heat-pump",
                serial=f"HP-{self.made:06d}",
                at=T0,
                tokens=self.tokens,
                order_reference=f"SO-{self.made}",
            )

    def enrol(self, made: Manufactured, at: int = T0) -> enrolment.Enrolment:
        with write_session(self.engine) as session:
            return enrolment.enrol(
                session,
                self.ca,
                serial=made.serial,
                model=made.model,
                secret=made.enrolment_secret,
                csr=csr_of(ec.generate_private_key(ec.SECP256R1())),
                at=at,
                tokens=self.tokens,
            )

    def claim(self, made: Manufactured, caller: Caller, at: int = T0) -> ownership.Claimed:
        with write_session(self.engine) as session:
            return ownership.claim(session, caller, made.claim_code, at, self.tokens)


def new_world(folder: Path, url: str = "") -> World:
    """Open a new database with the catalogue; its tokens are the same in every run."""
    engine = open_migrated(url or f"sqlite:///{folder / 'hub.db'}")
    with write_session(engine) as session:
        catalogue.apply(session, HUB, catalogue.parse(CATALOGUE), T0)
    with read_session(engine) as session:
        catalogue_facts.load_catalogue(session)  # known, as in a hub that runs
    ca = CertificateAuthority.load_or_create(folder / "pki", T0)
    source = random.Random(7).randbytes  # noqa: S311  the same in every run
    return World(engine, Tokens(b"pepper" * 4, source), ca)


def all_enrolled(session: Session) -> dict[str, Facts]:
    """The facts of every product that has enrolled, by product id."""
    return load_some(session, list(session.scalars(select(Device.product_id))))


def csr_of(key: ec.EllipticCurvePrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "somebody else")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name)
    return request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
