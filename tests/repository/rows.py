"""Instances of the models with some of their columns, as the database or the service fills in the others."""

from typing import Any

from taskservice.tasks.models import TaskModel, UserModel


def task_of(**columns: Any) -> TaskModel:
    return TaskModel(**columns)


def user_of(**columns: Any) -> UserModel:
    return UserModel(**columns)
