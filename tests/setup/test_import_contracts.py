"""The arrows in pyproject.toml speak about the whole package; a module that nobody placed has no place."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_module_stands_in_a_layer() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    placed = {name.strip("() ") for layer in layers for name in layer.split("|")}
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "taskservice").rglob("*.py")
        if path.name != "__init__.py"
    }
    homeless = {name for name in modules if not any(f"{name}.".startswith(f"{each}.") for each in placed)}
    assert not homeless, "give it a layer under [tool.importlinter] in pyproject.toml"
