"""Cases on pages: asking for help, and all that support does until it is closed."""

from starlette.testclient import TestClient

from tests.hub.api.api_world import World
from tests.web.pages_world import browser, text_of


def test_a_case_from_asking_to_closing(
    world: World, ada: TestClient, bob: TestClient, support: TestClient
) -> None:
    unit = world.unit(ada)
    owner, staff, other = browser(world, ada), browser(world, support), browser(world, bob)
    ask, form = f"/products/{unit.product_id}/cases", {"subject": "It is cold", "message": " "}
    assert "Ask support for help" in text_of(owner.get(f"/products/{unit.product_id}"))
    assert owner.post(ask, data=form).status_code == 422
    assert "It is cold" not in text_of(staff.get("/support/cases"))
    made = owner.post(ask, data=form | {"message": "Since <b>today</b>"})
    case = made.headers["location"]
    assert "It is cold" in text_of(owner.get(f"/products/{unit.product_id}"))
    for page in ("/support/cases", f"/support/products/{unit.product_id}"):
        assert f'href="{case}"' in staff.get(page).text
    assert other.get(case).status_code == 404
    assert other.post(case, data={"step": "reply", "message": "x"}).status_code == 404

    def step(who: TestClient, step: str, message: str = "", status: int = 303) -> str:
        answer = who.post(case, data={"step": step, "message": message})
        assert answer.status_code == status, answer.text
        return text_of(answer if status != 303 else who.get(case))

    for wrong in ("resolve", "wait", "take", "close"):
        step(owner, wrong, "I say so", 403)
    assert "Write something first" in step(staff, "reply", "", 422)
    assert "not too long" in step(staff, "reply", "x" * 4_001, 422)
    step(staff, "nonsense", "x", 422)
    assert "looks after it" in step(staff, "take")
    assert "waits for the customer" in step(staff, "wait", "Which error does it show?")
    assert "goes on" in step(staff, "resume")
    step(staff, "wait", "And now?")
    asked = text_of(owner.get(case))
    assert "Since <b>today</b>" in asked
    assert "Which error does it show?" in asked
    assert world.people["support"] not in asked
    assert "in work" in step(owner, "reply", "E41")
    assert "solved" in step(staff, "resolve", "Press reset")
    assert "If it is not solved" in text_of(owner.get(case))
    assert "in work" in step(owner, "reply", "No, it does not help")
    step(staff, "resolve", "A new pump was built in")
    assert "This case is closed" in step(staff, "close")
    assert "was closed or solved meanwhile" in step(owner, "reply", "Thanks", 409)
    looked = text_of(owner.get(f"/products/{unit.product_id}/looks"))
    assert "its cases" in looked
