"""Many operations in one request."""

from collections.abc import Sequence

from litestar import Controller, post
from litestar.params import JSONBody

from taskservice import rules
from taskservice.api.described import ID, OTHER_ID, TASK, WRITE, Body, described
from taskservice.api.dto import BatchDTO
from taskservice.api.idempotency import once, read_idempotency_key
from taskservice.api.parameters import IdempotencyKeyHeader
from taskservice.api.request import TaskRequest, takes_json
from taskservice.api.responses import Answer
from taskservice.tasks.batch import BatchAnswer, BatchOperation, run_batch
from taskservice.tasks.store import TaskStore


class BatchController(Controller):
    path = "/batch"

    @post(
        "/",
        status_code=200,
        summary="Run a batch",
        description=(
            f"Up to {rules.BATCH_MAX} operations in one transaction, all or nothing. If one fails, nothing has "
            "changed, and `errors` names its `index`. All operations that are invalid are named at once."
        ),
        response_description="What each operation would have answered on its own, in order.",
        dto=BatchDTO,
        before_request=takes_json,
        request_max_body_size=rules.BATCH_BODY_MAX,
        operation_class=described(
            *WRITE,
            body=Body(
                {
                    "one": {"operations": [{"op": "create", "data": {"title": "Buy milk"}}]},
                    "one of each": {
                        "operations": [
                            {"op": "create", "data": {"title": "Buy milk"}},
                            {"op": "update", "id": ID, "data": {"priority": "high"}, "if_match": '"7-k3f9q2x1"'},
                            {"op": "complete", "id": ID},
                            {"op": "delete", "id": ID, "permanent": False},
                            {"op": "restore", "id": OTHER_ID},
                        ]
                    },
                }
            ),
            example={"results": [{"status": 201, "task": TASK, "etag": '"1-k3f9q2x1"'}, {"status": 204}]},
        ),
    )
    async def run_batch(
        self,
        request: TaskRequest,
        data: JSONBody[Sequence[BatchOperation]],
        idempotency_key: IdempotencyKeyHeader = None,
    ) -> Answer[BatchAnswer]:
        """Runs the operations in order."""
        request.query()
        key = await read_idempotency_key(request, idempotency_key)
        request.refuse()

        async def work(tasks: TaskStore) -> Answer[BatchAnswer]:
            return Answer(await run_batch(tasks, request.user, data, reveals_foreign=request.reveals_foreign))

        # Creations alone are one statement, which happens whole or not at all by itself.
        return await once(request, key, work, always_transact=any(operation.create is None for operation in data))
