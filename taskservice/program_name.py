"""The command that messages show for `litestar`, as it works in the directory where this program was started."""

import shutil
import sys
from pathlib import Path


def litestar() -> str:
    """`litestar` if the shell finds it, else its path, relative where that is shorter (`make run` sets no PATH)."""
    started = Path(sys.argv[0]).absolute()
    # Started as something else (uvicorn, a worker): the command is beside the interpreter.
    program = started if started.name == "litestar" else Path(sys.executable).parent / "litestar"
    found = shutil.which("litestar")
    if not program.exists() or (found is not None and Path(found).samefile(program)):
        return "litestar"
    here = Path.cwd()
    return str(program.relative_to(here) if program.is_relative_to(here) else program)
