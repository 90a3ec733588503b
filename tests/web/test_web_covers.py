"""What covers a fault, in the languages of the pages."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from entitlements.coverage_sentences import TEMPLATES
from entitlements.covers import CoverCode
from hub.web.formats import Formats
from hub.web.languages import load
from hub.web.sentences import Sentences

MIDNIGHT = round(dt.datetime(2028, 3, 2, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()) * 10**9
ARGUMENTS = {
    "until_at": MIDNIGHT,
    "since_at": MIDNIGHT,
    "latest_at": MIDNIGHT,
    "from_at": MIDNIGHT,
    "months": 24,
    "hours_left": 1_234,
    "cycles_left": 5,
    "incidents": 4,
    "incidents_left": 3,
    "plan": "care",
}


def said(tag: str) -> Sentences:
    language = load()[tag]
    return Sentences(language, Formats(language.locale, ZoneInfo("Europe/Berlin")))


@pytest.mark.parametrize("tag", ["en", "de"])
def test_every_code_is_said_in_full(tag: str) -> None:
    for code in TEMPLATES:
        text = said(tag).cover(code, ARGUMENTS, "Care")
        assert "{" not in text
        assert "care" not in text
    assert len({said(tag).cover(code, ARGUMENTS) for code in TEMPLATES}) == len(TEMPLATES)


def test_an_end_is_the_day_that_ends() -> None:
    assert said("en").cover(CoverCode.WARRANTY, ARGUMENTS) == "Under warranty until 1 Mar 2028."
    assert said("de").cover(CoverCode.WARRANTY, ARGUMENTS) == "Unter Garantie bis 01.03.2028."
    assert "2 Mar 2028" in said("en").cover(CoverCode.CONTRACT_SCHEDULED, ARGUMENTS)
    hours = said("de").cover(CoverCode.WARRANTY_HOURS, ARGUMENTS)
    assert "übrige Betriebsstunden: 1.234" in hours
