"""The messages of pages: what there is to translate, and bringing catalogues up to date.

    python -m tests.web.extraction

Adds new messages to every `hub/web/locales/*/messages.po`, drops those that are gone, and says what
is left to translate.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_file
from babel.messages.pofile import read_po, write_po

from entitlements.coverage_sentences import TEMPLATES as COVERS
from entitlements.sentences import TEMPLATES as DECISIONS
from hub.services.alert_sentences import INCIDENTS
from hub.services.alert_sentences import TEMPLATES as FINDINGS
from hub.services.personal_data import Keep
from hub.services.personal_tables import HOLDINGS

WEB = Path(__file__).parents[2] / "hub" / "web"
LOCALES = WEB / "locales"
HEADER = """\
msgid ""
msgstr ""
"Language: {tag}\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Plural-Forms: {plurals}\\n"

"""
Message = str | tuple[str, ...]


def messages() -> Iterator[Message]:
    """Yield what pages can say, each once."""
    found: dict[Message, None] = {}
    for path in sorted(WEB.glob("*.py")):
        for _, message, _, _ in extract_from_file("python", path):
            found.setdefault(message)
    options = {"trimmed": "true", "newstyle_gettext": "true"}
    for path in sorted((WEB / "templates").glob("*.html")):
        method = "jinja2.ext:babel_extract"
        for _, message, _, _ in extract_from_file(method, path, options=options):
            found.setdefault(message)
    sentences = (FINDINGS, INCIDENTS, DECISIONS, COVERS)
    kept = [one.fate.why for one in HOLDINGS if one.file and isinstance(one.fate, Keep)]
    for template in [*kept, *(text for templates in sentences for text in templates.values())]:
        found.setdefault(template)
    yield from found


def catalogue(tag: str) -> Catalog:
    """Read the catalogue of a language."""
    with (LOCALES / tag / "messages.po").open("rb") as source:
        return read_po(source, locale=tag)


def key(message: Any) -> str:
    """Return what a catalogue files a message under."""
    return parts(message)[0]


def main() -> None:
    """Bring all catalogues up to date."""
    for folder in sorted(path for path in LOCALES.iterdir() if path.is_dir()):
        old = catalogue(folder.name)
        new = Catalog(locale=folder.name, charset="utf-8", fuzzy=False)
        for message in messages():
            known = old.get(key(message))
            new.add(message, known.string if known else "")
        with (folder / "messages.po").open("wb") as target:
            target.write(HEADER.format(tag=folder.name, plurals=old.plural_forms).encode())
            write_po(target, new, width=100, omit_header=True, no_location=True)
        left = [message.id for message in new if message.id and not all(parts(message.string))]
        print(f"{folder.name}: {len(left)} to translate", *left, sep="\n  ")  # noqa: T201  a command


def parts(message: Any) -> tuple[str, ...]:
    """Return the forms of a message or of its translation."""
    return (message or "",) if message is None or isinstance(message, str) else tuple(message)


if __name__ == "__main__":
    main()
