"""Letters: whatever a service writes to a household is a sentence on its page, in every language."""

import ast
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from hub.ports.database.ownership_tables import Letter
from hub.web import hands, languages
from hub.web.formats import Formats
from hub.web.visitor import Visitor

SERVICES = Path(__file__).parents[2] / "hub" / "services"
NS = 1_000_000_000


def written() -> Iterator[tuple[str, frozenset[str]]]:
    """Yield the code of every letter that a service writes, and the names of its arguments."""
    for path in sorted(SERVICES.glob("*.py")):
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "letters.write":
                code = ast.literal_eval(call.args[3])  # one that is made up at run time fails here
                yield code, frozenset(str(keyword.arg) for keyword in call.keywords)


def test_there_is_a_sentence_for_every_letter_and_no_other() -> None:
    codes = {code for code, _ in written()}
    assert len(codes) > 10
    assert codes == hands.LETTERS.keys()


@pytest.mark.parametrize("tag", sorted(languages.load()))
@pytest.mark.parametrize(("code", "names"), sorted(written(), key=str))
def test_every_letter_is_said_with_all_its_arguments(
    code: str, names: frozenset[str], tag: str
) -> None:
    language = languages.load()[tag]
    formats = Formats(language.locale, ZoneInfo("UTC"))
    visitor = Visitor(None, None, "", language, "", formats, "/hand-overs")
    arguments = {name: 1_750_000_000 * NS if name.endswith("_at") else name * 2 for name in names}
    letter = Letter(at=0, code=code, arguments={"serial": "HP-0001", **arguments})
    said = hands.said(letter, visitor)
    assert "HP-0001" in said
    assert "{" not in said
    english = hands.LETTERS[code].partition("{")[0].strip()
    template = language.text(hands.LETTERS[code])
    assert tag == "en" or not english or not template.startswith(english)
    assert "reason" not in names or "reason" * 2 in said
