"""Files stay short, and a class name means one class."""

import ast
from collections import Counter
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "taskservice"
MODULES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES = 400


def test_no_file_is_longer_than_can_be_read_at_once() -> None:
    lines = {path.relative_to(PACKAGE).as_posix(): len(path.read_text("utf-8").splitlines()) for path in MODULES}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_a_class_name_means_one_class() -> None:
    trees = [ast.parse(path.read_text("utf-8")) for path in MODULES]
    names = Counter(node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    assert [name for name, count in names.items() if count > 1] == []
