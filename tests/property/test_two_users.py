"""Two users do whatever comes to their minds, on both surfaces; a model of the contract says what must come out."""

import datetime as dt
import itertools
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support.model import PRIORITIES, SORT_KEYS, STATUSES, in_order, matches
from tests.support.pages import next_page
from tests.support.problems import assert_problem
from tests.support.routes import NOBODYS
from tests.support.services import SURFACES, Service, SurfaceName, number_of

pytestmark = pytest.mark.slow

Task = dict[str, Any]

TITLES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=40).filter(
    lambda text: bool(text.strip())
)
DESCRIPTIONS = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=60)
ZONES = st.integers(-12 * 60, 14 * 60).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
INSTANTS = st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 12, 31), timezones=ZONES)  # noqa: DTZ001 (given later)
DUES = st.none() | st.dates().map(str) | INSTANTS.map(lambda moment: moment.isoformat())
STATES: st.SearchStrategy[Task] = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"status": st.sampled_from(STATUSES)}),
    st.fixed_dictionaries({"completed": st.booleans()}),
)
REST = st.fixed_dictionaries(
    {}, optional={"description": DESCRIPTIONS, "priority": st.sampled_from(PRIORITIES), "due_date": DUES}
)
CREATIONS = st.builds(lambda title, rest, state: {"title": title} | rest | state, TITLES, REST, STATES)
CHANGES = st.builds(
    lambda title, rest, state: title | rest | state, st.fixed_dictionaries({}, optional={"title": TITLES}), REST, STATES
)
TAGS = st.sampled_from(["none", "none", "current", "stale", "star", "weak", "among others"])
SORTS = st.lists(st.sampled_from(list(SORT_KEYS)), min_size=1, max_size=3, unique=True).flatmap(
    lambda names: st.tuples(*(st.sampled_from([name, f"-{name}"]) for name in names)).map(",".join)
)
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(["pending", "completed", "all"]),
        "completed": st.sampled_from(["true", "false"]),
        "priority": st.lists(st.sampled_from(PRIORITIES), min_size=1, max_size=3).map(",".join),
        "due": st.sampled_from(["none", "any"]),
        "due_before": st.dates().map(str),
        "due_after": st.dates().map(str),
        "q": st.sampled_from(["a", "0", " ", "%", "_", "\\", "é", "aa", "'"]),
    },
)
WHO = st.integers(0, 1)
SURFACE = st.sampled_from(SURFACES)
WHICH = st.integers(0, 10_000)
"""Chooses a task by its place, whatever there is at that moment."""


def canonical(due: str | None) -> str | None:
    """As the service gives a due date back."""
    if due is None or len(due) == 10:
        return due
    return dt.datetime.fromisoformat(due).astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


class User:
    """What one user must have, and how to call the service as them."""

    def __init__(self, service: Service, name: str, http: httpx.Client) -> None:
        self.name = name
        self.http = http
        self.headers = {"Authorization": f"Bearer {service.token(name)}"}
        self.live: dict[str, Task] = {}
        self.trash: dict[str, Task] = {}
        self.tags: dict[str, int] = {}
        self.revision = 0
        self._epoch: str | None = None
        self.copy: dict[str, Task] = {}
        self.token: str | None = None
        self.remembered: list[tuple[SurfaceName, str, Task, httpx.Response]] = []

    def call(self, surface: SurfaceName, method: str, path: str = "", **options: Any) -> httpx.Response:
        root = "/api/tasks" if surface == "token" else f"/api/{self.name}/tasks"
        headers = self.headers | options.pop("headers", {})
        url = path if path.startswith("/api") else root + path
        response = self.http.request(method, url, headers=headers, **options)
        assert response.status_code < 500, response.text
        return response

    def tag(self, number: int) -> str:
        """The entity tag of a number; the epoch is the one of the user's list."""
        if self._epoch is None:
            self._epoch = self.call("token", "GET").headers["etag"].strip('"').partition("-")[2]
        return f'"{number}-{self._epoch}"'

    def some(self, which: int, among: dict[str, Task] | None = None) -> str | None:
        """One of the user's ids, or none if there is none."""
        ids = list(self.live | self.trash if among is None else among)
        return ids[which % len(ids)] if ids else None

    def condition(self, kind: str, task_id: str) -> tuple[dict[str, str], bool]:
        """An `If-Match` header of this kind, and whether it lets a write through."""
        current = self.tags[task_id]
        value, passes = {
            "none": ("", True),
            "current": (self.tag(current), True),
            "stale": (self.tag(current - 1), False),
            "star": ("*", True),
            "weak": (f"W/{self.tag(current)}", False),
            "among others": (f'"999999", {self.tag(current)}', True),
        }[kind]
        return ({"If-Match": value} if value else {}), passes

    def expect_changed(self, before: Task, fields: Task, answer: Task) -> None:
        """The task took on these fields, and the counter moved by one if any of them was new."""
        expected = before | predicted(before, fields)
        if expected == before:
            assert answer == before
            return
        self.revision += 1
        self.tags[before["id"]] = self.revision
        assert answer["updated_at"] > before["updated_at"]
        was, now = before["completed"], expected["completed"]
        if now and not was:
            assert answer["completed_at"] is not None
        else:
            assert answer["completed_at"] == (before["completed_at"] if now else None)
        assert answer == expected | {name: answer[name] for name in ("updated_at", "completed_at", "etag")}
        self.live[before["id"]] = answer


