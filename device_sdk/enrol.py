"""Enrolment and renewal over HTTPS, and the file that remembers the outcome.

1. The hub is trusted by the given CA file; once the hub has said by which certificates it is to be
   trusted, those count in the place of the file's of the same name. Names are checked, TLS 1.2 or later.
2. The secret goes into the request body and nowhere else: not into files, logs or errors.
3. `enrolment.json` is the commit point; the certificate stands beside it for the TLS library.
4. Who has patience tries again where that may help, at the pace the hub asks for. The key stays the
   same, so an answer that was lost does no harm.
"""

import hashlib
import http.client
import json
import logging
import ssl
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509

from device_sdk import files
from device_sdk.errors import EnrolmentError
from device_sdk.keys import DeviceKey
from device_sdk.wire.state import SigningKey
from device_sdk.wire.topics import is_device_id, shard_of

MAX_ANSWER = 262_144
_RETRY_S = (1.0, 60.0)  # first and longest, where the hub says nothing
_log = logging.getLogger(__name__)
_NEXT = {
    401: "Check the enrolment secret; each works once.",
    403: "The product may have been revoked; ask the vendor.",
    404: "Check serial and model, and that the address is a hub's.",
    409: "This serial is enrolled already; ask the vendor for a new enrolment secret.",
    422: "Check serial, model and secret.",
    429: "Wait a while and try again.",
}


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What the hub answered: identity, certificate, trust and addresses.

    Attributes:
        device_id: 16 characters of `[a-z0-9]`.
        certificate: PEM, the device's.
        trust_bundle: PEM certificates to trust.
        broker_host: where MQTT is.
        broker_port: its port.
        other_brokers: further hosts and ports of the same broker, to be tried in this order.
        topic_root: first levels of all topics.
        shard: two hex digits.
        signing_keys: `(key id, Ed25519 public key)` in hex, which sign states.
        incarnation: hub incarnation in hex.
    """

    device_id: str
    certificate: str
    trust_bundle: str
    broker_host: str
    broker_port: int
    topic_root: str
    shard: str
    signing_keys: tuple[tuple[str, str], ...]
    incarnation: str
    other_brokers: tuple[tuple[str, int], ...] = ()

    def renewal_due_s(self) -> float:
        """Return when two thirds of the certificate's life are over, in seconds since 1970."""
        certificate = x509.load_pem_x509_certificate(self.certificate.encode("ascii"))
        start = certificate.not_valid_before_utc.timestamp()
        return start + (certificate.not_valid_after_utc.timestamp() - start) * 2 / 3


