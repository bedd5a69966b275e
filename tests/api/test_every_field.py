"""Every field that clients write goes through every way of writing and reading; a field that one forgets fails here."""

from typing import Any, Final

import msgspec
import pytest

from taskservice.tasks.fields import FIELDS
from taskservice.tasks.models import tasks
from taskservice.tasks.schemas import Task, TaskChange, TaskCreate, TaskImport
from tests.support.services import Caller

VALUES: Final[dict[str, tuple[Any, Any]]] = {
    "title": ("Buy milk", "Buy bread"),
    "description": ("two litres", "a loaf"),
    "status": ("in_progress", "completed"),
    "priority": ("high", "low"),
    "due_date": ("2026-12-01", "2026-12-02T10:00:00.000001Z"),
}
"""Two values for each field, neither of them its default."""

NAMES: Final = [field.name for field in FIELDS]
NULLABLE: Final = [field.name for field in FIELDS if field.nullable]


def test_every_field_is_in_the_table_and_has_two_values_here() -> None:
    assert set(NAMES) == set(VALUES)
    for struct in (TaskCreate, TaskChange):
        assert set(struct.__struct_fields__) == {*NAMES, "completed"}, struct
    assert set(TaskImport.__struct_fields__) == {*NAMES, "completed", "id", "created_at", "completed_at"}
    assert set(NAMES) <= set(Task.__struct_fields__)
    kept = {column for field in FIELDS for column in field.columns}
    decided = {"id", "user_id", "completed", "created_at", "updated_at", "completed_at", "deleted_at", "revision"}
    assert kept | decided == set(tasks.c.keys())
    defaults = {field.name: field.default for field in msgspec.structs.fields(TaskCreate)}
    assert not [name for name in NAMES if defaults[name] in VALUES[name]]


def body(name: str, value: Any) -> dict[str, Any]:
    return {"title": "t", name: value}


@pytest.mark.parametrize("name", NAMES)
async def test_it_is_created_changed_and_shown(alice: Caller, name: str) -> None:
    first, second = VALUES[name]
    task = await alice.create(**body(name, first))
    assert task[name] == first
    for method, value in (("PATCH", second), ("PUT", first), ("PATCH", second)):
        changed = await alice.request(method, f"/{task['id']}", json={name: value})
        assert changed.json()[name] == value
        assert changed.json()["etag"] != task["etag"]
        task = changed.json()
        again = await alice.request(method, f"/{task['id']}", json={name: value})
        assert again.json() == task, "nothing is different"
    assert await alice.tasks() == [task]
    [change] = (await alice.get("/changes")).json()["changes"]
    assert change["task"] == task
    other = next(field for field in NAMES if field != name)
    kept = (await alice.patch(f"/{task['id']}", json={other: VALUES[other][0]})).json()
    assert kept[name] == second, "what is absent stays"


@pytest.mark.parametrize("name", NULLABLE)
async def test_null_clears_it(alice: Caller, name: str) -> None:
    task = await alice.create(**body(name, VALUES[name][0]))
    assert (await alice.patch(f"/{task['id']}", json={name: None})).json()[name] is None


@pytest.mark.parametrize("name", NAMES)
async def test_batches_take_it(alice: Caller, name: str) -> None:
    first, second = VALUES[name]
    create = {"op": "create", "data": body(name, first)}
    [created] = (await alice.post("/batch", json={"operations": [create]})).json()["results"]
    assert created["task"][name] == first
    update = {"op": "update", "id": created["task"]["id"], "data": {name: second}}
    [updated] = (await alice.post("/batch", json={"operations": [update]})).json()["results"]
    assert updated["task"][name] == second


@pytest.mark.parametrize("name", NAMES)
async def test_an_export_holds_it_and_an_import_brings_it_back(alice: Caller, name: str) -> None:
    first, second = VALUES[name]
    task = await alice.create(**body(name, first))
    [exported] = (await alice.get("/export?format=json")).json()
    assert exported[name] == first
    assert name in (await alice.get("/export?format=csv")).text.splitlines()[0].split(",")
    await alice.patch(f"/{task['id']}", json={name: second})
    await alice.post("/import?existing=update", json=[exported])
    assert (await alice.read(task["id"]))[name] == first
    await alice.delete("?confirm=all")
    await alice.post("/import", json=[exported])
    assert (await alice.read(task["id"]))[name] == first


@pytest.mark.parametrize("name", NAMES)
async def test_the_trash_keeps_it(alice: Caller, name: str) -> None:
    task = await alice.create(**body(name, VALUES[name][0]))
    await alice.delete(f"/{task['id']}")
    [trashed] = (await alice.get("/trash")).json()
    assert trashed[name] == VALUES[name][0]
    assert (await alice.post(f"/{task['id']}/restore")).json()[name] == VALUES[name][0]