def predicted(before: Task, fields: Task) -> Task:
    """What a body changes about a task, but for its timestamps."""
    after: Task = {name: fields[name] for name in ("description", "priority") if name in fields}
    if "title" in fields:
        after["title"] = fields["title"].strip()
    if "due_date" in fields:
        after["due_date"] = canonical(fields["due_date"])
    status = fields.get("status", before["status"])
    if "completed" in fields:
        completed = fields["completed"]
        status = "completed" if completed else ("pending" if before["status"] == "completed" else before["status"])
    return after | {"status": status, "completed": status == "completed"}


BLANK: Task = {"description": None, "status": "pending", "priority": "medium", "due_date": None, "completed": False}


class TwoUsers(RuleBasedStateMachine):
    def __init__(self, service: Service, someone: Callable[[str], str], http: httpx.Client) -> None:
        super().__init__()
        self.service = service
        self.someone = someone
        self.http = http
        self.keys = itertools.count()
        self.users: list[User] = []

    @initialize()
    def two_new_users(self) -> None:
        self.users = [User(self.service, self.someone(name), self.http) for name in ("ann", "bea")]

    # ---- one task

    @rule(who=WHO, surface=SURFACE, body=CREATIONS, keyed=st.booleans())
    def create(self, who: int, surface: SurfaceName, body: Task, keyed: bool) -> None:
        user = self.users[who]
        headers = {"Idempotency-Key": f"key {next(self.keys)}"} if keyed else {}
        response = user.call(surface, "POST", json=body, headers=headers)
        assert response.status_code == 201, response.text
        task = response.json()
        self._expect_created(user, body, task, response.headers["etag"])
        if keyed:
            user.remembered.append((surface, headers["Idempotency-Key"], body, response))

    def _expect_created(self, user: User, body: Task, task: Task, tag: str) -> None:
        user.revision += 1
        assert tag == user.tag(user.revision)
        expected = {"user_id": user.name} | BLANK | predicted(BLANK, body)
        assert {name: task[name] for name in expected} == expected
        assert task["created_at"] == task["updated_at"]
        assert task["id"] not in user.live
        user.live[task["id"]] = task
        user.tags[task["id"]] = user.revision

    @precondition(lambda self: any(user.remembered for user in self.users))
    @rule(who=WHO, which=WHICH, other_body=st.booleans())
    def ask_again_with_the_same_key(self, who: int, which: int, other_body: bool) -> None:
        user = self.users[who]
        if not user.remembered:
            return
        surface, key, body, first = user.remembered[which % len(user.remembered)]
        sent = body | {"title": body["title"] + "!"} if other_body else body
        again = user.call(surface, "POST", json=sent, headers={"Idempotency-Key": key})
        if other_body:
            assert_problem(again, 422, "idempotency-key-reused")
        else:
            assert (again.status_code, again.content) == (201, first.content)
            assert again.headers["idempotency-replayed"] == "true"

    @rule(who=WHO, surface=SURFACE, which=WHICH, known=st.sampled_from(["none", "current", "stale"]))
    def read(self, who: int, surface: SurfaceName, which: int, known: str) -> None:
        user = self.users[who]
        task_id = user.some(which)
        if task_id is None:
            return
        tag = user.tags[task_id]
        headers = {
            "none": {},
            "current": {"If-None-Match": user.tag(tag)},
            "stale": {"If-None-Match": user.tag(tag - 1)},
        }[known]
        response = user.call(surface, "GET", f"/{task_id}", headers=headers)
        if task_id in user.trash:
            assert_problem(response, 404)
            return
        assert response.headers["etag"] == user.tag(tag)
        if known == "current":
            assert (response.status_code, response.content) == (304, b"")
        else:
            assert response.json() == user.live[task_id]

    @rule(who=WHO, surface=SURFACE, which=WHICH, method=st.sampled_from(["PUT", "PATCH"]), body=CHANGES, tag=TAGS)
    def change(self, who: int, surface: SurfaceName, which: int, method: str, body: Task, tag: str) -> None:
        self._edit(self.users[who], surface, which, method, "", body, tag)

    @rule(who=WHO, surface=SURFACE, which=WHICH, completed=st.none() | st.booleans(), tag=TAGS)
    def complete(self, who: int, surface: SurfaceName, which: int, completed: bool | None, tag: str) -> None:
        body = None if completed is None else {"completed": completed}
        self._edit(self.users[who], surface, which, "PATCH", "/complete", body, tag)

    def _edit(
        self, user: User, surface: SurfaceName, which: int, method: str, path: str, body: Task | None, tag: str
    ) -> None:
        task_id = user.some(which)
        if task_id is None:
            return
        headers, passes = user.condition(tag, task_id)
        response = user.call(surface, method, f"/{task_id}{path}", json=body, headers=headers)
        if task_id in user.trash:
            assert_problem(response, 404)
        elif not passes:
            assert_problem(response, 412)
            assert response.headers["etag"] == user.tag(user.tags[task_id])
        else:
            assert response.status_code == 200, response.text
            before = user.live[task_id]
            fields = {"completed": not before["completed"]} if body is None else body
            user.expect_changed(before, fields, response.json())
            assert response.headers["etag"] == user.tag(user.tags[task_id])

    @rule(who=WHO, surface=SURFACE, which=WHICH, permanent=st.sampled_from([None, "true", "false"]), tag=TAGS)
    def delete(self, who: int, surface: SurfaceName, which: int, permanent: str | None, tag: str) -> None:
        user = self.users[who]
        task_id = user.some(which)
        if task_id is None:
            return
        headers, passes = user.condition(tag, task_id)
        params = {"permanent": permanent} if permanent else {}
        response = user.call(surface, "DELETE", f"/{task_id}", params=params, headers=headers)
        if task_id in user.trash and permanent != "true":
            assert_problem(response, 404)
        elif not passes:
            assert_problem(response, 412)
        else:
            assert response.status_code == 204
            user.revision += 1
            task = user.live.pop(task_id, None) or user.trash.pop(task_id)
            if permanent == "true":
                del user.tags[task_id]
            else:
                # The newest stands first.
                user.trash = {task_id: task | {"etag": user.tag(user.revision)}} | user.trash
                user.tags[task_id] = user.revision

    @rule(who=WHO, surface=SURFACE, which=WHICH, tag=TAGS)
    def restore(self, who: int, surface: SurfaceName, which: int, tag: str) -> None:
        user = self.users[who]
        task_id = user.some(which)
        if task_id is None:
            return
        headers, passes = user.condition(tag, task_id)
        response = user.call(surface, "POST", f"/{task_id}/restore", headers=headers)
        if task_id in user.live:
            assert_problem(response, 404)
        elif not passes:
            assert_problem(response, 412)
        else:
            assert response.status_code == 200
            self._expect_restored(user, task_id, response.json())
            assert response.headers["etag"] == response.json()["etag"] == user.tag(user.revision)

    def _expect_restored(self, user: User, task_id: str, answer: Task) -> None:
        user.revision += 1
        before = user.trash.pop(task_id)
        assert answer == before | {"updated_at": answer["updated_at"], "etag": answer["etag"]}
        assert answer["updated_at"] > before["updated_at"]
        user.live[task_id] = answer
        user.tags[task_id] = user.revision

    # ---- other people's tasks

    @rule(
        who=WHO,
        surface=SURFACE,
        which=WHICH,
        attempt=st.sampled_from(
            [
                ("GET", "", None), ("PUT", "", {"title": "mine"}), ("PATCH", "", {"completed": True}),
                ("DELETE", "", None), ("DELETE", "?permanent=true", None), ("PATCH", "/complete", None),
                ("POST", "/restore", None),
            ]
        ),
    )  # fmt: skip
    def reach_for_a_foreign_task(
        self, who: int, surface: SurfaceName, which: int, attempt: tuple[str, str, Task | None]
    ) -> None:
        user, other = self.users[who], self.users[1 - who]
        task_id = other.some(which) or NOBODYS
        method, path, body = attempt
        response = user.call(surface, method, f"/{task_id}{path}", json=body)
        assert_problem(response, 403 if surface == "token" and task_id in other.live else 404)
        foreign_root = f"/api/{other.name}/tasks"
        assert_problem(user.call(surface, method, f"{foreign_root}/{task_id}{path}", json=body), 403)

    # ---- many tasks

    @rule(who=WHO, surface=SURFACE, asked=FILTERS, sort=SORTS, limit=st.integers(1, 4))
    def look_through_a_list(self, who: int, surface: SurfaceName, asked: Task, sort: str, limit: int) -> None:
        user = self.users[who]
        wanted = [
            task
            for task in user.live.values()
            if all(matches(task, name, value, pending_is_open=surface == "path") for name, value in asked.items())
        ]
        expected = in_order(wanted, sort)
        params = asked | {"sort": sort}
        whole = user.call(surface, "GET", params=params)
        assert whole.json() == expected
        paged: list[Task] = []
        response = user.call(surface, "GET", params=params | {"limit": str(limit)})
        while True:
            assert response.status_code == 200, response.text
            paged += response.json()
            target = next_page(response)
            assert len(paged) <= len(expected)
            if target is None:
                break
            response = user.call(surface, "GET", target)
        assert paged == expected

    @rule(who=WHO, surface=SURFACE)
    def look_into_the_trash(self, who: int, surface: SurfaceName) -> None:
        user = self.users[who]
        trashed = user.call(surface, "GET", "/trash").json()
        assert [task["id"] for task in trashed] == list(user.trash)
        for task in trashed:
            assert task["deleted_at"] < task["purge_at"]
            # What deletion says of itself, apart from what the task was.
            was = user.trash[task["id"]]
            user.trash[task["id"]] = was | {"updated_at": task["updated_at"]}
            assert {name: task[name] for name in was} == user.trash[task["id"]]

    @rule(who=WHO, surface=SURFACE, limit=st.integers(1, 5))
    def follow_the_changes(self, who: int, surface: SurfaceName, limit: int) -> None:
        user = self.users[who]
        more = True
        while more:
            params = {"limit": str(limit)} | ({"since": user.token} if user.token else {})
            page = user.call(surface, "GET", "/changes", params=params).json()
            for entry in page["changes"]:
                if entry["type"] == "upsert":
                    user.copy[entry["task"]["id"]] = entry["task"]
                else:
                    user.copy.pop(entry["id"], None)
            user.token, more = page["next"], page["has_more"]
        assert user.copy == user.live

    @rule(
        who=WHO,
        surface=SURFACE,
        steps=st.lists(
            st.tuples(st.just("create"), CREATIONS)
            | st.tuples(st.just("update"), WHICH, CHANGES, TAGS.filter(lambda tag: tag in {"none", "current"}))
            | st.tuples(st.just("complete"), WHICH)
            | st.tuples(st.just("delete"), WHICH, st.booleans())
            | st.tuples(st.just("restore"), WHICH),
            min_size=1,
            max_size=6,
        ),
        failing=st.sampled_from([None, None, None, "missing", "stale", "invalid"]),
    )
    def run_a_batch(self, who: int, surface: SurfaceName, steps: list[Any], failing: str | None) -> None:
        user = self.users[who]
        operations: list[Task] = []
        planned: list[tuple[Any, ...]] = []
        touched: set[str] = set()
        for kind, *rest in steps:
            if kind == "create":
                operations.append({"op": kind, "data": rest[0]})
                planned.append((kind, None, rest[0]))
                continue
            among = user.trash if kind == "restore" else user.live
            task_id = user.some(rest[0], {key: task for key, task in among.items() if key not in touched})
            if task_id is None:
                continue
            touched.add(task_id)
            operation: Task = {"op": kind, "id": task_id}
            if kind == "update":
                operation["data"] = rest[1]
                if rest[2] == "current":
                    operation["if_match"] = user.tag(user.tags[task_id])
            elif kind == "delete":
                operation["permanent"] = rest[1]
            operations.append(operation)
            planned.append((kind, task_id, *rest[1:]))
        if failing is not None:
            target = user.some(0, {key: task for key, task in user.live.items() if key not in touched})
            refusals: dict[str, tuple[Task, int]] = {
                "missing": ({"op": "complete", "id": NOBODYS}, 404),
                "stale": ({"op": "delete", "id": target or NOBODYS, "if_match": '"999999"'}, 412 if target else 404),
                "invalid": ({"op": "create", "data": {"title": " "}}, 422),
            }
            refused, status = refusals[failing]
            response = user.call(surface, "POST", "/batch", json={"operations": [*operations, refused]})
            document = assert_problem(response, status)
            assert {error["index"] for error in document["errors"]} == {len(operations)}
        elif operations:
            response = user.call(surface, "POST", "/batch", json={"operations": operations})
            assert response.status_code == 200, response.text
            self._expect_done(user, planned, response.json()["results"])

    def _expect_done(self, user: User, planned: list[tuple[Any, ...]], results: list[Task]) -> None:
        """Each result is right; which of the batch's numbers went to which operation is the service's affair."""
        started = user.revision
        assert len(results) == len(planned)
        changes = 0
        numbered: list[str] = []
        for (kind, task_id, *rest), result in zip(planned, results, strict=True):
            before = user.revision
            if kind == "create":
                assert result["status"] == 201
                self._expect_created(user, rest[0], result["task"], user.tag(user.revision + 1))
                numbered.append(result["task"]["id"])
            elif kind == "delete":
                assert result == {"status": 204}
                user.revision += 1
                task = user.live.pop(task_id)
                del user.tags[task_id]
                if not rest[0]:
                    user.trash[task_id] = task
                    numbered.append(task_id)
            elif kind == "restore":
                assert result["status"] == 200
                self._expect_restored(user, task_id, result["task"])
                numbered.append(task_id)
            else:
                assert result["status"] == 200
                live = user.live[task_id]
                fields = rest[0] if kind == "update" else {"completed": not live["completed"]}
                user.expect_changed(live, fields, result["task"])
                if user.revision > before:
                    numbered.append(task_id)
            changes += user.revision - before
        assert user.revision == started + changes
        for task_id in numbered:
            self._learn_number(user, task_id, started)
        assert len({user.tags[task_id] for task_id in numbered}) == len(numbered)
        trashed = user.call("token", "GET", "/trash").json()
        assert {task["id"] for task in trashed} == set(user.trash)
        # Deletions of one batch happen at one moment: their order among themselves is the service's too.
        user.trash = {task["id"]: user.trash[task["id"]] | {"updated_at": task["updated_at"]} for task in trashed}

    def _learn_number(self, user: User, task_id: str, started: int) -> None:
        if task_id in user.live:
            tag = user.call("token", "GET", f"/{task_id}").headers["etag"]
            assert user.live[task_id]["etag"] == tag
        else:
            tag = user.call("token", "POST", f"/{task_id}/restore", headers={"If-Match": '"0"'}).headers["etag"]
            user.trash[task_id] |= {"etag": tag}
        user.tags[task_id] = number_of(tag)
        assert started < user.tags[task_id] <= user.revision

    @rule(who=WHO, surface=SURFACE)
    def erase_everything(self, who: int, surface: SurfaceName) -> None:
        user = self.users[who]
        response = user.call(surface, "DELETE", "?confirm=all")
        assert response.status_code == 200
        assert sorted(response.json().values()) == sorted([0, len(user.live), len(user.trash)])
        user.revision += len(user.live) + len(user.trash)
        user.live.clear()
        user.trash.clear()
        user.tags.clear()
        # Answers kept for retries are erased with the rest.
        user.remembered.clear()

    # ---- always

    @invariant()
    def the_lists_are_as_they_should_be(self) -> None:
        for user in self.users:
            response = user.call("token", "GET")
            assert response.json() == in_order(user.live.values(), "created")
            assert number_of(response.headers["etag"]) == user.revision
            same = user.call("path", "GET", headers={"If-None-Match": response.headers["etag"]})
            assert same.status_code == 304


def test_whatever_two_users_do_the_contract_holds(service: Service, someone: Callable[[str], str]) -> None:
    with httpx.Client(base_url=service.url, trust_env=False, timeout=30) as http:

        class Here(TwoUsers):
            def __init__(self) -> None:
                super().__init__(service, someone, http)

        run_state_machine_as_test(
            Here,
            settings=settings(
                max_examples=30,
                stateful_step_count=30,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
