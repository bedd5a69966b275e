"""The typical peer: FastAPI, SQLModel entities, AsyncSession on asyncpg, PyJWT, written as their manuals teach it.

It stands over the same table as the service. It has no change counter, no ETags and no feed, as its kind does not.
"""

import datetime as dt
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Literal

import jwt
import sqlalchemy as sa
from fastapi import Depends, FastAPI, HTTPException, Query, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlmodel import Field, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

SECRET = os.environ["BETTER_AUTH_SECRET"]
CONNECTIONS = int(os.environ["TASKSERVICE_DATABASE_CONNECTIONS"])

Status = Literal["pending", "in_progress", "completed"]
Priority = Literal["low", "medium", "high"]

engine = create_async_engine(
    sa.make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+asyncpg", query={}),
    pool_size=CONNECTIONS,
    max_overflow=0,
)
new_session = async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Task(SQLModel, table=True):
    __tablename__ = "tasks"

    id: uuid.UUID = Field(default_factory=uuid.uuid4, primary_key=True)
    user_id: str = Field(index=True)
    title: str
    description: str | None = None
    status: str = "pending"
    completed: bool | None = Field(
        default=None, sa_column=sa.Column(sa.Boolean, sa.Computed("status = 'completed'"), nullable=False)
    )
    priority: str = "medium"
    due_date: dt.datetime | None = Field(default=None, sa_type=sa.DateTime(timezone=True))
    created_at: dt.datetime = Field(default_factory=now, sa_type=sa.DateTime(timezone=True))
    updated_at: dt.datetime = Field(default_factory=now, sa_type=sa.DateTime(timezone=True))
    completed_at: dt.datetime | None = Field(default=None, sa_type=sa.DateTime(timezone=True))
    deleted_at: dt.datetime | None = Field(default=None, sa_type=sa.DateTime(timezone=True))


class TaskRead(SQLModel):
    id: uuid.UUID
    user_id: str
    title: str
    description: str | None
    status: Status
    completed: bool
    priority: Priority
    due_date: dt.datetime | None
    created_at: dt.datetime
    updated_at: dt.datetime
    completed_at: dt.datetime | None


class TaskCreate(SQLModel, extra="forbid"):
    title: str = Field(min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=1000)
    status: Status = "pending"
    priority: Priority = "medium"
    due_date: dt.datetime | None = None


class TaskUpdate(SQLModel, extra="forbid"):
    title: str | None = Field(default=None, min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=1000)
    status: Status | None = None
    priority: Priority | None = None
    due_date: dt.datetime | None = None


class CreateOperation(SQLModel):
    op: Literal["create"]
    data: TaskCreate


class Batch(SQLModel):
    operations: list[CreateOperation] = Field(min_length=1, max_length=100)


class BatchResult(SQLModel):
    status: int
    task: TaskRead


class BatchResults(SQLModel):
    results: list[BatchResult]


async def get_session() -> AsyncIterator[AsyncSession]:
    async with new_session() as session:
        yield session


async def get_user(
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))],
) -> str:
    if credentials is None:
        raise HTTPException(401, "Missing authentication", {"WWW-Authenticate": "Bearer"})
    try:
        claims = jwt.decode(credentials.credentials, SECRET, algorithms=["HS256"], options={"require": ["exp", "sub"]})
    except jwt.ExpiredSignatureError:
        raise HTTPException(401, "Token expired", {"WWW-Authenticate": "Bearer"}) from None
    except jwt.InvalidTokenError:
        raise HTTPException(401, "Invalid token", {"WWW-Authenticate": "Bearer"}) from None
    user: str = claims["sub"]
    return user


Session = Annotated[AsyncSession, Depends(get_session)]
CurrentUser = Annotated[str, Depends(get_user)]


async def get_own_task(task_id: uuid.UUID, session: Session, user: CurrentUser) -> Task:
    task = await session.get(Task, task_id)
    if task is None or task.deleted_at is not None:
        raise HTTPException(404, "Task not found")
    if task.user_id != user:
        raise HTTPException(403, "Not your task")
    return task


OwnTask = Annotated[Task, Depends(get_own_task)]
SORTS = {
    "created": col(Task.created_at),
    "updated": col(Task.updated_at),
    "title": col(Task.title),
    "due": col(Task.due_date),
    "status": col(Task.status),
}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    await engine.dispose()


app = FastAPI(title="Tasks", lifespan=lifespan)


@app.get("/health/ready")
async def ready(session: Session) -> dict[str, str]:
    await session.exec(select(1))
    return {"status": "ready"}


@app.post("/api/tasks", status_code=201, response_model=TaskRead)
async def create_task(data: TaskCreate, session: Session, user: CurrentUser, response: Response) -> Task:
    task = Task(**data.model_dump(), user_id=user, completed_at=now() if data.status == "completed" else None)
    session.add(task)
    await session.commit()
    await session.refresh(task)
    response.headers["Location"] = f"/api/tasks/{task.id}"
    return task


@app.get("/api/tasks", response_model=list[TaskRead])
async def list_tasks(
    session: Session,
    user: CurrentUser,
    status: Annotated[list[Status] | None, Query()] = None,
    priority: Annotated[list[Priority] | None, Query()] = None,
    sort: Literal["created", "-created", "updated", "-updated", "title", "-title", "due", "-due"] = "created",
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
) -> list[Task]:
    query = select(Task).where(Task.user_id == user, col(Task.deleted_at).is_(None))
    if status:
        query = query.where(col(Task.status).in_(status))
    if priority:
        query = query.where(col(Task.priority).in_(priority))
    column = SORTS[sort.removeprefix("-")]
    if sort.startswith("-"):
        query = query.order_by(column.desc().nulls_first(), col(Task.id).desc())
    else:
        query = query.order_by(column.asc().nulls_last(), col(Task.id))
    return list((await session.exec(query.limit(limit))).all())


@app.post("/api/tasks/batch", response_model=BatchResults)
async def run_batch(batch: Batch, session: Session, user: CurrentUser) -> dict[str, object]:
    tasks = [
        Task(**one.data.model_dump(), user_id=user, completed_at=now() if one.data.status == "completed" else None)
        for one in batch.operations
    ]
    session.add_all(tasks)
    await session.commit()
    return {"results": [{"status": 201, "task": task} for task in tasks]}


@app.get("/api/tasks/{task_id}", response_model=TaskRead)
async def get_task(task: OwnTask) -> Task:
    return task


@app.put("/api/tasks/{task_id}", response_model=TaskRead)
@app.patch("/api/tasks/{task_id}", response_model=TaskRead)
async def update_task(data: TaskUpdate, task: OwnTask, session: Session) -> Task:
    task.sqlmodel_update(data.model_dump(exclude_unset=True))
    if task.status != "completed":
        task.completed_at = None
    elif task.completed_at is None:
        task.completed_at = now()
    task.updated_at = now()
    session.add(task)
    await session.commit()
    await session.refresh(task)
    return task


@app.patch("/api/tasks/{task_id}/complete", response_model=TaskRead)
async def toggle_task(task: OwnTask, session: Session) -> Task:
    done = task.status == "completed"
    task.status = "pending" if done else "completed"
    task.completed_at = None if done else now()
    task.updated_at = now()
    session.add(task)
    await session.commit()
    await session.refresh(task)
    return task


@app.delete("/api/tasks/{task_id}", status_code=204)
async def delete_task(task: OwnTask, session: Session) -> None:
    task.deleted_at = now()
    session.add(task)
    await session.commit()
