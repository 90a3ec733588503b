"""`homeport token show`: a device's file in plain words."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hub.errors import HubError
from hub.wiring.cli import app

VECTORS = Path(__file__).parents[2] / "wire" / "vectors"


def show(file: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("HOMEPORT_DATA_DIR", str(data))
    answer = CliRunner().invoke(app, ["token", "show", str(file)], catch_exceptions=False)
    assert answer.exit_code == 0
    shown: dict[str, Any] = json.loads(answer.stdout)
    return shown


@pytest.mark.parametrize("form", ["raw", "hex", "file of the device"])
def test_a_state_is_explained_in_every_form_it_is_found_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    data = (VECTORS / "state.bin").read_bytes()
    forms = {
        "raw": data,
        "hex": data.hex().encode() + b"\n",
        "file of the device": json.dumps({"state": data.hex(), "signed_with": {}}).encode(),
    }
    file = tmp_path / "state"
    file.write_bytes(forms[form])
    shown = show(file, tmp_path / "none", monkeypatch)
    assert (shown["state_version"], shown["signed_by_this_hub"]) == (4, False)
    assert shown["configuration"]["mode"] == "eco"
    features = shown["token"]["features"]
    assert (features["local_control"]["allowed_now"], features["local_control"]["ends_at"]) == (
        True,
        None,
    )
    assert features["boost"]["ends_at"] == "2023-12-21T22:13:20Z"
    assert features["boost"]["code"] == "expired_offline"


def test_a_token_alone_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = show(VECTORS / "entitlement.bin", tmp_path, monkeypatch)
    assert (shown["version"], shown["owner_epoch"], shown["grace_s"]) == (9, 3, 604_800)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 9, b"00", b"d28400"])
def test_what_is_neither_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    file = tmp_path / "state"
    file.write_bytes(content)
    monkeypatch.setenv("HOMEPORT_DATA_DIR", str(tmp_path))
    with pytest.raises(HubError, match="no signed state or token"):
        CliRunner().invoke(app, ["token", "show", str(file)], catch_exceptions=False)
