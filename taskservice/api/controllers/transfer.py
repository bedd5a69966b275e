"""All tasks as a file, out and in."""

from typing import Any, Final, cast

from litestar import Controller, get, post

from taskservice import rules
from taskservice.api.described import TASK, Body, described
from taskservice.api.idempotency import once, read_idempotency_key
from taskservice.api.import_file import read_csv_import, read_json_import
from taskservice.api.json_body import JSON, check_media_type
from taskservice.api.parameters import IdempotencyKeyHeader
from taskservice.api.request import TaskRequest
from taskservice.api.responses import Answer, Download
from taskservice.tasks.export import EVENTS, FORMATS, export
from taskservice.tasks.importing import Existing, Imported, import_tasks
from taskservice.tasks.schemas import TaskImport
from taskservice.tasks.store import TaskStore
from taskservice.tasks.validation import Invalid

FILES: Final[dict[str, Any]] = {
    form.media_type.partition(";")[0]: (
        {"type": "array", "items": {"$ref": "#/components/schemas/Task"}} if name == "json" else {"type": "string"}
    )
    for name, form in FORMATS.items()
}
EXPORTED: Final = {name: TASK[name] for name in TaskImport.__struct_fields__}
CSV: Final = "text/csv"
FILE_TYPES: Final = JSON | {CSV}


class TransferController(Controller):
    @get(
        "/export",
        summary="Export all tasks",
        response_description="The file, streamed.",
        operation_class=described(query=("format", "component"), headers={200: ("Content-Disposition",)}, files=FILES),
    )
    async def export_tasks(self, request: TaskRequest) -> Download:
        """As a file: JSON or CSV for spreadsheets, both for `POST …/import`, and iCalendar. With `component=event` the
        calendar has an event (VEVENT) for each task with a due date, which every calendar shows; without it a to-do
        (VTODO) for each task."""
        found = request.query()
        name = request.choice(found, "format")
        component = request.choice(found, "component")
        if "component" in found and name != "ics":
            request.note(Invalid("combination", "goes with format=ics only"), "component", "query")
        request.refuse()
        form = EVENTS if component == "event" else FORMATS[name]
        pieces = export(request.service.reads, request.owner, form)
        attachment = f'attachment; filename="tasks.{form.extension}"'
        return Download(
            pieces,
            (b"content-type", form.media_type.encode()),
            (b"content-disposition", attachment.encode()),
        )

    @post(
        "/import",
        status_code=200,
        summary="Import tasks",
        description=(
            f"Takes back what `format=json` or `format=csv` exported, up to {rules.IMPORT_MAX} tasks, all or nothing. "
            "Tasks keep their ids and their past, which must not lie in the future. A CSV file may come from a "
            "spreadsheet: separated by commas, semicolons or tabs, with columns in any order. Only `title` must be "
            "there; a row without an `id` is a new task. Of the tasks that are there already, `existing=skip` leaves "
            "all as they are, in the trash too; `existing=update` changes them to what the file says and takes them "
            "out of the trash. With `dry_run=true` nothing is written, and the answer says what would be."
        ),
        response_description="How many tasks were created, updated and skipped.",
        request_max_body_size=rules.IMPORT_BODY_MAX,
        operation_class=described(
            query=("existing", "dry_run"),
            body=Body(
                {"one task": [EXPORTED]}, list_of=TaskImport, texts={CSV: "title,due_date\nBuy milk,2026-12-01\n"}
            ),
            example={"created": 10, "updated": 0, "skipped": 2, "dry_run": False},
        ),
    )
    async def import_tasks(
        self, request: TaskRequest, idempotency_key: IdempotencyKeyHeader = None
    ) -> Answer[Imported]:
        """Imports the tasks of the file."""
        slots = request.service.imports
        async with slots.take(request.owner):
            # Not `request.body()`, which keeps what it read for as long as the request lives.
            raw = await slots.whole(request.stream())
            media_type = check_media_type(request.scope, FILE_TYPES)
            found = request.query()
            existing = cast("Existing", request.choice(found, "existing"))
            dry_run = request.choice(found, "dry_run") == "true"
            key = await read_idempotency_key(request, idempotency_key, body=raw)
            read = read_csv_import if media_type == CSV else read_json_import
            imports = await read(request, raw)
            del raw
            request.refuse()

            async def work(tasks: TaskStore) -> Answer[Imported]:
                return Answer(await import_tasks(tasks, request.user, imports, existing=existing, dry_run=dry_run))

            return await once(request, key, work, always_transact=True)
