"""The user of a request. `auth/` makes it from a token; `tasks/` knows it as the owner of tasks."""

from msgspec import Struct


class Principal(Struct, frozen=True):
    """The user of a verified token. Only `user_id` decides anything; `email` and `name` are shown to people."""

    user_id: str
    email: str | None = None
    name: str | None = None
