"""The operations on tasks, said once for both surfaces."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Final, TypeVar
from urllib.parse import urlencode

from litestar import Controller, Request, delete, get, patch, post, put

from taskservice import rules
from taskservice.api.conditional import if_match, if_none_match, sent_as
from taskservice.api.json_body import MERGE_PATCH, read_json
from taskservice.api.responses import Answer, Download, Header, etag_header
from taskservice.api.straight import Straight
from taskservice.auth.guards import requires_path_owner
from taskservice.auth.tokens import Principal
from taskservice.database.pool import Pool
from taskservice.problems import FieldError, ForeignTask, PreconditionFailed, TaskNotFound, ValidationFailed
from taskservice.settings import Settings
from taskservice.tasks import validation
from taskservice.tasks.batch import BatchAnswer, read_batch, run_batch
from taskservice.tasks.bodies import Bodies
from taskservice.tasks.changes import ChangePage, change_page, read_position
from taskservice.tasks.cursors import cursor_key
from taskservice.tasks.export import FORMATS, export
from taskservice.tasks.idempotency import IdempotencyKey, Kept, read_idempotency_key
from taskservice.tasks.importing import Imported, import_tasks, read_import
from taskservice.tasks.list_query import (
    PATH_SURFACE,
    TOKEN_SURFACE,
    ListQuery,
    Surface,
    read_list_query,
    read_trash_query,
)
from taskservice.tasks.query_string import read_limit, read_parameters
from taskservice.tasks.revisions import Counters
from taskservice.tasks.schemas import Cleared, Task, TrashedTask, etag, task_from, trashed_from
from taskservice.tasks.store import Edited, Page, Row, TaskStore
from taskservice.tasks.validation import Invalid
from taskservice.tasks.write_statements import Edit

TRASH_IS_OFF: Final = (b"x-trash", b"off: the policy is delete = hard, deleted tasks are gone for good")

Call = Request[Principal, Any, Any]
Answered = TypeVar("Answered")


class TaskService:
    """What the controllers work with."""

    def __init__(self, settings: Settings, pool: Pool, tasks: TaskStore) -> None:
        self.settings: Final = settings
        self.pool: Final = pool
        self.tasks: Final = tasks
        self.counters: Final = Counters(pool)
        self.bodies: Final = Bodies(settings)
        self.cursor_key: Final = cursor_key(settings)
        self.hard_delete: Final = settings.delete == "hard"


class TaskController(Controller):
    """The token surface: the tasks of the token's user."""

    path = "/api/tasks"
    tags = ["tasks"]  # noqa: RUF012 (Litestar's attribute)
    middleware = [Straight]  # noqa: RUF012
    surface: ClassVar[Surface] = TOKEN_SURFACE
    service: ClassVar[TaskService]

    # ---- many tasks

    @get("/")
    async def list_tasks(self, request: Call) -> Answer[list[Task]]:
        """The user's tasks: filtered, sorted, a page at a time."""
        service, owner = self.service, request.user.user_id
        errors: list[FieldError] = []
        known = if_none_match(request.scope, errors)
        query = read_list_query(request.scope["query_string"], self.surface, service.cursor_key, errors)
        if known is not None and not query.follows_clock:
            revision = await service.counters.of(owner)
            if known.includes(revision):
                return Answer.not_modified(revision)
        page = await service.tasks.page(owner, query)
        headers = _link(request, query, page)
        if not query.follows_clock:
            headers += (etag_header(page.revision),)
        return Answer([task_from(owner, row) for row in page.rows], 200, *headers)

    @post("/", request_max_body_size=rules.BODY_MAX)
    async def create_task(self, request: Call) -> Answer[Task]:
        """Make a task."""
        document = await read_json(request)
        errors = _unknown_parameters(request)
        key = await _idempotency_key(request, errors)
        create = self.service.bodies.read_create(document, errors)
        if errors or create is None:
            raise ValidationFailed(errors)

        async def work(tasks: TaskStore) -> Answer[Task]:
            row = (await tasks.create(request.user, [create]))[0]
            location = request.app.state.settings.address(f"{_address(request).rstrip('/')}/{row['id']}")
            return _task(request, row, 201, (b"location", location.encode("ascii")))

        return await self._once(request.user.user_id, key, work)

    @delete("/", status_code=200)
    async def delete_all_tasks(self, request: Call) -> Answer[Cleared]:
        """Erase everything of the user, the trash included, for good."""
        found, errors = read_parameters(request.scope["query_string"], ("confirm",))
        if found.get("confirm") != ["all"]:
            message = "must be confirmed with confirm=all: every task is erased for good, the trash included"
            errors.append(Invalid("one_of", message, allowed=("all",)).at("confirm", "query"))
        _refuse(errors)
        service = self.service
        async with service.pool.transaction(writer=request.user.user_id) as transaction:
            return Answer(await service.tasks.within(transaction).erase_all(request.user))

    @get("/trash")
    async def list_trash(self, request: Call) -> Answer[list[TrashedTask]]:
        """Deleted tasks that can still be restored, newest first."""
        service, owner = self.service, request.user.user_id
        query = read_trash_query(request.scope["query_string"], service.cursor_key)
        page = await service.tasks.page(owner, query)
        days = service.settings.retention_days
        headers = _link(request, query, page)
        if service.hard_delete:
            headers += (TRASH_IS_OFF,)
        return Answer([trashed_from(owner, row, days) for row in page.rows], 200, *headers)

    @post("/batch", status_code=200, request_max_body_size=rules.BATCH_BODY_MAX)
    async def run_batch(self, request: Call) -> Answer[BatchAnswer]:
        """Up to 100 operations, all or nothing."""
        document = await read_json(request)
        service = self.service
        errors = _unknown_parameters(request)
        key = await _idempotency_key(request, errors)
        operations = read_batch(document, service.bodies, errors, hard_delete=service.hard_delete)
        _refuse(errors)

        async def work(tasks: TaskStore) -> Answer[BatchAnswer]:
            return Answer(await run_batch(tasks, request.user, operations, reveals_foreign=self._reveals_foreign()))

        # Creations alone are one statement, which happens whole or not at all by itself.
        return await self._once(
            request.user.user_id, key, work, always_transact=any(operation.create is None for operation in operations)
        )

    @get("/changes")
    async def list_changes(self, request: Call) -> Answer[ChangePage]:
        """Everything created, changed and deleted since a token, in order."""
        found, errors = read_parameters(request.scope["query_string"], ("since", "limit"))
        limit = read_limit(found, errors)
        position = read_position(found, errors)
        _refuse(errors)
        owner = request.user.user_id
        page = await self.service.tasks.changes(
            owner, position.seen, limit=limit, deletions_after=position.deletions_after
        )
        return Answer(change_page(owner, position, page))

    @get("/export")
    async def export_tasks(self, request: Call) -> Download:
        """All tasks as a file, streamed."""
        found, errors = read_parameters(request.scope["query_string"], ("format",))
        name = _choice(found, errors, "format", tuple(FORMATS))
        _refuse(errors)
        form = FORMATS[name]
        pieces = export(self.service.tasks, request.user.user_id, form)
        attachment = f'attachment; filename="tasks.{form.extension}"'
        return Download(
            await anext(pieces),
            pieces,
            (b"content-type", form.media_type.encode()),
            (b"content-disposition", attachment.encode()),
        )

    @post("/import", status_code=200, request_max_body_size=rules.IMPORT_BODY_MAX)
    async def import_tasks(self, request: Call) -> Answer[Imported]:
        """Take back an export: all or nothing, ids kept."""
        document = await read_json(request)
        found, errors = read_parameters(request.scope["query_string"], ("existing", "dry_run"))
        existing = _choice(found, errors, "existing", ("skip", "update"))
        dry_run = _choice(found, errors, "dry_run", ("false", "true")) == "true"
        key = await _idempotency_key(request, errors)
        imports = await asyncio.to_thread(read_import, document, self.service.bodies, errors)
        _refuse(errors)

        async def work(tasks: TaskStore) -> Answer[Imported]:
            return Answer(await import_tasks(tasks, request.user, imports, existing=existing, dry_run=dry_run))

        return await self._once(request.user.user_id, key, work, always_transact=True)

    # ---- one task

    @get("/{task_id:str}")
    async def get_task(self, request: Call) -> Answer[Task]:
        """One task."""
        errors = _unknown_parameters(request)
        known = if_none_match(request.scope, errors)
        task_id = self._task_id(request, errors)
        row = await self.service.tasks.get_owned(request.user.user_id, task_id)
        if row is None:
            raise await self._missing(request, task_id)
        if known is not None and known.includes(row["revision"]):
            return Answer.not_modified(row["revision"])
        return _task(request, row)

    @put("/{task_id:str}", request_max_body_size=rules.BODY_MAX)
    async def replace_task(self, request: Call) -> Answer[Task]:
        """Change a task: absent fields stay as they are."""
        return await self._change(request, await read_json(request))

    @patch("/{task_id:str}", request_max_body_size=rules.BODY_MAX)
    async def update_task(self, request: Call) -> Answer[Task]:
        """Change a task; also as a JSON merge patch."""
        return await self._change(request, await read_json(request, MERGE_PATCH))

    @patch("/{task_id:str}/complete", request_max_body_size=rules.BODY_MAX)
    async def complete_task(self, request: Call) -> Answer[Task]:
        """Toggle a task, or set it with `{"completed": …}`."""
        toggle = not await request.body()
        document = None if toggle else await read_json(request, MERGE_PATCH)
        errors = _unknown_parameters(request)
        change = None if toggle else self.service.bodies.read_completion(document, errors)
        return _task(request, await self._edit(request, self._wanted(request, errors, toggle=toggle, change=change)))

    @delete("/{task_id:str}")
    async def delete_task(self, request: Call) -> Answer[None]:
        """Move a task to the trash, or remove it for good."""
        found, errors = read_parameters(request.scope["query_string"], ("permanent",))
        permanent = _choice(found, errors, "permanent", ("false", "true")) == "true"
        edit = self._wanted(request, errors, to_trash=True, from_trash=permanent)
        await self._edit(request, edit, for_good=permanent or self.service.hard_delete)
        return Answer(None, 204)

    @post("/{task_id:str}/restore", status_code=200, request_max_body_size=rules.BODY_MAX)
    async def restore_task(self, request: Call) -> Answer[Task]:
        """Take a task out of the trash."""
        await request.body()
        errors = _unknown_parameters(request)
        key = await _idempotency_key(request, errors)
        edit = self._wanted(request, errors, from_trash=True)

        async def work(tasks: TaskStore) -> Answer[Task]:
            return _task(request, await self._edit(request, edit, tasks))

        return await self._once(request.user.user_id, key, work)

    # ---- what the surfaces answer differently

    def _task_id(self, request: Call, errors: list[FieldError]) -> uuid.UUID:
        """The id in the path. To be read last: it raises what else is wrong with the request, too."""
        try:
            task_id = validation.identifier(request.path_params["task_id"])
        except Invalid as invalid:
            raise ValidationFailed([*errors, invalid.at("task_id", "path")]) from None
        _refuse(errors)
        return task_id

    def _reveals_foreign(self) -> bool:
        return self.service.settings.foreign_task == "403"

    # ---- shared steps

    async def _change(self, request: Call, document: Any) -> Answer[Task]:
        errors = _unknown_parameters(request)
        change = self.service.bodies.read_change(document, errors)
        return _task(request, await self._edit(request, self._wanted(request, errors, change=change)))

    def _wanted(self, request: Call, errors: list[FieldError], **what: Any) -> Edit:
        """What to do to the task of the path. Raises all that is wrong with the request, `errors` included."""
        tags = if_match(request.scope, errors)
        return Edit(id=self._task_id(request, errors), if_match=tags, **what)

    async def _edit(self, request: Call, edit: Edit, tasks: TaskStore | None = None, *, for_good: bool = False) -> Row:
        tasks = tasks or self.service.tasks
        owner = request.user.user_id
        done: Edited | None = (await (tasks.erase if for_good else tasks.edit)(owner, [edit])).get(0)
        if done is None:
            raise await self._missing(request, edit.id)
        if not done.matched:
            raise PreconditionFailed(etag(done.row["revision"]))
        return done.row

    async def _once(
        self,
        writer: str,
        key: IdempotencyKey | None,
        work: Callable[[TaskStore], Awaitable[Answer[Answered]]],
        *,
        always_transact: bool = False,
    ) -> Answer[Answered]:
        """Do the work, or give the answer it gave the first time this `Idempotency-Key` came."""
        service = self.service
        if key is None:
            if not always_transact:
                return await work(service.tasks)
            async with service.pool.transaction(writer=writer) as transaction:
                return await work(service.tasks.within(transaction))
        async with service.pool.transaction(writer=writer) as transaction:
            kept = await key.first_answer(transaction)
            if kept is not None:
                return Answer.replay(kept.status, [*kept.headers, (b"idempotency-replayed", b"true")], kept.body)
            answer = await work(service.tasks.within(transaction))
            await key.keep(transaction, Kept(answer.status, list(answer.extra_headers), answer.body()))
            return answer

    async def _missing(self, request: Call, task_id: uuid.UUID) -> TaskNotFound | ForeignTask:
        if self._reveals_foreign() and await self.service.tasks.belongs_to_another(request.user.user_id, task_id):
            return ForeignTask()
        return TaskNotFound()


