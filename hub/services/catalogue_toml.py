"""Writes a catalogue document as TOML, laid out as people write it by hand.

1. What is the default is left out; read again, it is the same document.
2. Models and plans are tables, metrics and versions arrays of them, all below stands in one line.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from hub.services.catalogue_document import CatalogueDocument, ModelEntry, PlanEntry
from hub.services.coverage_document import ContractEntry


def written(document: CatalogueDocument) -> str:
    """Return a document as TOML."""
    lines: list[str] = []
    for name, model in document.models.items():
        lines += _model(f"models.{name}", model)
    for name, plan in document.plans.items():
        lines += _versioned(f"plans.{name}", plan)
    for name, calendar in document.calendars.items():
        terms = calendar.model_dump()
        hours = terms.pop("hours")
        lines += _table(f"[calendars.{name}]", terms)
        lines += _table(f"[calendars.{name}.hours]", hours)
    for name, contract in document.contracts.items():
        lines += _versioned(f"contracts.{name}", contract)
    for region, tax in document.taxes.items():
        lines += _table(f"[taxes.{region}]", tax.model_dump(exclude_defaults=True))
    return "\n".join(lines).lstrip("\n") + "\n"


def plain(document: CatalogueDocument) -> dict[str, Any]:
    """Return a document as JSON values, without what is the default."""
    return document.model_dump(mode="json", exclude_defaults=True)


def _model(table: str, model: ModelEntry) -> Iterator[str]:
    terms = model.model_dump(exclude_defaults=True)
    metrics = terms.pop("metrics", ())
    warranty = terms.pop("warranty", ())
    parts = {part: terms.pop(part, {}) for part in ("meters", "features", "settings")}
    yield from _table(f"[{table}]", terms)
    for metric in metrics:
        yield from _table(f"[[{table}.metrics]]", metric)
    for part, entries in parts.items():
        if entries:
            yield from _table(f"[{table}.{part}]", entries)
    for version in warranty:
        yield from _table(f"[[{table}.warranty]]", version)


def _versioned(table: str, entry: PlanEntry | ContractEntry) -> Iterator[str]:
    terms = entry.model_dump(exclude_defaults=True)
    versions = terms.pop("versions", ())
    yield from _table(f"[{table}]", terms)
    for version in versions:
        yield from _table(f"[[{table}.versions]]", version)


def _table(head: str, terms: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", head)
    yield from (f"{_key(name)} = {_value(value)}" for name, value in terms.items())


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case date():
            return value.isoformat()
        case Mapping():
            parts = (f"{_key(k)} = {_value(v)}" for k, v in value.items() if v is not None)
            listed = ", ".join(parts)
            return f"{{ {listed} }}" if listed else "{}"
        case list() | tuple():
            return f"[{', '.join(map(_value, value))}]"
        case str():
            return _text(value)
        case _:
            return repr(value)


def _key(name: str) -> str:
    bare = name.isascii() and name.replace("-", "a").replace("_", "a").isalnum()
    return name if bare else _text(name)


def _text(value: str) -> str:
    # The escapes of JSON are among those of TOML, which has one character more to escape.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
