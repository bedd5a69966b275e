"""`/llms.txt` tells a program, in a text that is short enough to read, how to call the API."""

from typing import Any

import pytest

from tests.support.services import Service, Services


async def test_it_names_every_operation_of_the_token_surface_and_what_it_is_for(service: Service) -> None:
    text = (await service.http.get("/llms.txt")).text
    described = (await service.http.get("/schema/openapi.json")).json()["paths"]
    for path, item in described.items():
        for method, operation in item.items():
            if path == "/api/tasks" or path.startswith("/api/tasks/"):
                assert f"- `{method.upper()} {path}`: {operation['summary']}" in text


async def test_it_is_short_plain_and_public(service: Service) -> None:
    answer = await service.http.get("/llms.txt")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert len(answer.content) < 6000
    assert "Authorization: Bearer" in answer.text


async def test_its_links_can_be_followed(service: Service) -> None:
    text = (await service.http.get("/llms.txt")).text
    for link in ("/schema/openapi.json?surface=token", "/schema/problems", "/health/ready"):
        assert f"({link})" in text
        assert (await service.http.get(link)).status_code == 200


async def test_it_names_the_public_address(services: Services) -> None:
    service = services.shared(public_url="https://example.org/todo")
    text = (await service.http.get("/llms.txt")).text
    assert "Base address: https://example.org/todo\n" in text
    assert "(https://example.org/todo/schema/openapi.json?surface=token)" in text


@pytest.mark.parametrize(
    ("surface", "other_list", "left_out_response"),
    [("token", "/api/{user_id}/tasks", "PathOwnerMismatch"), ("path", "/api/tasks", "ForeignTask")],
)
async def test_the_description_can_be_had_for_one_surface(
    service: Service, surface: str, other_list: str, left_out_response: str
) -> None:
    whole = (await service.http.get("/schema/openapi.json")).json()
    part = (await service.http.get(f"/schema/openapi.json?surface={surface}")).json()
    left_out = {path for path in whole["paths"] if path.startswith(other_list)}
    assert len(left_out) > 5
    assert part["paths"] == {path: item for path, item in whole["paths"].items() if path not in left_out}
    assert {tag["name"] for tag in part["tags"]} < {tag["name"] for tag in whole["tags"]}
    left_out_responses = whole["components"]["responses"].keys() - part["components"]["responses"].keys()
    assert left_out_responses == {left_out_response}
    for section, parts in part["components"].items():
        assert all(whole["components"][section][name] == component for name, component in parts.items())
        if section != "securitySchemes":
            assert {f"#/components/{section}/{name}" for name in parts} == {
                reference for reference in references(part) if f"/{section}/" in reference
            }


def references(value: Any) -> set[str]:
    """What a document refers to, anywhere in it."""
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(references(part) for part in value.values()))
    return set().union(*(references(part) for part in value)) if isinstance(value, list) else set()


async def test_a_surface_that_does_not_exist_is_refused(service: Service) -> None:
    answer = await service.http.get("/schema/openapi.json?surface=both")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "surface"
