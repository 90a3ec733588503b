"""What is installed, with its licences and hashes."""

import hashlib
import json
from importlib.metadata import distribution

from typer.testing import CliRunner

from hub.wiring import bill_of_materials
from hub.wiring.cli import app


def test_every_part_has_a_version_a_licence_and_a_hash() -> None:
    parts = {part.name: part for part in bill_of_materials.installed()}
    assert {"homeport", "cryptography", "fastapi", "starlette", "htmx", "uPlot"} <= parts.keys()
    assert parts["htmx"].version == "2.0.11"
    others = [part for part in parts.values() if part.name != "homeport"]
    assert [part.name for part in others if not part.licence] == []
    assert [part.name for part in others if len(part.sha256) != 64] == []
    record = distribution("fastapi").read_text("RECORD") or ""
    assert parts["fastapi"].sha256 == hashlib.sha256(record.encode()).hexdigest()
    assert "starlette" in parts["fastapi"].needs
    assert not {"pytest", "ruff", "mypy"} & parts.keys()


def test_the_document_is_cyclonedx_and_refers_to_what_it_lists() -> None:
    printed = CliRunner().invoke(app, ["sbom"])
    assert printed.exit_code == 0
    found = json.loads(printed.stdout)
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    assert found["metadata"]["component"]["name"] == "homeport"
    refs = {part["bom-ref"] for part in found["components"]}
    refs.add(found["metadata"]["component"]["bom-ref"])
    assert len(refs) == len(found["components"]) + 1
    for one in found["dependencies"]:
        assert {one["ref"], *one["dependsOn"]} <= refs
    again = json.loads(CliRunner().invoke(app, ["sbom"]).stdout)
    assert again["serialNumber"] == found["serialNumber"]


def test_licences_are_listed_by_one_command() -> None:
    printed = CliRunner().invoke(app, ["sbom", "--licences"]).stdout
    assert "fastapi" in printed
    assert "(not said)" not in printed
