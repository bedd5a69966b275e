"""The files that the pages show for an app with Better Auth, and their compiler."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from tests.e2e.better_auth.server import HERE, NODE_MODULES

DOCS = HERE.parents[2] / "docs"

STRICT: dict[str, Any] = {
    "strict": True,
    "noUncheckedIndexedAccess": True,
    "noUnusedLocals": True,
    "noImplicitReturns": True,
    "target": "es2022",
    "module": "esnext",
    "moduleResolution": "bundler",
    "jsx": "react-jsx",
    "lib": ["es2022", "dom", "dom.iterable"],
    "types": ["node"],
    "skipLibCheck": True,
    "paths": {"@/*": ["./*"]},
    "rootDir": ".",
    "outDir": "built",
}
"""What `create-next-app` writes, and stricter."""


def files_in(text: str) -> dict[str, str]:
    """The TypeScript that a page shows, by the path in its first line."""
    found = re.findall(r"^```tsx?\n// (\S+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found
    return dict(found)


def recipe(number: int) -> dict[str, str]:
    """The files of one recipe of docs/better-auth.md."""
    sections = re.split(r"^## (?=\d\. )", (DOCS / "better-auth.md").read_text("utf-8"), flags=re.MULTILINE)
    section = next(section for section in sections if section.startswith(f"{number}. "))
    return files_in(section.split("\n## ")[0])


def compiled(directory: Path) -> Path:
    """Where the compiler puts what it makes of a project."""
    (directory / "node_modules").symlink_to(NODE_MODULES)
    (directory / "package.json").write_text('{"type": "module"}', "utf-8")
    (directory / "tsconfig.json").write_text(json.dumps({"compilerOptions": STRICT}), "utf-8")
    compiler = subprocess.run(
        [NODE_MODULES / ".bin" / "tsc", "--project", directory], capture_output=True, text=True, check=False
    )
    assert compiler.returncode == 0, compiler.stdout
    return directory / "built"
