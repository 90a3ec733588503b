"""The command `homeport certificate verify`: whether a certificate of a used product holds.

1. It asks nobody: a buyer can verify a file offline, with the hub's public keys in another file
   (`GET /api/v1/certificate-keys`, from the hub itself).
2. At the hub, without a file of keys, its own keys are taken.
"""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hub.config import load
from hub.errors import InvalidInputError
from hub.services import certificate_proof

if TYPE_CHECKING:
    from hub.services.certificate_proof import Keys

app = typer.Typer(no_args_is_help=True, help="Certificates of health and coverage.")

_LARGEST = 1_048_576


@app.callback()
def _group() -> None:
    """Keep `verify` a subcommand though it is the only one."""


@app.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(help="The certificate, as it was issued or shown.")],
    keys: Annotated[
        Path | None, typer.Option(help="The hub's public keys; without it those of this hub.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Settings file; without it homeport.toml, if it is there."),
    ] = None,
) -> None:
    """Print what a certificate says if it holds; say why if it does not."""
    known = certificate_proof.keys_of(_text(keys)) if keys else _own_keys(load(config).keys_dir)
    document = certificate_proof.verify(_certificate(_text(file)), known, time.time_ns())
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
    until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(document["exp"]))
    typer.echo(f"The certificate holds until {until}.", err=True)


def _own_keys(folder: Path) -> "Keys":
    from hub.services import health_certificates  # noqa: PLC0415  heavy, and only here
    from hub.services.signing_keys import SigningKeys  # noqa: PLC0415  heavy, and only here

    if not folder.is_dir():
        raise InvalidInputError(
            f"There is no hub here ({folder} does not exist). Name a file with the public keys of the "
            "hub that issued the certificate: --keys FILE."
        )
    return health_certificates.public_keys(SigningKeys.load_or_create(folder))


def _certificate(text: str) -> str:
    """Return the signed form, also out of what the API answered."""
    if not text.lstrip().startswith("{"):
        return text
    try:
        return str(json.loads(text)["certificate"])
    except (ValueError, KeyError, RecursionError) as error:
        raise InvalidInputError("The file is JSON, but holds no certificate.") from error


def _text(path: Path) -> str:
    try:
        with path.open("rb") as source:
            return source.read(_LARGEST).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}.") from error
