"""Certificates that hold, and all the ways in which one does not."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from device_sdk.wire.cose import key_id
from hub.errors import InvalidInputError
from hub.services.certificate_proof import (
    TYPE,
    CertificateRefusedError,
    key_set,
    keys_of,
    sign,
    verify,
)
from hub.wiring.cli import app

S = 1_000_000_000
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
KID = key_id(KEY.public_key()).hex()
KEYS = {KID: KEY.public_key()}
NOW = 2_000_000_000 * S
DOCUMENT = {"exp": 2_000_000_100, "product": {"serial": "HP-1"}, "iss": "https://hub.example.org"}
SIGNED = sign(KEY, DOCUMENT)


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forged(header: Any, payload: bytes = b"{}", key: Ed25519PrivateKey = KEY) -> str:
    head = (
        header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    )
    signed = f"{encoded(head)}.{encoded(payload)}"
    return f"{signed}.{encoded(key.sign(signed.encode()))}"


def test_what_was_signed_comes_back() -> None:
    assert verify(f"  {SIGNED}\n", KEYS, NOW) == DOCUMENT
    assert verify(SIGNED, keys_of(json.dumps(key_set(KEYS))), NOW) == DOCUMENT


def test_any_jose_library_could_verify_it() -> None:
    head, payload, signature = SIGNED.split(".")
    padded = [part + "=" * (-len(part) % 4) for part in (head, payload, signature)]
    assert json.loads(base64.urlsafe_b64decode(padded[0])) == {
        "alg": "EdDSA",
        "kid": KID,
        "typ": TYPE,
    }
    KEY.public_key().verify(base64.urlsafe_b64decode(padded[2]), f"{head}.{payload}".encode())


def test_an_expired_one_is_refused_from_its_very_second_on() -> None:
    assert verify(SIGNED, KEYS, DOCUMENT["exp"] * S - 1)  # type: ignore[operator]
    with pytest.raises(CertificateRefusedError, match="has expired"):
        verify(SIGNED, KEYS, DOCUMENT["exp"] * S)  # type: ignore[operator]


HEADER = {"alg": "EdDSA", "kid": KID, "typ": TYPE}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "three parts"),
        ("a.b", "three parts"),
        ("x" * 70_000 + "..", "three parts"),
        ("!.!.!", "damaged"),
        (SIGNED + "=", "damaged"),
        (SIGNED.replace(".", ".A", 1), "damaged|does not fit"),
        (forged(b"not json"), "how it is signed"),
        (forged(["alg"]), "how it is signed"),
        (forged({"alg": "EdDSA"}), "how it is signed"),
        (forged({**HEADER, "alg": "none"}), "only EdDSA"),
        (forged({**HEADER, "alg": "HS256"}), "only EdDSA"),
        (forged({**HEADER, "alg": "ES256"}), "only EdDSA"),
        (forged({**HEADER, "kid": "00" * 8}), "not this hub's"),
        (sign(OTHER, DOCUMENT), "not this hub's"),
        (forged({**HEADER, "crit": ["exp"]}), "not one that a hub writes"),
        (forged({**HEADER, "typ": "JWT"}), "not one that a hub writes"),
        (forged({"typ": TYPE, "alg": "EdDSA", "kid": KID}), "not one that a hub writes"),
        (forged(HEADER, key=OTHER), "was changed"),
        (".".join([*SIGNED.split(".")[:2], ""]), "was changed"),
    ],
)  # fmt: skip
def test_what_does_not_hold_is_refused_with_words(text: str, says: str) -> None:
    with pytest.raises(CertificateRefusedError, match=says):
        verify(text, KEYS, NOW)


@given(st.data())
def test_not_one_bit_can_be_changed(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(SIGNED) - 1))
    letter = data.draw(st.characters(min_codepoint=33, max_codepoint=126))
    if letter != SIGNED[at]:
        with pytest.raises(CertificateRefusedError):
            verify(SIGNED[:at] + letter + SIGNED[at + 1 :], KEYS, NOW)


@given(st.text(max_size=200))
def test_nothing_else_ever_holds(text: str) -> None:
    with pytest.raises(CertificateRefusedError):
        verify(text, KEYS, NOW)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"keys": []}',
        '{"keys": [1]}',
        '{"keys": [{"crv": "Ed25519", "kid": "00", "x": "!"}]}',
        json.dumps({"keys": [{**key_set(KEYS)["keys"][0], "kid": "00" * 8}]}),
    ],
)
def test_keys_that_are_none(text: str) -> None:
    with pytest.raises(InvalidInputError):
        keys_of(text)


def test_a_buyer_verifies_a_file_offline(tmp_path: Path) -> None:
    never = {**DOCUMENT, "exp": 4_000_000_000}
    signed, keys = tmp_path / "certificate.jws", tmp_path / "keys.json"
    keys.write_text(json.dumps(key_set(KEYS)))
    for text in (sign(KEY, never), json.dumps({"certificate": sign(KEY, never)})):
        signed.write_text(text)
        done = CliRunner().invoke(
            app, ["certificate", "verify", str(signed), "--keys", str(keys)], catch_exceptions=False
        )
        assert done.exit_code == 0
        assert json.loads(done.stdout) == never
        assert "holds until 2096-10-02" in done.stderr
    for text in (sign(OTHER, never), sign(KEY, {**DOCUMENT, "exp": 1}), '{"certificate": 1}', "{"):
        signed.write_text(text)
        done = CliRunner().invoke(app, ["certificate", "verify", str(signed), "--keys", str(keys)])
        assert isinstance(done.exception, InvalidInputError)
    missing = str(tmp_path / "none")
    done = CliRunner().invoke(app, ["certificate", "verify", missing, "--keys", str(keys)])
    assert isinstance(done.exception, InvalidInputError)
