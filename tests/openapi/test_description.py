"""The description says what the service does: every route, every rule, the same names for ever."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest

from docs.generate import PAGES
from taskservice import rules
from taskservice.problems import catalogue
from taskservice.tasks import batch, list_query
from taskservice.tasks.bodies import Bodies
from taskservice.tasks.validation import Fields
from tests.support.described import DOCUMENT, assert_described, resolved
from tests.support.routes import operations
from tests.support.services import Service, Services

Schema = dict[str, Any]

IDS = {
    "GET /": ("listTasks", "listUserTasks"),
    "POST /": ("createTask", "createUserTask"),
    "DELETE /": ("deleteAllTasks", "deleteAllUserTasks"),
    "GET /trash": ("listTrash", "listUserTrash"),
    "POST /batch": ("runBatch", "runUserBatch"),
    "GET /changes": ("listChanges", "listUserChanges"),
    "GET /export": ("exportTasks", "exportUserTasks"),
    "POST /import": ("importTasks", "importUserTasks"),
    "GET /{task_id}": ("getTask", "getUserTask"),
    "PUT /{task_id}": ("replaceTask", "replaceUserTask"),
    "PATCH /{task_id}": ("updateTask", "updateUserTask"),
    "PATCH /{task_id}/complete": ("completeTask", "completeUserTask"),
    "DELETE /{task_id}": ("deleteTask", "deleteUserTask"),
    "POST /{task_id}/restore": ("restoreTask", "restoreUserTask"),
    "GET /health/live": ("isAlive",),
    "GET /health/ready": ("isReady",),
}
"""Generated clients call the operations so. A name that changes here breaks them all."""


def described(document: Schema = DOCUMENT) -> Iterator[tuple[str, str, Schema]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def named(name: str, document: Schema = DOCUMENT) -> Schema:
    for _, _, operation in described(document):
        if operation["operationId"] == name:
            return operation
    raise LookupError(name)


# ---- whole


async def test_it_is_what_the_service_answers(service: Service) -> None:
    answer = await service.http.get("/schema/openapi.json")
    assert answer.json() == DOCUMENT == json.loads(PAGES["docs/openapi.json"]())
    assert DOCUMENT["openapi"].startswith("3.1")


def test_every_route_is_described(service: Service) -> None:
    routes = {
        (operation.method, operation.template.replace(":str", ""))
        for operation in operations(service.app)
        if operation.template.startswith(("/api/", "/health/"))
    }
    assert {(method, path) for method, path, _ in described()} == routes


def test_operations_keep_their_names() -> None:
    assert {operation["operationId"] for _, _, operation in described()} == {
        name for names in IDS.values() for name in names
    }
    for method, path, operation in described():
        under, on_path = path.removeprefix("/api/tasks"), path.startswith("/api/{user_id}")
        under = path.removeprefix("/api/{user_id}/tasks") if on_path else under
        assert operation["operationId"] == IDS[f"{method} {under or '/'}"][on_path]


def test_every_operation_is_told_in_words_and_has_its_parameters() -> None:
    for method, path, operation in described():
        assert operation["summary"]
        assert operation["description"]
        assert operation["tags"][0] in {tag["name"] for tag in DOCUMENT["tags"]}
        found = [resolved(parameter) for parameter in operation.get("parameters", ())]
        in_path = {parameter["name"] for parameter in found if parameter["in"] == "path"}
        assert in_path == {name for name in ("user_id", "task_id") if f"{{{name}}}" in path}
        assert ("security" in operation) == (not path.startswith("/api/")), (method, path)


def test_every_reference_leads_somewhere_and_every_component_is_referred_to() -> None:
    text = json.dumps(DOCUMENT)
    for section, components in DOCUMENT["components"].items():
        for name in components:
            referred = f'"#/components/{section}/{name}"' in text
            assert referred or section == "securitySchemes", f"nobody refers to {name}"
    for part in text.split('"$ref": "')[1:]:
        resolved({"$ref": part.partition('"')[0]})


# ---- true


def validator(schema: Schema) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "components": DOCUMENT["components"], **schema},
        validate_formats=True,
    )


def contents() -> Iterator[tuple[str, Schema]]:
    for _, _, operation in described():
        name = operation["operationId"]
        yield from (
            (f"{name} body", content) for content in operation.get("requestBody", {}).get("content", {}).values()
        )
        for status, response in operation["responses"].items():
            yield from ((f"{name} {status}", content) for content in resolved(response).get("content", {}).values())


def _without_read_only(body: Any) -> Any:
    if isinstance(body, list):
        return [
            {key: value for key, value in item.items() if key not in {"user_id", "updated_at", "etag"}} for item in body
        ]
    return body


def test_every_example_is_valid() -> None:
    checked = 0
    for name, content in contents():
        examples = [example["value"] for example in content.get("examples", {}).values()]
        examples += [content["example"]] if "example" in content else []
        schema = validator(content["schema"])
        for example in examples:
            # A request may send the read-only fields back, as one of the examples does.
            sent = _without_read_only(example) if "body" in name else example
            errors = [error.message for error in schema.iter_errors(sent)]
            assert not errors, f"{name}: {errors}"
            checked += 1
    assert checked > 500


def test_generators_find_no_schema_that_they_stumble_over() -> None:
    """Unions beside a discriminator, a type or null as a union, enumerations of one word, and negations."""
    text = json.dumps(DOCUMENT)
    assert '"anyOf"' not in text
    assert '"not"' not in text
    for name, schema in DOCUMENT["components"]["schemas"].items():
        assert "title" not in schema, name
        for property_ in schema.get("properties", {}).values():
            assert {"type": "null"} not in property_.get("oneOf", ()), name
            assert len(property_.get("enum", "ab")) > 1, name


def test_every_body_and_every_json_answer_has_an_example() -> None:
    for name, content in contents():
        plain = name.startswith("export")
        assert plain or content.get("example") is not None or content.get("examples"), name


async def test_the_examples_of_bodies_are_accepted_as_they_are(service: Service) -> None:
    alice = service.user("alice-who-reads-examples")
    bodies = named("createTask")["requestBody"]["content"]["application/json"]["examples"].values()
    for example in bodies:
        assert (await alice.post("", json=example["value"])).status_code == 201
    task = await alice.create()
    for media_type, content in named("updateTask")["requestBody"]["content"].items():
        for example in content["examples"].values():
            headers = {"Content-Type": media_type}
            answer = await alice.patch(f"/{task['id']}", content=json.dumps(example["value"]), headers=headers)
            assert answer.status_code == 200
    (taken,) = named("importTasks")["requestBody"]["content"]["application/json"]["examples"].values()
    assert (await alice.post("/import", json=taken["value"], params={"dry_run": "true"})).status_code == 200


def test_every_code_of_a_problem_is_in_it() -> None:
    codes = DOCUMENT["components"]["schemas"]["ProblemCode"]["enum"]
    assert codes == [kind.code for kind in catalogue()]


@pytest.mark.parametrize(
    "kind", [kind for kind in catalogue() if kind.code != "unknown-user"], ids=lambda kind: kind.code
)
def test_every_problem_is_an_answer_of_something(kind: Any) -> None:
    told = [
        response["content"]["application/problem+json"]["examples"]
        for response in DOCUMENT["components"]["responses"].values()
    ]
    assert any(examples.get(kind.code, {}).get("value", {}).get("status") == kind.status for examples in told)


def fields_of(read: Fields) -> tuple[set[str], set[str]]:
    """Without the read-only fields, which are accepted, but not shown to those who write a client."""
    return set(read._checks), set(read._required)


def properties_of(name: str, document: Schema = DOCUMENT) -> tuple[set[str], set[str]]:
    schema = document["components"]["schemas"][name]
    assert schema["additionalProperties"] is False
    return set(schema["properties"]), set(schema.get("required", ()))


def test_bodies_have_the_fields_that_are_read(service: Service) -> None:
    bodies = Bodies(service.settings)
    assert {kind.__name__ for kind in bodies.fields} == {"TaskCreate", "TaskChange", "TaskImport", "Completion"}
    for kind, fields in bodies.fields.items():
        assert properties_of(kind.__name__) == fields_of(fields)


@pytest.mark.parametrize("op", batch.OPERATIONS)
def test_operations_of_a_batch_have_the_fields_that_are_read(op: str) -> None:
    allowed, required = fields_of(batch.FIELDS_OF[op])
    assert properties_of(f"Batch{op.title()}") == (allowed | {"op"}, required | {"op"})


@pytest.mark.parametrize(("name", "statuses"), [("listTasks", 4), ("listUserTasks", 3)])
def test_lists_have_the_parameters_that_are_read(name: str, statuses: int) -> None:
    parameters = {parameter.get("name"): parameter for parameter in named(name)["parameters"]}
    assert set(list_query.PARAMETERS) == {name for name, parameter in parameters.items() if parameter["in"] == "query"}
    assert parameters["limit"]["schema"]["maximum"] == rules.LIST_LIMIT
    assert len(parameters["status"]["schema"]["items"]["enum"]) == statuses


def test_the_pattern_of_a_title_takes_what_is_not_blank_when_trimmed() -> None:
    title = jsonschema_rs.validator_for(DOCUMENT["components"]["schemas"]["TaskCreate"]["properties"]["title"])
    for character in map(chr, [*range(0x01, 0xD800), *range(0xE000, 0x11000)]):
        assert title.is_valid(character) == bool(character.strip()), hex(ord(character))


@pytest.mark.parametrize("sort", ["created", "-created,title", "due,-priority,status"])
def test_the_pattern_of_a_sort_takes_what_the_service_takes(sort: str) -> None:
    parameters = {parameter.get("name"): parameter for parameter in named("listTasks")["parameters"]}
    assert validator(parameters["sort"]["schema"]).is_valid(sort)


@pytest.mark.parametrize("sort", ["", "created,", "created,-created", "colour", "title,due,title", "--title"])
async def test_the_pattern_of_a_sort_refuses_what_the_service_refuses(service: Service, sort: str) -> None:
    parameters = {parameter.get("name"): parameter for parameter in named("listTasks")["parameters"]}
    assert not validator(parameters["sort"]["schema"]).is_valid(sort)
    assert (await service.user("alice").get("", params={"sort": sort})).status_code == 422


# ---- under other policies


async def test_policies_change_it(services: Services) -> None:
    other = services.shared(title="generated", description_max="500", foreign_task="404", users="token")
    document = (await other.http.get("/schema/openapi.json")).json()
    create = document["components"]["schemas"]["TaskCreate"]
    assert "required" not in create
    assert create["properties"]["description"]["maxLength"] == 500
    assert "403" not in named("getTask", document)["responses"]
    assert "403" in named("getUserTask", document)["responses"]
    assert "403" in named("getTask")["responses"]


async def test_components_have_the_same_names_under_every_policy(services: Services) -> None:
    other = services.shared(title="generated", description_max="500", foreign_task="404", users="token")
    document = (await other.http.get("/schema/openapi.json")).json()
    assert document["components"]["schemas"].keys() == DOCUMENT["components"]["schemas"].keys()


# ---- the hook that all tests have


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (418, {}),
        (200, {"content-type": "text/html"}),
        (200, {"content-type": "application/json"}),
        (200, {"content-type": "application/json", "x-request-id": "1"}),
        (200, {"content-type": "application/json", "x-request-id": "1", "etag": '"1"', "location": "/"}),
    ],
    ids=["status", "type", "no request id", "no tag", "a header too many"],
)
async def test_an_answer_that_is_not_described_is_noticed(status: int, headers: dict[str, str]) -> None:
    request = httpx.Request("GET", "http://service.example/api/tasks/01976b2e-0b3c-7c4e-9d57-1f2a3b4c5d6e")
    with pytest.raises(AssertionError):
        await assert_described(httpx.Response(status, headers=headers, request=request))
