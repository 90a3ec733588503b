"""The languages of the pages: catalogues of messages, and which one a visitor gets.

1. English is the language of the source; every other one is a folder `locales/TAG` with a complete
   `messages.po`, read as it is: nothing is compiled.
2. `N_` marks a text of the source for the catalogues; it is translated where it is shown.
3. Never here: sentences (`sentences`), numbers and times (`formats`).
"""

import functools
import gettext
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType

from babel import Locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations


def N_(text: str) -> str:  # noqa: N802  gettext's own name for it, known to all extractors
    """Mark a text for translation and return it as it is."""
    return text


@dataclass(frozen=True, slots=True)
class Language:
    """One language.

    Args:
        tag: language tag, as in `lang` and in cookies.
        name: what it calls itself.
        locale: rules for numbers, times and plurals.
        catalogue: its messages.
    """

    tag: str
    name: str
    locale: Locale
    catalogue: gettext.NullTranslations

    def text(self, message: str, **arguments: object) -> str:
        """Translate a message; its fields are in braces."""
        translated = self.catalogue.gettext(message)
        return translated.format(**arguments) if arguments else translated


@functools.cache
def load() -> Mapping[str, Language]:
    """Load all languages, by tag; English first. A process reads them once."""
    found = {"en": Language("en", "English", Locale.parse("en_GB"), gettext.NullTranslations())}
    folder = files("hub.web") / "locales"
    for tag in sorted(entry.name for entry in folder.iterdir() if entry.is_dir()):
        with (folder / tag / "messages.po").open("rb") as source:
            catalogue = read_po(source, locale=tag)
        compiled = io.BytesIO()
        write_mo(compiled, catalogue)
        compiled.seek(0)
        locale = Locale.parse(tag)
        name = (locale.get_display_name(tag) or tag).capitalize()
        found[tag] = Language(tag, name, locale, Translations(compiled))
    return MappingProxyType(found)


def chosen(
    languages: Mapping[str, Language], wishes: Sequence[str | None], accept: str | None
) -> Language:
    """Choose a language.

    Args:
        languages: by tag; the first one is the fallback.
        wishes: tags that were asked for, the strongest first.
        accept: header `Accept-Language`; weaker than the wishes.
    """
    ranked: list[tuple[float, str]] = []
    for part in (accept or "").split(",")[:20]:
        tag, _, quality = part.strip().partition(";q=")
        try:
            ranked.append((-float(quality or 1), tag))
        except ValueError:
            continue
    ranked.sort(key=lambda pair: pair[0])
    for wish in [*wishes, *(tag for _, tag in ranked)]:
        base = (wish or "").lower().partition("-")[0]
        if base in languages:
            return languages[base]
    return next(iter(languages.values()))
