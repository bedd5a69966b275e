"""What a front end needs, from a page of another origin, with the very lines that docs/frontend.md shows."""

import datetime as dt
import http.server
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from tests.browser.conftest import Visiting
from tests.browser.visits import Visit
from tests.support.services import Service, Services
from tests.support.stage import Stage
from tests.typescript.compiler import code_of, compiled

PAGE = """<!doctype html><meta charset="utf-8"><title>A front end</title><link rel="icon" href="data:,">
<script type="module">import * as tasks from "./frontend.js"; window.tasks = tasks;</script>
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def page_origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A front end's own server, with the compiled module of the page in the documentation."""
    directory = tmp_path_factory.mktemp("frontend")
    module = directory / "frontend.ts"
    module.write_text(code_of("frontend.md"), "utf-8")
    compiled(directory, module)
    (directory / "index.html").write_text(PAGE, "utf-8")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(directory))) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()
        serving.join()


@pytest.fixture(scope="module")
def open_service(services: Services, page_origin: str) -> Service:
    """A service that knows the front end's origin."""
    return services.shared(cors_origins=page_origin)


class FrontEnd:
    """The page, signed in as a user."""

    def __init__(self, visit: Visit, service: Service, token: str) -> None:
        self.visit = visit
        self._arguments = {"api": f"{service.url}/api/tasks", "token": token}

    async def run(self, script: str, **more: Any) -> Any:
        """The body of an async function that sees the page's module, `call`, and what is passed."""
        names = ", ".join(["api", "token", *more])
        return await self.visit.page.evaluate(
            f"async ({{ {names} }}) => {{ const {{ ApiError, Conflict, complete, connect, create, edit, explain, list, "
            "listAll, read, remove } = window.tasks; const call = connect(api, async () => token);"
            f"{script} }}",
            self._arguments | more,
        )


@pytest.fixture
async def front_end(
    visiting: Visiting, page_origin: str, open_service: Service, someone: Callable[[str], str]
) -> FrontEnd:
    visit = await visiting(f"{page_origin}/index.html", elsewhere=(open_service.url,))
    await visit.page.wait_for_function("window.tasks !== undefined")
    return FrontEnd(visit, open_service, open_service.token(someone("front")))


async def test_it_creates_and_a_retry_with_the_same_key_creates_nothing(front_end: FrontEnd) -> None:
    first, second, replayed, location = await front_end.run("""
        const key = crypto.randomUUID();
        const first = await create(call, { title: "Once", due_date: "2030-01-31" }, key);
        const second = await create(call, { title: "Once", due_date: "2030-01-31" }, key);
        const answer = await call("POST", "", { title: "Once", due_date: "2030-01-31" }, { "Idempotency-Key": key });
        return [first, second, answer.headers.get("Idempotency-Replayed"), answer.headers.get("Location")];
    """)
    assert first == second
    assert (first["title"], first["due_date"], first["status"]) == ("Once", "2030-01-31", "pending")
    assert replayed == "true"
    assert location.endswith(first["id"])
    assert len(await front_end.run("return (await list(call)).tasks")) == 1


async def test_it_lists_anew_only_when_something_changed(front_end: FrontEnd) -> None:
    same, status, changed = await front_end.run("""
        await create(call, { title: "One" });
        const before = await list(call);
        const again = await list(call, "", before);
        const raw = await call("GET", "", undefined, { "If-None-Match": before.tag });
        await create(call, { title: "Two" });
        const after = await list(call, "", before);
        return [again === before, raw.status, after.tasks.map((task) => task.title)];
    """)
    assert same is True
    assert status == 304
    assert sorted(changed) == ["One", "Two"]


async def test_it_follows_links_to_the_last_page(front_end: FrontEnd) -> None:
    titles = await front_end.run("""
        for (let number = 0; number < 7; number++) await create(call, { title: `Task ${number}` });
        const titles = [];
        for await (const task of listAll(call, "?limit=3&sort=title")) titles.push(task.title);
        return titles;
    """)
    assert titles == [f"Task {number}" for number in range(7)]


async def test_it_edits_and_shows_a_conflict(front_end: FrontEnd) -> None:
    mine, theirs, said, final = await front_end.run("""
        const task = await create(call, { title: "Draft" });
        const seen = await read(call, task.id);
        await edit(call, task.id, { title: "Theirs" }, seen.tag);
        try {
            await edit(call, task.id, { title: "Mine" }, seen.tag);
        } catch (conflict) {
            if (!(conflict instanceof Conflict)) throw conflict;
            const won = await edit(call, task.id, conflict.mine, conflict.tag);
            return [conflict.mine.title, conflict.theirs.title, explain(conflict), won.task.title];
        }
    """)
    assert (mine, theirs, final) == ("Mine", "Theirs", "Mine")
    assert said == 'This task was changed somewhere else: it is now "Theirs".'


async def test_a_double_click_completes_once(front_end: FrontEnd) -> None:
    assert await front_end.run("""
        const task = await create(call, { title: "Switch" });
        const states = [];
        for (const wanted of [true, true, false]) states.push((await complete(call, task.id, wanted)).completed);
        return states;
    """) == [True, True, False]


