"""What the service would refuse does not compile, so that most mistakes never reach it."""

from pathlib import Path

import pytest

from tests.typescript.compiler import compiled, installed, run

pytestmark = pytest.mark.slow

DESCRIPTION = Path(__file__).parents[2] / "docs" / "openapi.json"

PROGRAM = """\
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

const api = createClient<paths>({ baseUrl: "http://service.example" });
const task_id = "01976b2e-0b3c-7c4e-9d57-1f2a3b4c5d6e";

// @ts-expect-error a task needs a title
await api.POST("/api/tasks", { body: {} });
// @ts-expect-error no such field
const done: components["schemas"]["TaskCreate"] = { title: "Buy milk", done: true };
// @ts-expect-error no such priority
await api.POST("/api/tasks", { body: { title: "Buy milk", priority: "urgent" } });
// @ts-expect-error a title cannot be cleared
await api.PATCH("/api/tasks/{task_id}", { params: { path: { task_id } }, body: { title: null } });
// @ts-expect-error no such filter
await api.GET("/api/tasks", { params: { query: { colour: "red" } } });
// @ts-expect-error no such state
await api.GET("/api/tasks", { params: { query: { status: ["done"] } } });
// @ts-expect-error this state is of the other surface
await api.GET("/api/{user_id}/tasks", { params: { path: { user_id: "alice" }, query: { status: ["in_progress"] } } });
// @ts-expect-error everything is erased only by this very word
await api.DELETE("/api/tasks", { params: { query: { confirm: "yes" } } });
// @ts-expect-error no such operation
await api.POST("/api/tasks/batch", { body: { operations: [{ op: "move", id: task_id }] } });
// @ts-expect-error no such method
await api.PUT("/api/tasks", { body: [] });

// A task may be sent back as it was read.
const read = await api.GET("/api/tasks/{task_id}", { params: { path: { task_id } } });
if (read.data) await api.PUT("/api/tasks/{task_id}", { params: { path: { task_id } }, body: read.data });

// Changes and problems are told apart by what they say they are.
const gone = (page: components["schemas"]["ChangePage"]): string[] =>
  page.changes.flatMap((change) => (change.type === "delete" ? [change.id] : [])).concat(
    page.changes.flatMap((change) => (change.type === "upsert" ? [change.task.title] : [])));
const stale: components["schemas"]["ProblemCode"] = "precondition-failed";
// @ts-expect-error no such code
const wrong: components["schemas"]["ProblemCode"] = "precondition-missed";
console.log(done, gone, stale, wrong, read.error?.code);
"""


def test_what_the_service_refuses_does_not_compile(tmp_path: Path) -> None:
    api, program = tmp_path / "api.ts", tmp_path / "program.ts"
    run([installed("openapi-typescript"), str(DESCRIPTION), "--output", str(api)])
    program.write_text(PROGRAM, "utf-8")
    compiled(tmp_path, api, program)
