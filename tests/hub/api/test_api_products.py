from api_world import World, ok
from starlette.testclient import TestClient


def test_a_product_from_the_factory_to_its_owner(world: World, ada: TestClient) -> None:
    unit = world.unit(ada)
    listed = ok(ada.get("/api/v1/products"))
    assert [item["serial"] for item in listed["items"]] == [unit.serial]
    assert listed["next"] is None
    detail = ok(ada.get(f"/api/v1/products/{unit.device_id}"))
    assert detail["owner"]["name"] == "ada"
    assert detail["device"]["enrolled_at"] == "2026-01-31T08:00:00Z"