async def test_it_asks_for_a_new_token_once_when_the_old_one_has_expired(
    front_end: FrontEnd, open_service: Service
) -> None:
    expired = open_service.token("late", ttl=dt.timedelta(seconds=-1))
    asked, tasks, refused, code = await front_end.run(
        """
        const asked = [];
        const renewing = connect(api, async (renew) => { asked.push(renew); return renew ? token : expired; });
        const { tasks } = await list(renewing);
        let refused = 0;
        const stubborn = connect(api, async () => { refused++; return expired; });
        const code = await list(stubborn).catch((error) => error.problem.code);
        return [asked, tasks, refused, code];
        """,
        expired=expired,
    )
    assert (asked, tasks) == ([False, True], [])
    assert (refused, code) == (2, "token-expired")


async def test_it_undoes_a_delete(front_end: FrontEnd) -> None:
    gone, back = await front_end.run("""
        const task = await create(call, { title: "Too fast" });
        const undo = await remove(call, task.id);
        const gone = (await list(call)).tasks.length;
        await undo();
        return [gone, (await list(call)).tasks.map((task) => task.title)];
    """)
    assert (gone, back) == (0, ["Too fast"])


async def test_it_reads_every_exposed_header(front_end: FrontEnd) -> None:
    named, created, page = await front_end.run("""
        const named = await call("GET", "", undefined, { "X-Request-ID": "a-click" });
        const created = await call("POST", "", { title: "A" });
        await create(call, { title: "B" });
        const page = await call("GET", "?limit=1");
        const headers = (answer) => Object.fromEntries(answer.headers.entries());
        return [headers(named), headers(created), headers(page)];
    """)
    assert named["x-request-id"] == "a-click"
    assert created["etag"]
    assert created["location"].startswith("/api/tasks/")
    assert 'rel="next"' in page["link"]


@pytest.mark.parametrize(
    ("script", "status", "code", "said"),
    [
        (
            'await call("POST", "", { title: "", priority: "soon" });',
            422,
            "validation-failed",
            "title ",
        ),
        ('await read(call, "01890000-0000-7000-8000-000000000000");', 404, "task-not-found", "Task not found"),
        ('await call("GET", "?limit=many");', 422, "validation-failed", "limit "),
        ('await list(connect(api, async () => "nonsense"));', 401, "invalid-token", "Please sign in again."),
        ('await list(connect(api.replace("/api/tasks", "/api/someone/tasks"), async () => token));', 403,
         "path-owner-mismatch", "Forbidden"),
        ('await call("PATCH", "/x/y/z", {});', 404, "not-found", "Nothing is served at this path"),
        ('await call("PUT", "", {});', 405, "method-not-allowed",
         "This path does not serve this method"),
    ],
    ids=["bad fields", "unknown task", "bad parameter", "bad token", "other user", "unknown path", "unknown method"],
)  # fmt: skip
async def test_every_refusal_can_be_read_and_shown(
    front_end: FrontEnd, script: str, status: int, code: str, said: str
) -> None:
    problem, shown, request_id = await front_end.run(f"""
        try {{ {script} }} catch (error) {{
            return [error.problem, explain(error), error.response.headers.get("X-Request-ID")];
        }}
    """)
    assert (problem["status"], problem["code"]) == (status, code)
    assert said in shown
    assert problem["request_id"] == request_id


async def test_a_database_that_is_down_can_be_read_and_shown(
    stage: Stage, visiting: Visiting, page_origin: str, services: Services
) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    service = Service(stage, services.settings(nowhere, cors_origins=page_origin, database_deadline=1), nowhere)
    try:
        visit = await visiting(f"{page_origin}/index.html", elsewhere=(service.url,))
        await visit.page.wait_for_function("window.tasks !== undefined")
        front_end = FrontEnd(visit, service, service.token("anybody"))
        status, retry_after, shown = await front_end.run("""
            try { await list(call); } catch (error) {
                return [error.problem.status, error.retryAfter, explain(error)];
            }
        """)
    finally:
        service.stop()
    assert status == 503
    assert retry_after > 0
    assert shown == f"The service is away for a moment. Trying again in {retry_after} s."


async def test_a_page_of_an_unknown_origin_reads_nothing(
    visiting: Visiting, page_origin: str, services: Services, someone: Callable[[str], str]
) -> None:
    # In development every page of this machine is a known one.
    service = services.shared(env="production")
    visit = await visiting(f"{page_origin}/index.html", elsewhere=(service.url,))
    await visit.page.wait_for_function("window.tasks !== undefined")
    front_end = FrontEnd(visit, service, service.token(someone("front")))
    shown = await front_end.run("try { return await list(call); } catch (error) { return explain(error); }")
    assert shown == "No connection."
    # Chromium tells the developer why, and nothing else went wrong.
    assert visit.complaints
    assert all("CORS policy" in complaint or "net::ERR_FAILED" in complaint for complaint in visit.complaints)
    visit.complaints.clear()
