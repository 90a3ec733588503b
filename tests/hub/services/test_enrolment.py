import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import func, select

from hub.errors import ConflictError, ForbiddenError, InvalidInputError
from hub.ports.broker.callout import Standing
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.product_tables import Certificate, Device, Product
from hub.ports.database.record_tables import Audit
from hub.services import admission, audit, enrolment
from hub.services.caller import HUB
from hub.services.enrolment import Enrolment
from hub.services.products import Manufactured
from tests.hub.services.service_world import T0, S, World, csr_of


def enrol(world: World, made: Manufactured, **changes: str) -> Enrolment:
    terms = {
        "serial": made.serial,
        "model": made.model,
        "secret": made.enrolment_secret,
        "csr": csr_of(ec.generate_private_key(ec.SECP256R1())),
        **changes,
    }
    with write_session(world.engine) as session:
        return enrolment.enrol(session, world.ca, at=T0, tokens=world.tokens, **terms)


def devices(world: World) -> int:
    with read_session(world.engine) as session:
        return session.scalar(select(func.count()).select_from(Device)) or 0


def actions(world: World) -> list[str]:
    with read_session(world.engine) as session:
        assert audit.verify(session) is None
        return list(session.scalars(select(Audit.action).order_by(Audit.id)))


def fingerprint(enrolled: Enrolment) -> str:
    certificate = x509.load_pem_x509_certificate(enrolled.certificate_pem.encode())
    return certificate.fingerprint(hashes.SHA256()).hex()


def test_enrolment_gives_an_identity_of_the_hubs_choice(world: World) -> None:
    enrolled = world.enrol(world.product())
    certificate = x509.load_pem_x509_certificate(enrolled.certificate_pem.encode())
    names = [attribute.value for attribute in certificate.subject]
    assert names == [enrolled.device_id]
    assert enrolled.slot == 1
    assert world.enrol(world.product()).slot == 2


def test_second_enrolment_of_a_serial_is_refused_and_audited(world: World) -> None:
    made = world.product()
    enrol(world, made)
    with pytest.raises(ConflictError, match="has enrolled before") as refused:
        enrol(world, made)
    assert refused.value.status == 409
    assert devices(world) == 1
    assert actions(world)[-1] == "device.enrol.refused"


def test_enrolment_is_repeated_for_its_key_until_it_is_revoked(world: World) -> None:
    made, key = world.product(), ec.generate_private_key(ec.SECP256R1())
    first = enrol(world, made, csr=csr_of(key))
    again = enrol(world, made, csr=csr_of(key))  # the answer was lost
    assert (again.device_id, again.slot) == (first.device_id, first.slot)
    assert fingerprint(again) != fingerprint(first)
    assert devices(world) == 1
    with write_session(world.engine) as session:
        enrolment.revoke(session, HUB, made.product_id, T0, "stolen")
    with pytest.raises(ConflictError):
        enrol(world, made, csr=csr_of(key))


@pytest.mark.parametrize("wrong", ["secret", "serial", "model"])
def test_what_does_not_belong_together_is_refused_alike(world: World, wrong: str) -> None:
    made = world.product()
    with pytest.raises(ForbiddenError, match="do not belong together"):
        enrol(world, made, **{wrong: "x"})
    assert devices(world) == 0


def test_a_wrong_secret_is_audited_without_the_secret(world: World) -> None:
    made = world.product()
    with pytest.raises(ForbiddenError):
        enrol(world, made, secret="guess")
    with read_session(world.engine) as session:
        row = session.scalars(select(Audit).order_by(Audit.id.desc())).first()
    assert row is not None
    assert row.action == "device.enrol.refused"
    assert "guess" not in str(row.details)


def test_requests_that_cannot_be_signed_change_nothing(world: World) -> None:
    made = world.product()
    p384 = csr_of(ec.generate_private_key(ec.SECP384R1()))
    der = x509.load_pem_x509_csr(
        csr_of(ec.generate_private_key(ec.SECP256R1())).encode()
    ).public_bytes(serialization.Encoding.DER)
    # Another subject under the same signature.
    forged = x509.load_der_x509_csr(der.replace(b"somebody", b"anybody1"))
    pem = forged.public_bytes(serialization.Encoding.PEM).decode()
    for csr in ("", "garbage", p384, pem):
        with pytest.raises(InvalidInputError):
            enrol(world, made, csr=csr)
    assert devices(world) == 0
    enrol(world, made)


