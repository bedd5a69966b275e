"""The lock holds what pyproject.toml asks for, and nothing of the machine that made it."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text("utf-8")
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PINS = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", LOCK, re.MULTILINE))

WANTED = [
    *PYPROJECT["project"]["dependencies"],
    *(each for extra in PYPROJECT["project"]["optional-dependencies"].values() for each in extra),
    *PYPROJECT["dependency-groups"]["setup"],
    *(each for each in PYPROJECT["dependency-groups"]["dev"] if isinstance(each, str)),
    *PYPROJECT["build-system"]["requires"],
]


@pytest.mark.parametrize("wanted", WANTED)
def test_each_requirement_is_met_by_a_pin(wanted: str) -> None:
    requirement = Requirement(wanted)
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)]), "`make lock` makes it anew"


def test_every_pin_has_hashes() -> None:
    entries = re.split(r"^(?=[a-z0-9-]+==)", LOCK, flags=re.MULTILINE)[1:]
    assert len(entries) == len(PINS)
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_it_names_no_address_and_no_path() -> None:
    assert not re.search(r"://|^-|/home/|/tmp/", LOCK, re.MULTILINE)
