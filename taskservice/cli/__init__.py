"""The service's own `litestar` commands, one file for each. Every call of `litestar` loads all of them.

So a command imports what it needs only when it runs.
"""

from taskservice.cli.environment import prepare_environment

prepare_environment()
