"""Who makes a request. Tokens are read into it (`auth/`), and it owns the tasks (`tasks/`)."""

from msgspec import Struct


class Principal(Struct, frozen=True):
    """The user of a verified token. Only `user_id` decides anything; `email` and `name` are shown to people."""

    user_id: str
    email: str | None = None
    name: str | None = None
