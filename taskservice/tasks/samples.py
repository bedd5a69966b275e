"""A dozen realistic sample tasks, for development and demonstrations."""

import datetime as dt
import uuid
from typing import Final

import uuid_utils
from msgspec import Struct

from taskservice import rules
from taskservice.tasks.schemas import TaskImport


class Sample(Struct, frozen=True):
    """A task as seen from now: `age` and `done` count days back, `due` counts forward, to a time if `at` is given."""

    title: str
    age: int
    due: int | None = None
    at: dt.time | None = None
    done: int | None = None
    status: rules.Status = rules.DEFAULT_STATUS
    priority: rules.Priority = rules.DEFAULT_PRIORITY
    description: str | None = None


SAMPLES: Final = (
    Sample("Renew the passport", age=21, due=12, priority="high", description="Two photos, the old one, 70 euros."),
    Sample("Send the invoice for October", age=16, due=-1, priority="high", status="in_progress"),
    Sample("Dentist", age=12, due=3, at=dt.time(9, 30), description="Dr. Okafor, 2nd floor"),
    Sample("Fix the leaking tap in the kitchen", age=11, status="in_progress"),
    Sample("Book train tickets to Lyon", age=9, due=6, description="Window seats, before 10 am"),
    Sample("Read the draft of the annual report", age=7, due=0, at=dt.time(17, 0), priority="high"),
    Sample("Water the plants", age=5, due=0, priority="low"),
    Sample("Call grandma", age=4, due=1),
    Sample("Cancel the gym membership", age=30, due=-9, done=10, priority="low"),
    Sample("Back up the photos", age=14, done=6),
    Sample("Order a new charger", age=6, done=2, priority="low"),
    Sample("Pay the rent", age=8, due=-3, done=3, priority="high"),
)


def sample_tasks(now: dt.datetime) -> list[TaskImport]:
    """The samples, oldest first, as if they had been written over the last weeks."""
    return [_task(sample, now) for sample in sorted(SAMPLES, key=lambda sample: -sample.age)]


def _task(sample: Sample, now: dt.datetime) -> TaskImport:
    done = None if sample.done is None else now - dt.timedelta(days=sample.done)
    day = None if sample.due is None else (now + dt.timedelta(days=sample.due)).date()
    due = day if day is None or sample.at is None else dt.datetime.combine(day, sample.at, dt.UTC)
    return TaskImport(
        id=uuid.UUID(bytes=uuid_utils.uuid7().bytes),
        title=sample.title,
        description=sample.description,
        status=sample.status if done is None else rules.COMPLETED,
        priority=sample.priority,
        due_date=due,
        created_at=now - dt.timedelta(days=sample.age, hours=sample.age % 7, minutes=sample.age * 7 % 60),
        completed_at=done,
    )