def test_secrets_are_stored_hashed(world: World) -> None:
    made = world.product()
    with read_session(world.engine) as session:
        row = session.scalars(select(Product)).one()
        stored = str({column.name: getattr(row, column.name) for column in Product.__table__.c})
    for secret in (made.enrolment_secret, made.claim_code, made.claim_code.replace("-", "")):
        assert secret not in stored


def renewal(
    world: World, enrolled: Enrolment, key: ec.EllipticCurvePrivateKey, **changes: str
) -> Enrolment:
    csr = changes.pop("csr", csr_of(key))
    time = changes.pop("time", str(T0 // S))
    message = enrolment.renewal_message(enrolled.device_id, time, csr)
    signature = key.sign(message, ec.ECDSA(hashes.SHA256())).hex()
    terms = {"csr": csr, "time": time, "signature": signature, **changes}
    with write_session(world.engine) as session:
        return enrolment.renew(session, world.ca, device_id=enrolled.device_id, at=T0, **terms)


def test_renewal_by_the_enrolled_key(world: World) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    enrolled = enrol(world, world.product(), csr=csr_of(key))
    renewed = renewal(world, enrolled, key)
    assert renewed.device_id == enrolled.device_id
    with read_session(world.engine) as session:
        superseded = session.scalars(
            select(Certificate.superseded_at).order_by(Certificate.superseded_at)
        ).all()
        assert sorted(superseded, key=str) == [T0, None]
        for certificate in (enrolled, renewed):  # the answer may have been lost
            standing = admission.standing(session, enrolled.device_id, fingerprint(certificate))
            assert standing is Standing.WELCOME


def test_renewals_that_are_refused(world: World) -> None:
    key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    enrolled = enrol(world, world.product(), csr=csr_of(key))
    with pytest.raises(ForbiddenError):
        renewal(world, enrolled, other)
    with pytest.raises(ForbiddenError):
        renewal(world, enrolled, key, signature="zz")
    with pytest.raises(InvalidInputError, match="another key"):
        renewal(world, enrolled, key, csr=csr_of(other))
    for seconds in (-301, 301):
        with pytest.raises(InvalidInputError) as late:
            renewal(world, enrolled, key, time=str(T0 // S + seconds))
        assert late.value.context["hub_time_s"] == T0 // S
    renewal(world, enrolled, key, time=str(T0 // S + 300))


def test_a_revoked_device_is_out_for_good(world: World) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    enrolled = enrol(world, world.product(), csr=csr_of(key))
    with write_session(world.engine) as session:
        gone = enrolment.revoke(session, HUB, enrolled.product_id, T0, "stolen")
        assert enrolment.revoke(session, HUB, enrolled.product_id, T0 + 1, "again") == gone
    assert gone == enrolment.Revoked(enrolled.device_id, enrolled.slot)
    with pytest.raises(ForbiddenError, match="revoked"):
        renewal(world, enrolled, key)
    with read_session(world.engine) as session:
        connected = {(enrolled.device_id, fingerprint(enrolled)), ("x" * 16, "00")}
        assert admission.unwelcome(session, connected) == connected
        standing = admission.standing(session, enrolled.device_id, fingerprint(enrolled))
    assert standing is Standing.REVOKED_DEVICE


def test_standing_of_strangers(world: World) -> None:
    one, other = world.enrol(world.product()), world.enrol(world.product())
    with read_session(world.engine) as session:
        assert admission.standing(session, "x" * 16, "00") is Standing.UNKNOWN_DEVICE
        assert (
            admission.standing(session, one.device_id, fingerprint(other))
            is Standing.UNKNOWN_CERTIFICATE
        )
        own = {(new.device_id, fingerprint(new)) for new in (one, other)}
        crossed = {(one.device_id, fingerprint(other)), (other.device_id, "")}
        assert admission.unwelcome(session, own | crossed) == crossed


def test_a_certificate_revoked_alone_leaves_the_next_one_welcome(world: World) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    first = enrol(world, world.product(), csr=csr_of(key))
    second = renewal(world, first, key)
    with write_session(world.engine) as session:
        query = select(Certificate).where(Certificate.fingerprint == fingerprint(first))
        session.scalars(query).one().revoked_at = T0
    with read_session(world.engine) as session:
        old, new = ((one.device_id, fingerprint(one)) for one in (first, second))
        assert admission.standing(session, *old) is Standing.REVOKED_CERTIFICATE
        assert admission.unwelcome(session, {old, new}) == {old}
