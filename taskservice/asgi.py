"""`taskservice.asgi:app`, for servers and platforms that want an application and not a factory."""

from taskservice.app import create_app

app = create_app()
