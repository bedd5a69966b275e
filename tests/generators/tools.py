"""The linters and generators of API clients, as `package.json` and `requirements.txt` name them."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support import needs

HERE = Path(__file__).parent
PYTHON = HERE / ".venv" / "bin" / "python"
STRICT = {
    "strict": True,
    "noUncheckedIndexedAccess": True,
    "noImplicitReturns": True,
    "target": "es2022",
    "module": "es2022",
    "moduleResolution": "bundler",
    "lib": ["es2022", "dom", "dom.iterable"],
    "types": [],
    "noEmit": True,
}


def node_tool(name: str) -> str:
    """The path of a tool of `package.json`."""
    return str(needs.npm_project("tests/generators") / ".bin" / name)


def python_tool(name: str) -> str:
    """The path of a tool of `requirements.txt`."""
    found = PYTHON.parent / name
    if not found.exists():
        needs.skip_for_lack_of(name, ".ci/make-generators")
    return str(found)


def run(command: list[str], directory: Path) -> str:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def compile_typescript(directory: Path) -> None:
    """Compile all of a directory as strictly as the compiler can."""
    (directory / "node_modules").symlink_to(HERE / "node_modules")
    (directory / "tsconfig.json").write_text(json.dumps({"compilerOptions": STRICT, "include": ["client"]}), "utf-8")
    run([node_tool("tsc"), "--project", str(directory)], directory)


def check_python_types(directory: Path, package: str) -> None:
    """Check a package's types as strictly as mypy can, with the libraries that the generators install."""
    # `client.client` is a file that openapi-python-client copies as it is, whatever it generates from.
    settings = directory / "mypy.ini"
    settings.write_text("[mypy]\nstrict = True\n\n[mypy-client.client]\nignore_errors = True\n", "utf-8")
    mypy = [sys.executable, "-m", "mypy", f"--config-file={settings}", f"--python-executable={PYTHON}"]
    run([*mypy, f"--cache-dir={directory / 'cache'}", "--package", package], directory)
