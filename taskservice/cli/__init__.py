"""The service's own `litestar` commands, one file for each."""

import gc

from taskservice.cli.environment import prepare_environment

# What Litestar has loaded by now is never garbage. Searching it again and again takes a thirtieth of a start.
gc.freeze()
prepare_environment()
