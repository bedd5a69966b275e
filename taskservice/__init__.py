"""A task backend: every request carries a JWT, every user sees only their own tasks."""

__version__ = "1.0.0"
