"""The OpenAPI document is complete, and nothing in it is left unsaid."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from hub.api import description, problems
from hub.api.access import RULES, Role
from tests.hub.api.api_world import World, ok


@pytest.fixture
def document(world: World) -> dict[str, Any]:
    found: dict[str, Any] = ok(world.anonymous.get("/api/v1/openapi.json"))
    return found


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_route_is_in_it(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in description.operations(document)]
    assert sorted(ids) == sorted(RULES)


def test_every_operation_says_what_it_is(document: dict[str, Any]) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    for path, method, operation in description.operations(document):
        name = f"{method} {path}"
        assert operation["summary"], name
        assert operation["description"], name
        assert len(operation["tags"]) == 1, name
        assert operation["tags"][0] in tags, name
        assert re.fullmatch("[a-z][a-z_]+", operation["operationId"]), name
        for parameter in operation.get("parameters", []):
            assert parameter["schema"], name


def test_who_may_call_is_declared(document: dict[str, Any]) -> None:
    for _, _, operation in description.operations(document):
        rule = RULES[operation["operationId"]]
        assert operation["x-homeport-callers"] == sorted(rule.roles)
        public = Role.ANONYMOUS in rule.roles
        assert operation["security"] == ([] if public else [{"bearer": []}, {"cookie": []}])
        assert public or {"401", "403"} <= set(operation["responses"])


def test_problems_are_declared(document: dict[str, Any]) -> None:
    for _, _, operation in description.operations(document):
        assert operation["responses"]["default"] == {"$ref": "#/components/responses/Problem"}
    content = document["components"]["responses"]["Problem"]["content"]
    assert list(content) == [problems.MEDIA_TYPE]
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_json_answers_and_bodies_have_named_schemas(document: dict[str, Any]) -> None:
    for path, method, operation in description.operations(document):
        if operation["operationId"] == "get_description":
            continue  # OpenAPI is described by OpenAPI
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        answers = [
            answer for status, answer in operation["responses"].items() if status.startswith("2")
        ]
        assert answers, f"{method} {path}"
        for part in (*bodies, *answers):
            media = part.get("content", {}).get("application/json")
            assert media is None or "$ref" in media["schema"], f"{method} {path}"


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for reference in references(document):
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
        assert node


def test_every_object_has_an_example_or_is_made_of_such(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    catalogue = {name for name in schemas if name.endswith(("Entry", "Document"))}
    for name, schema in schemas.items():
        if schema.get("type") != "object" or name in catalogue:
            continue
        assert schema.get("examples") or list(references(schema)), name
        assert schema.get("description"), name


def test_requests_refuse_unknown_fields(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for _, _, operation in description.operations(document):
        body = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if body is not None and operation["tags"] != [
            "flags"
        ]:  # whose protocol lets clients say more
            schema = schemas[body["schema"]["$ref"].rsplit("/", 1)[1]]
            assert schema["additionalProperties"] is False