class UserTaskController(TaskController):
    """The path surface: the same tasks, under the user's id."""

    path = "/api/{user_id:str}/tasks"
    guards = [requires_path_owner]  # noqa: RUF012 (Litestar's attribute)
    surface: ClassVar[Surface] = PATH_SURFACE

    def _task_id(self, request: Call, errors: list[FieldError]) -> uuid.UUID:
        _refuse(errors)
        try:
            return validation.identifier(request.path_params["task_id"])
        except Invalid:
            raise TaskNotFound from None

    def _reveals_foreign(self) -> bool:
        return False


def _task(request: Call, row: Row, status: int = 200, *headers: Header) -> Answer[Task]:
    return Answer(task_from(request.user.user_id, row), status, etag_header(row["revision"]), *headers)


def _address(request: Call) -> str:
    """Where the request was sent. With one slash in front: after two there would stand a host, and get the token."""
    return "/" + request.scope["raw_path"].decode("ascii").lstrip("/")


def _link(request: Call, query: ListQuery, page: Page) -> tuple[Header, ...]:
    if page.next_cursor is None:
        return ()
    parameters = [*query.asked, ("limit", str(query.limit)), ("cursor", page.next_cursor)]
    # A client may have left a bracket as it is, which would end the link.
    path = _address(request).replace(">", "%3E")
    address = request.app.state.settings.address(f"{path}?{urlencode(parameters)}")
    return ((b"link", f'<{address}>; rel="next"'.encode("ascii")),)


