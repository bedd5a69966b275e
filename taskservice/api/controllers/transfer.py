"""All tasks as a file, out and in."""

from typing import Any, Final, cast, get_args

from litestar import Controller, get, post

from taskservice import rules
from taskservice.api.described import BODY, RETRIED, TASK, Body, described
from taskservice.api.idempotency import once, read_idempotency_key
from taskservice.api.import_file import read_import
from taskservice.api.json_body import JSON, check_media_type
from taskservice.api.parameters import IdempotencyKeyHeader
from taskservice.api.request import TaskRequest
from taskservice.api.responses import Answer, Download
from taskservice.problems import TaskExists
from taskservice.tasks.export import FORMATS, export
from taskservice.tasks.importing import Existing, Imported, import_tasks
from taskservice.tasks.schemas import TaskImport
from taskservice.tasks.store import TaskStore

FILES: Final[dict[str, Any]] = {
    form.media_type.partition(";")[0]: (
        {"type": "array", "items": {"$ref": "#/components/schemas/Task"}} if name == "json" else {"type": "string"}
    )
    for name, form in FORMATS.items()
}


class TransferController(Controller):
    path = "/"

    @get(
        "/export",
        summary="Export all tasks",
        response_description="The file, streamed.",
        operation_class=described(query=("format",), headers={200: ("Content-Disposition",)}, files=FILES),
    )
    async def export_tasks(self, request: TaskRequest) -> Download:
        """As a file: JSON for `POST …/import`, CSV for spreadsheets, iCalendar (VTODO) for calendars."""
        name = request.choice(request.query("format"), "format", tuple(FORMATS))
        request.refuse()
        form = FORMATS[name]
        pieces = export(request.service.tasks, request.owner, form)
        attachment = f'attachment; filename="tasks.{form.extension}"'
        return Download(
            await anext(pieces),
            pieces,
            (b"content-type", form.media_type.encode()),
            (b"content-disposition", attachment.encode()),
        )

    @post(
        "/import",
        status_code=200,
        summary="Import tasks",
        description=(
            f"Takes back what `format=json` exported, up to {rules.IMPORT_MAX} tasks, all or nothing. Tasks keep their "
            "ids and their past, which must not lie in the future. Of those that are there already, "
            "`existing=skip` leaves all as they are, in the trash too; `existing=update` changes them to what the "
            "file says and takes them out of the trash. With `dry_run=true` nothing is written, and the answer says "
            "what would be."
        ),
        response_description="How many tasks were created, updated and skipped.",
        request_max_body_size=rules.IMPORT_BODY_MAX,
        operation_class=described(
            *BODY,
            *RETRIED,
            TaskExists,
            query=("existing", "dry_run"),
            headers={200: ("Idempotency-Replayed?",)},
            body=Body({"one task": [TASK]}, list_of=TaskImport),
            example={"created": 10, "updated": 0, "skipped": 2, "dry_run": False},
        ),
    )
    async def import_tasks(
        self, request: TaskRequest, idempotency_key: IdempotencyKeyHeader = None
    ) -> Answer[Imported]:
        """Imports the tasks of the file."""
        async with request.service.imports.take():
            raw = await request.body()
            check_media_type(request.scope, JSON)
            found = request.query("existing", "dry_run")
            existing = cast("Existing", request.choice(found, "existing", get_args(Existing)))
            dry_run = request.choice(found, "dry_run", ("false", "true")) == "true"
            key = await read_idempotency_key(request, idempotency_key)
            imports = await read_import(request, raw)
            request.refuse()

            async def work(tasks: TaskStore) -> Answer[Imported]:
                return Answer(await import_tasks(tasks, request.user, imports, existing=existing, dry_run=dry_run))

            return await once(request, key, work, always_transact=True)
