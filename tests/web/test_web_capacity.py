"""The operator's page of capacity."""

import pytest

from hub.services.caller import Role
from hub.services.capacity_model import Fleet, parse_kept, shipped
from hub.web.capacity import GROUPS, NAMES
from tests.hub.api.api_world import World
from tests.web.pages_world import browser, text_of

PAGE = "/operator/capacity"


def test_every_need_has_a_name_and_a_place(world: World) -> None:
    found = world.hub.capacity.answer(Fleet(1, 1.0, 1, 1, parse_kept("1/2/3/4")))
    codes = [need.code for need in found.needs]
    assert sorted(codes) == sorted(NAMES)
    assert sorted(code for group in GROUPS.values() for code in group) == sorted(codes)
    assert {name for need in found.needs for name in need.figures} <= shipped()[0].keys()


def test_an_operator_reads_needs_formulas_and_sources(world: World) -> None:
    page = browser(world, world.person("Olga", Role.OPERATOR))
    asked = {
        "products": "250000",
        "every": "30",
        "rows": "10",
        "metrics": "4",
        "keep": "30/365/-/-",
    }
    answer = page.get(PAGE, params=asked)
    assert answer.status_code == 200
    said = text_of(answer)
    found = world.hub.capacity.answer(Fleet(250_000, 1 / 30, 10, 4, parse_kept("30/365/-/-")))
    for need in found.needs:
        assert need.formula in said
    figure = found.figures["worker_us_per_message"]
    assert figure.name in said
    assert figure.source in said
    assert f"{250_000 / 30:,.0f}" in said  # messages a second
    assert 'value="250000"' in answer.text
    page.headers["Cookie"] += "; __Host-homeport-language=de"
    assert "Arbeitsspeicher, insgesamt" in text_of(page.get(PAGE, params=asked))


@pytest.mark.parametrize(
    "asked",
    [{"products": "many"}, {"every": "0"}, {"every": "nan"}, {"keep": "<b>"}, {"rows": "-1"}],
)
def test_what_cannot_be_computed_is_said(world: World, asked: dict[str, str]) -> None:
    page = browser(world, world.person("Olga", Role.OPERATOR))
    answer = page.get(PAGE, params=asked)
    assert answer.status_code == 400
    assert "This cannot be computed." in text_of(answer)
    assert "<b>" not in answer.text


def test_support_has_no_business_there(world: World) -> None:
    page = browser(world, world.person("Sam", Role.SUPPORT))
    assert page.get(PAGE).status_code == 403
    assert PAGE not in page.get("/support").text