def _choice(found: dict[str, list[str]], errors: list[FieldError], name: str, allowed: tuple[str, ...]) -> Any:
    """One of the allowed words, the first of them by default."""
    word = found.get(name, [allowed[0]])[0]
    if word not in allowed:
        errors.append(Invalid("one_of", f"must be one of {', '.join(allowed)}", allowed=allowed).at(name, "query"))
    return word


def _unknown_parameters(request: Call) -> list[FieldError]:
    """What is wrong with the query where none is taken."""
    query = request.scope["query_string"]
    return read_parameters(query, ())[1] if query else []


async def _idempotency_key(request: Call, errors: list[FieldError]) -> IdempotencyKey | None:
    key = read_idempotency_key(sent_as(request.scope, b"idempotency-key"), errors)
    if key is None:
        return None
    scope = request.scope
    return IdempotencyKey.of(
        key,
        owner=request.user.user_id,
        route=f"{scope['method']} {scope['path_template']}",
        request=scope["path"].encode() + b"?" + scope["query_string"] + b"\n" + await request.body(),
    )


def _refuse(errors: list[FieldError]) -> None:
    if errors:
        raise ValidationFailed(errors)


def task_controllers(service: TaskService) -> list[type[TaskController]]:
    """Both surfaces, over this service."""
    return [type(kind.__name__, (kind,), {"service": service}) for kind in (TaskController, UserTaskController)]
