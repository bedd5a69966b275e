"""The TypeScript of a page of the documentation, compiled as strictly as the compiler can."""

import json
import re
import subprocess
from pathlib import Path

from tests.support import needs

HERE = Path(__file__).parent
PAGES = HERE.parents[1] / "docs"
STRICT = {
    "strict": True,
    "noUncheckedIndexedAccess": True,
    "exactOptionalPropertyTypes": True,
    "noUnusedLocals": True,
    "noImplicitReturns": True,
    "target": "es2022",
    "module": "nodenext",
    "moduleResolution": "nodenext",
    "lib": ["es2022", "dom"],
    "types": [],
}


def installed(tool: str) -> str:
    """The path of a tool of `package.json`."""
    return str(needs.npm_project("tests/typescript") / ".bin" / tool)


def code_of(page: str, language: str = "ts") -> str:
    """All its blocks of TypeScript, in order, as one module."""
    text = (PAGES / page).read_text("utf-8")
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert blocks, f"docs/{page} shows no TypeScript"
    return "\n".join(blocks)


def compiled(directory: Path, *modules: Path, **options: str) -> None:
    """Compile modules in place, with what `package.json` names at hand."""
    installed("tsc")
    (directory / "node_modules").symlink_to(HERE / "node_modules")
    (directory / "package.json").write_text('{"type": "module"}', "utf-8")
    (directory / "tsconfig.json").write_text(
        json.dumps({"compilerOptions": STRICT | options, "files": [module.name for module in modules]}), "utf-8"
    )
    run([installed("tsc"), "--project", str(directory)])


def run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
