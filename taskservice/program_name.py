"""How our commands can be called from where this program was started."""

import sys
from pathlib import Path


def litestar() -> str:
    """Its path from here, as `make run` and `uv run` leave it off the PATH; else its name."""
    program, here = Path(sys.argv[0]).absolute(), Path.cwd()
    return str(program.relative_to(here)) if program.name == "litestar" and program.is_relative_to(here) else "litestar"
