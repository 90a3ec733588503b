"""Renders templates: one environment per language, made once, and the headers of every page.

1. Everything is escaped; what a template names must exist.
2. The content policy allows this host's files and nothing else: no inline script or style, no
   other host, no frame.
3. Never here: what a page shows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Self

from jinja2 import Environment, FunctionLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from hub.services.quantities import symbol
from hub.web import languages as tongues
from hub.web.assets import Assets
from hub.web.formats import machine, setting
from hub.web.languages import Language

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    # With `no-referrer` browsers send `Origin: null` with forms, and we could not tell our own.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Vary": "Cookie, Accept-Language",
}


@dataclass(frozen=True, slots=True)
class Pages:
    """Everything that pages are made of.

    Args:
        languages: by tag.
        assets: files that browsers fetch.
        environments: of templates, by the language's tag.
    """

    languages: Mapping[str, Language]
    assets: Assets
    environments: Mapping[str, Environment]

    @classmethod
    def load(cls, languages: Mapping[str, Language] | None = None) -> Self:
        """Load templates, languages and files from the package.

        Args:
            languages: other languages than those of the package.
        """
        known = tongues.load() if languages is None else languages
        assets = Assets.load()
        return cls(known, assets, {tag: _environment(one, assets) for tag, one in known.items()})

    def text(self, language: Language, template: str, **context: Any) -> str:
        """Render a template to text."""
        return self.environments[language.tag].get_template(template).render(**context)

    def page(
        self, request: Request, template: str, status: int = 200, **context: Any
    ) -> HTMLResponse:
        """Render a page for the visitor of a request."""
        visitor = request.state.visitor
        text = self.text(
            visitor.language,
            template,
            visitor=visitor,
            formats=visitor.formats,
            languages=self.languages,
            now=request.app.state.hub.clock(),
            **context,
        )
        return HTMLResponse(text, status, dict(HEADERS))


def pages_of(request: Request) -> Pages:
    """Return what the pages of this application are made of."""
    pages: Pages = request.app.state.pages
    return pages


def _environment(language: Language, assets: Assets) -> Environment:
    folder = files("hub.web") / "templates"

    def source(name: str) -> str | None:
        entry = folder / name
        return entry.read_text("utf-8") if entry.is_file() else None

    environment = Environment(
        loader=FunctionLoader(source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
        auto_reload=False,
        cache_size=-1,
    )
    environment.install_gettext_translations(language.catalogue, newstyle=True)  # type: ignore[attr-defined]  # of i18n
    environment.globals.update(asset=assets.address, language=language)
    environment.filters.update(machine=machine, setting=setting, symbol=symbol)
    return environment