@dataclass(frozen=True, slots=True)
class HubKeys:
    """The keys that a hub announces, and its statements on how each came about."""

    announced: tuple[SigningKey, ...]
    chain: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class HubApi:
    """The hub's HTTPS API as a device uses it.

    Args:
        address: base address, `https://host[:port]`.
        ca_file: PEM file with the CA to trust.
        timeout_s: limit for each network step.
        learned: returns the PEM certificates that the hub said are to be trusted; empty: none yet.
    """

    address: str
    ca_file: Path
    timeout_s: float = 20.0
    learned: Callable[[], str] = str

    def enrol(self, serial: str, model: str, secret: str, key: DeviceKey) -> Enrolment:
        """Enrol with a one-time secret.

        Raises:
            EnrolmentError: the hub refused, answered nonsense or could not be reached.
        """
        request = key.signing_request(serial)
        body = {"serial": serial, "model": model, "secret": secret, "csr": request}
        return _parse(self._post("/api/v1/enroll", body, f"enrol {serial}"), key)

    def renew(self, enrolment: Enrolment, key: DeviceKey, now_s: int) -> Enrolment:
        """Renew the certificate; the enrolled key is the proof.

        Raises:
            EnrolmentError: as `enrol`.
        """
        request = key.signing_request(enrolment.device_id)
        digest = hashlib.sha256(request.encode("ascii")).hexdigest()
        proof = f"homeport/renew/1\n{enrolment.device_id}\n{now_s}\n{digest}".encode("ascii")
        body = {
            "device_id": enrolment.device_id,
            "csr": request,
            "time": str(now_s),
            "signature": key.sign(proof).hex(),
        }
        answer = self._post("/api/v1/renew", body, f"renew the certificate of {body['device_id']}")
        return _parse(answer, key)

    def signing_keys(self) -> HubKeys:
        """Ask which keys sign states now, after one came that this device does not know.

        Raises:
            EnrolmentError: the hub could not be reached or answered nonsense.
        """
        fields = self._ask("GET", "/api/v1/signing-keys", None, "read the hub's signing keys")
        try:
            announced = tuple(
                SigningKey(bytes.fromhex(item["kid"]), bytes.fromhex(item["key"]))
                for item in fields["signing_keys"]
            )
            return HubKeys(announced, tuple(bytes.fromhex(item) for item in fields["chain"]))
        except (KeyError, TypeError, ValueError) as error:
            raise EnrolmentError("The hub's answer names no signing keys.") from error

    def _post(self, path: str, body: dict[str, str], deed: str) -> Any:
        return self._ask("POST", path, body, deed)

    def _ask(self, method: str, path: str, body: dict[str, str] | None, deed: str) -> Any:
        parts = urlsplit(self.address)
        if parts.scheme != "https" or not parts.hostname:
            raise EnrolmentError(f"Cannot {deed}: {self.address} is not an https:// address.")
        try:
            context = _context(self.ca_file, self.learned())
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            connection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=self.timeout_s, context=context
            )
            try:
                connection.request(
                    method,
                    parts.path.rstrip("/") + path,
                    None if body is None else json.dumps(body),
                    {"Content-Type": "application/json", "Accept": "application/json"},
                )
                answer = connection.getresponse()
                status, data = answer.status, answer.read(MAX_ANSWER + 1)
            finally:
                connection.close()
        except ssl.SSLCertVerificationError as error:
            raise EnrolmentError(
                f"Cannot {deed}: {self.address} is not a hub of the CA in {self.ca_file} "
                f"({error.verify_message}). Check address and CA file."
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise EnrolmentError(
                f"Cannot {deed}: {self.address} cannot be reached ({error}). "
                "Check address, CA file and network.",
                temporary=True,
            ) from error
        return _answer(status, data, deed)


def patiently(
    attempt: Callable[[], Enrolment],
    within_s: float,
    *,
    monotonic: Callable[[], float],
    jitter: Callable[[], float],
    pause: Callable[[float], None],
) -> Enrolment:
    """Try until it succeeds, is refused for good, or there is no time for another try.

    Args:
        attempt: enrols.
        within_s: how long to go on, seconds.
        monotonic: seconds that never go back.
        jitter: random numbers from 0 to 1; they spread devices that were told the same.
        pause: waits for so many seconds.

    Raises:
        EnrolmentError: of the last try.
    """
    end, patience_s = monotonic() + within_s, _RETRY_S[0]
    while True:
        try:
            return attempt()
        except EnrolmentError as error:
            wait_s = (error.retry_after_s or patience_s) * (1 + 0.25 * jitter())
            if not error.temporary or monotonic() + wait_s > end:
                raise
            _log.info("%s Trying again in %.0f s.", error, wait_s)
        pause(wait_s)
        patience_s = min(2 * patience_s, _RETRY_S[1])


def _context(ca_file: Path, learned: str) -> ssl.SSLContext:
    """Return what verifies the hub: an authority that was replaced counts no more, file or not."""
    context = ssl.create_default_context(cafile=str(ca_file))
    if not learned:
        return context
    names = {one.subject for one in x509.load_pem_x509_certificates(learned.encode("ascii"))}
    others = [
        der
        for der in context.get_ca_certs(binary_form=True)
        if x509.load_der_x509_certificate(der).subject not in names
    ]
    context = ssl.create_default_context(cadata=learned)
    if others:
        context.load_verify_locations(cadata=b"".join(others))
    return context


def load(folder: Path) -> Enrolment | None:
    """Read the remembered enrolment, or None if there is none.

    Raises:
        EnrolmentError: the file is damaged.
    """
    path = folder / "enrolment.json"
    try:
        fields = json.loads(path.read_bytes())
        keys = tuple((str(kid), str(key)) for kid, key in fields.pop("signing_keys"))
        others = tuple((str(host), int(port)) for host, port in fields.pop("other_brokers", ()))
        return Enrolment(**fields, signing_keys=keys, other_brokers=others)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise EnrolmentError(
            f"{path} is damaged. Remove it and enrol the product again with a new secret."
        ) from error


def save(folder: Path, enrolment: Enrolment) -> None:
    """Remember an enrolment; the certificate goes to `certificate.pem` first."""
    files.write_private(folder / "certificate.pem", enrolment.certificate.encode("ascii"))
    text = json.dumps(asdict(enrolment), indent=1)
    files.write_private(folder / "enrolment.json", text.encode("ascii"))


def _answer(status: int, data: bytes, deed: str) -> Any:
    try:
        fields = json.loads(data) if len(data) <= MAX_ANSWER else None
    except ValueError:
        fields = None
    if status // 100 != 2:
        told = fields if isinstance(fields, dict) else {}
        said = f" ({str(told['detail'])[:300]})" if told.get("detail") else ""
        advice = _NEXT.get(status, "Try again later; if it goes on, ask the vendor.")
        numbers = (told.get("hub_time_s"), told.get("retry_after_s"))
        raise EnrolmentError(
            f"Cannot {deed}: the hub answered {status}{said}. {advice}",
            status,
            *(number if isinstance(number, int) else None for number in numbers),
            temporary=status == 429 or status >= 500,
        )
    return fields


def _parse(fields: Any, key: DeviceKey) -> Enrolment:
    """Check an answer before anything of it is used."""
    try:
        enrolment = Enrolment(
            device_id=str(fields["device_id"]),
            certificate=str(fields["certificate"]),
            trust_bundle=str(fields["trust_bundle"]),
            broker_host=str(fields["broker"]["host"]),
            broker_port=int(fields["broker"]["port"]),
            topic_root=str(fields["topic_root"]),
            shard=str(fields["shard"]),
            signing_keys=tuple(
                (bytes.fromhex(item["kid"]).hex(), bytes.fromhex(item["key"]).hex())
                for item in fields["signing_keys"]
            ),
            incarnation=bytes.fromhex(fields["incarnation"]).hex(),
            other_brokers=tuple(
                (str(other["host"]), int(other["port"])) for other in fields.get("brokers", ())[1:]
            ),
        )
        certificate = x509.load_pem_x509_certificate(enrolment.certificate.encode("ascii"))
        ours = certificate.public_key() == key.private.public_key()
    except (KeyError, TypeError, ValueError) as error:
        raise EnrolmentError("The hub's answer is not an enrolment. Check its address.") from error
    if not ours or not is_device_id(enrolment.device_id):
        raise EnrolmentError("The hub's certificate is not for this device's key and id.")
    if enrolment.shard != shard_of(enrolment.device_id) or not enrolment.signing_keys:
        raise EnrolmentError("The hub's answer has a wrong shard or no signing keys.")
    return enrolment


class Renewal:
    """Keeps an enrolment's certificate fresh.

    Args:
        folder: where the enrolment is remembered.
        api: the hub.
        key: the enrolled key.
        enrolment: the enrolment in force.
    """

    def __init__(self, folder: Path, api: HubApi, key: DeviceKey, enrolment: Enrolment) -> None:
        self._folder = folder
        self._api = api
        self._key = key
        self.enrolment = enrolment

    def renew_if_due(self, now_ns: int, *, forced: bool = False) -> bool:
        """Renew once two thirds of the certificate's life are over; tells whether it did.

        Where this clock and the hub's differ, the hub's counts.

        Args:
            now_ns: now, ns since 1970.
            forced: renew in any case: the broker refuses the certificate.

        Raises:
            EnrolmentError: renewal was due and failed; the certificate stays as it is.
        """
        now_s, due_s = now_ns // 1_000_000_000, self.enrolment.renewal_due_s()
        if now_s < due_s and not forced:
            return False
        try:
            fresh = self._api.renew(self.enrolment, self._key, now_s)
        except EnrolmentError as error:
            if error.hub_time_s is None:
                raise
            if error.hub_time_s < due_s and not forced:
                return False
            fresh = self._api.renew(self.enrolment, self._key, error.hub_time_s)
        if fresh.device_id != self.enrolment.device_id:
            raise EnrolmentError("The hub renewed another device's certificate; it was not used.")
        save(self._folder, fresh)
        self.enrolment = fresh
        return True
