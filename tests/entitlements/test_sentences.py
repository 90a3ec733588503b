"""Sentences made from codes and arguments."""

import pytest

from entitlements.codes import Code
from entitlements.sentences import TEMPLATES, instant_text, sentence
from tests.entitlements.products import DAY


def test_every_code_has_a_template() -> None:
    assert set(TEMPLATES) == set(Code)


@pytest.mark.parametrize(
    ("code", "args", "expected"),
    [
        (
            "plan",
            {"plan": "comfort", "until_at": 365 * DAY},
            "Part of plan comfort (until 1971-01-01 00:00 UTC).",
        ),
        ("plan", {"plan": "basic", "until_at": None}, "Part of plan basic (without end)."),
        (
            "lapsed",
            {"plan": "comfort", "since_at": 0},
            "Plan comfort lapsed on 1970-01-01 00:00 UTC because it was not renewed.",
        ),
        ("unclaimed", {}, "Nobody has claimed this product yet."),
    ],
)
def test_sentences(code: str, args: dict[str, int | str | None], expected: str) -> None:
    assert sentence(code, args) == expected


def test_an_instant_beyond_the_calendar_is_shown_as_a_number() -> None:
    assert instant_text(2**63 - 1).startswith("2262-04-11")
    assert instant_text(2**80) == f"{2**80} ns"


def test_an_unknown_code_or_a_missing_argument_is_named() -> None:
    with pytest.raises(ValueError, match="'nonsense' is not the code"):
        sentence("nonsense", {})
    with pytest.raises(ValueError, match="code lapsed lacks its argument"):
        sentence("lapsed", {"plan": "comfort"})
