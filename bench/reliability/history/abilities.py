"""Which operations the service has: what it does not know is left out of a run, and the report says so."""

import random
import uuid

from msgspec import Struct

from bench.reliability.history.caller import Caller, Ports
from bench.reliability.history.record import Recorder


class Abilities(Struct, frozen=True):
    put_create: bool
    """`PUT /{id}` with `If-None-Match: *` makes a task."""
    clear: bool
    """`DELETE ?completed=true`."""
    keys_everywhere: bool
    """`Idempotency-Key` on PUT, PATCH and DELETE."""
    epochs: bool
    """Tags carry the epoch of their user."""

    @property
    def missing(self) -> list[str]:
        names = {
            "PUT that creates": self.put_create,
            "clearing what is completed": self.clear,
            "Idempotency-Key on PUT, PATCH and DELETE": self.keys_everywhere,
            "epochs in tags": self.epochs,
        }
        return [name for name, there in names.items() if not there]


async def probe(ports: Ports) -> Abilities:
    """Ask once for each, as a user of its own."""
    caller = Caller(Recorder(), ports, f"probe-{uuid.uuid4().hex[:8]}", "probe", random.Random(0))
    created = await caller.call("create", "POST", "/api/tasks", {"title": "probe"})
    task_id = caller.versions(created.call)[0].id
    own = uuid.uuid4()
    put = await caller.call("put_create", "PUT", f"/api/tasks/{own}", {"title": "probe"}, if_none_match="*")
    key = uuid.uuid4().hex
    toggles = [await caller.call("toggle", "PATCH", f"/api/tasks/{task_id}/complete", key=key) for _ in range(2)]
    cleared = await caller.call("clear", "DELETE", "/api/tasks?completed=true")
    caller.hang_up()
    return Abilities(
        put_create=put.call.status == 201,
        clear=cleared.call.status == 200,
        keys_everywhere=toggles[1].call.replayed,
        epochs=created.call.epoch is not None,
    )
