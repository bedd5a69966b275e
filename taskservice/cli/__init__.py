"""The service's own `litestar` commands, one file for each."""

from taskservice.cli.environment import prepare_environment

prepare_environment()
