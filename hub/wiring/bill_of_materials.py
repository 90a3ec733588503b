"""What is installed with the hub: a CycloneDX 1.6 document, and the licences.

1. Told from the installed packages themselves, so it says what runs, not what was asked for.
2. A package's hash is over its `RECORD`, which holds the hashes of all its files.
3. Scripts that browsers get are listed beside, with the hashes of their files.
"""

import hashlib
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.resources import files
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

ROOT = "homeport"
_CLASSIFIER = "License :: OSI Approved :: "
_VENDORED = re.compile(r"^([0-9a-f]{64})  vendor/((.+?)-(\d+(?:\.\d+)+)\.\S*js)$")
_SCRIPT_LICENCES = {"htmx": "0BSD", "htmx-ext-sse": "0BSD", "uPlot": "MIT"}


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that is installed; `licence` is an SPDX expression or what the package says."""

    name: str
    version: str
    kind: str
    licence: str
    sha256: str
    purl: str
    needs: tuple[str, ...] = field(default=())


def installed(extra: str = "hub") -> list[Part]:
    """Return the hub's package, all that it needs, and the scripts it serves; by name.

    Args:
        extra: of the package, whose needs count.
    """
    found: dict[str, Part] = {}
    waiting = [(ROOT, frozenset({extra}))]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            one = distribution(name)
        except PackageNotFoundError:
            continue  # for another system, or a checkout that was not installed
        needs = dict(_needs(one, extras))
        waiting += needs.items()
        before = found[name].needs if name in found else ()
        found[name] = _part(name, one, tuple(sorted({*before, *needs})))
    return sorted([*found.values(), *_scripts()], key=lambda part: part.name.lower())


def document(parts: list[Part], at: str) -> dict[str, Any]:
    """Return the CycloneDX document.

    Args:
        parts: as `installed` says.
        at: the present time, RFC 3339.
    """
    own = [part for part in parts if part.name == ROOT]
    content = "\n".join(f"{part.purl} {part.sha256}" for part in parts)
    known = {part.name: part.purl for part in parts}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}",
        "version": 1,
        "metadata": {"timestamp": at} | ({"component": _component(own[0])} if own else {}),
        "components": [_component(part) for part in parts if part.name != ROOT],
        "dependencies": [
            {"ref": part.purl, "dependsOn": [known[n] for n in part.needs if n in known]}
            for part in parts
        ],
    }


def licences(parts: list[Part]) -> Mapping[str, list[str]]:
    """Return what stands under each licence, by licence."""
    found: dict[str, list[str]] = {}
    for part in parts:
        found.setdefault(part.licence or "(not said)", []).append(f"{part.name} {part.version}")
    return dict(sorted(found.items()))


def _component(part: Part) -> dict[str, Any]:
    licence = (
        [{"expression": part.licence}]
        if re.fullmatch(r"[A-Za-z0-9.+-]+( (AND|OR|WITH) [A-Za-z0-9.+-]+)*", part.licence)
        else [{"license": {"name": part.licence}}]
    )
    return {
        "type": part.kind,
        "bom-ref": part.purl,
        "name": part.name,
        "version": part.version,
        "purl": part.purl,
        **({"hashes": [{"alg": "SHA-256", "content": part.sha256}]} if part.sha256 else {}),
        **({"licenses": licence} if part.licence else {}),
    }


def _part(name: str, one: Distribution, needs: tuple[str, ...]) -> Part:
    record = one.read_text("RECORD") or ""
    return Part(
        name=name,
        version=one.version,
        kind="application" if name == ROOT else "library",
        licence=_licence(one),
        sha256=hashlib.sha256(record.encode()).hexdigest() if record else "",
        purl=f"pkg:pypi/{name}@{one.version}",
        needs=needs,
    )


def _licence(one: Distribution) -> str:
    facts: Any = one.metadata
    if expression := facts.get("License-Expression"):
        return str(expression)
    approved = [
        line.removeprefix(_CLASSIFIER)
        for line in facts.get_all("Classifier") or ()
        if line.startswith(_CLASSIFIER)
    ]
    said = " ".join(str(facts.get("License") or "").split())
    return said if 0 < len(said) <= 60 else ", ".join(approved)


def _needs(one: Distribution, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    for line in one.requires or ():
        try:
            wanted = Requirement(line)
        except InvalidRequirement:
            continue
        marker = wanted.marker
        chosen = [{"extra": extra} for extra in extras] or [{"extra": ""}]
        if marker is None or any(marker.evaluate(each) for each in chosen):
            yield re.sub(r"[-_.]+", "-", wanted.name).lower(), frozenset(wanted.extras)


def _scripts() -> Iterator[Part]:
    listed = (files("hub.web") / "static" / "MANIFEST.sha256").read_text("utf-8")
    for line in listed.splitlines():
        if (match := _VENDORED.match(line)) is not None:
            digest, _, name, version = match.groups()
            licence = _SCRIPT_LICENCES.get(name, "")
            purl = f"pkg:npm/{name.lower()}@{version}"
            yield Part(name, version, "library", licence, digest, purl)
