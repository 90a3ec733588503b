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
        tree = ast.parse(path.read_text("utf-8"))
        for function in (one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)):
            for call in called(function, "letters.write"):
                names = frozenset(str(one.arg) for one in call.keywords if one.arg is not None)
                if isinstance(call.args[3], ast.Constant):
                    yield str(call.args[3].value), names
                else:  # a function that writes what it is told to: then who calls it says the code
                    yield from passed(tree, function, ast.unparse(call.args[3]), names)


def passed(
    tree: ast.Module, function: ast.FunctionDef, argument: str, names: frozenset[str]
) -> Iterator[tuple[str, frozenset[str]]]:
    place = [one.arg for one in function.args.args].index(argument)
    for call in called(tree, function.name):
        own = {str(one.arg) for one in call.keywords}
        yield ast.literal_eval(call.args[place]), names | own


def called(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == name:
            yield call


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
    visitor = Visitor(None, None, "", language, "", formats, "/hand-overs", "")
    arguments = {name: 1_750_000_000 * NS if name.endswith("_at") else name * 2 for name in names}
    letter = Letter(at=0, code=code, arguments={"serial": "HP-0001", **arguments})
    said = hands.said(letter, visitor)
    assert "HP-0001" in said
    assert "{" not in said
    english = hands.LETTERS[code].partition("{")[0].strip()
    template = language.text(hands.LETTERS[code])
    assert tag == "en" or not english or not template.startswith(english)
    assert "reason" not in names or "reason" * 2 in said
