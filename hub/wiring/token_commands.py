"""The commands `homeport token`: what a device was told, read from its files, in plain words.

1. It is read as the device reads it (`device_sdk.wire.offline`); nothing is asked of a hub.
2. Whether the hub of these settings signed it is said first: without that it proves nothing.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from device_sdk.wire import cose, offline
from device_sdk.wire.errors import WireError
from device_sdk.wire.state import EntitlementToken, decode_state, decode_token
from hub.config import load
from hub.errors import HubError
from hub.wiring import compose

app = typer.Typer(no_args_is_help=True, help="Signed states and entitlement tokens.")

_S = 1_000_000_000


@app.command("show")
def show_token(
    file: Annotated[
        Path,
        typer.Argument(help="A device's state.json, or a signed state or token as it is or hex."),
    ],
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Settings file; without it homeport.toml, if it is there."),
    ] = None,
) -> None:
    """Explain a signed state or token: who signed it, and what it allows until when."""
    try:
        data = _octets(file.read_bytes())
        shown = explained(data, _known(load(config).keys_dir), compose.now() // _S)
    except (OSError, WireError) as error:
        raise HubError(f"{file} is no signed state or token that can be read: {error}.") from error
    typer.echo(json.dumps(shown, indent=2, ensure_ascii=False, default=_plain))


def explained(data: bytes, keys: dict[bytes, Ed25519PublicKey], now_s: int) -> dict[str, Any]:
    """Return what a signed state or token says.

    Args:
        data: the signed message.
        keys: public keys of the hub, by key id.
        now_s: instant to decide features at, seconds since 1970.

    Raises:
        WireError: it is neither.
    """
    kid, payload = cose.peek(data)
    try:
        state = decode_state(payload)
    except WireError:
        signed = _signed(data, keys, cose.ENTITLEMENT_EXTERNAL)
        return {
            "kid": kid.hex(),
            "signed_by_this_hub": signed,
            **_token(decode_token(payload), now_s),
        }
    return {
        "kid": kid.hex(),
        "signed_by_this_hub": _signed(data, keys, cose.STATE_EXTERNAL),
        "state_version": state.version,
        "hub_time": _text(state.time // _S),
        "configuration": dict(state.configuration),
        "signing_keys": [key.kid.hex() for key in state.signing_keys],
        "token": _token(decode_token(cose.peek(state.entitlement)[1]), now_s),
    }


def _token(token: EntitlementToken, now_s: int) -> dict[str, Any]:
    features = {}
    for name in sorted(token.features):
        now = offline.decide(token, name, now_s)
        features[name] = {
            "allowed_now": now.allowed,
            "code": now.code,
            "safe": now.safe,
            "ends_at": _text(offline.ends_s(token, name)),
            "arguments": dict(now.arguments),
        }
    return {
        "device": token.device,
        "version": token.version,
        "owner_epoch": token.owner_epoch,
        "issued_at": _text(token.issued),
        "expires_at": _text(token.expires),
        "grace_s": token.grace,
        "features": features,
    }


def _signed(data: bytes, keys: dict[bytes, Ed25519PublicKey], purpose: bytes) -> bool:
    try:
        cose.verify1(data, keys, purpose)
    except WireError:
        return False
    return True


def _known(folder: Path) -> dict[bytes, Ed25519PublicKey]:
    """Return the keys of the hub of these settings; none if there is no hub here."""
    from hub.services.signing_keys import SigningKeys  # noqa: PLC0415  heavy, and only here

    try:
        keys = SigningKeys.load(folder)
    except HubError:
        return {}
    return {key.kid: Ed25519PublicKey.from_public_bytes(key.key) for key in keys.ever()}


def _octets(content: bytes) -> bytes:
    """Return the signed message in a file: state.json of the SDK, hex, or the bytes themselves."""
    try:
        if content.lstrip().startswith(b"{"):
            return bytes.fromhex(json.loads(content)["state"])
        return bytes.fromhex(content.decode("ascii").strip())
    except (ValueError, KeyError, TypeError):
        return content


def _text(seconds: int | None) -> str | None:
    if seconds is None:
        return None
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (OverflowError, ValueError, OSError):
        return f"{seconds} s"


def _plain(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
