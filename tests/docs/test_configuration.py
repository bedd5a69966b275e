"""What the documentation says about settings is what the settings say."""

import re
import tomllib
from pathlib import Path

import pytest

from docs.generate import ASKED_FOR_BY, PAGES, ROOT
from taskservice.settings import SETTINGS, load_settings


@pytest.mark.parametrize("path", PAGES)
def test_a_generated_page_is_in_step(path: str) -> None:
    assert (ROOT / path).read_text("utf-8") == PAGES[path](), "`make docs` writes it anew"


@pytest.mark.parametrize("path", ["README.md", "docs/configuration.md", ".env.example"])
def test_every_setting_is_documented(path: str) -> None:
    text = (ROOT / path).read_text("utf-8")
    missing = {each.variable for each in SETTINGS if each.variable not in text and f"`{each.key}`" not in text}
    assert not missing


def test_every_policy_is_a_setting() -> None:
    assert set(ASKED_FOR_BY) <= {each.variable for each in SETTINGS}


def test_a_copied_example_changes_nothing(tmp_path: Path) -> None:
    example = (ROOT / ".env.example").read_text("utf-8")
    (tmp_path / ".env").write_text(example, "utf-8")
    said = {"TASKSERVICE_DATA_DIR": str(tmp_path / "data")}
    assert load_settings(said, tmp_path) == load_settings(said)


def test_the_defaults_of_the_example_are_the_defaults(tmp_path: Path) -> None:
    example = (ROOT / ".env.example").read_text("utf-8")
    (tmp_path / ".env").write_text(re.sub(r"^# (?=[A-Z_]+=)", "", example, flags=re.MULTILINE), "utf-8")
    said = {"TASKSERVICE_DATA_DIR": str(tmp_path / "data")}
    assert load_settings(said, tmp_path) == load_settings(said)


def test_the_committed_policies_are_the_defaults(tmp_path: Path) -> None:
    toml = (ROOT / "litestar.toml").read_text("utf-8")
    (tmp_path / "litestar.toml").write_text(toml, "utf-8")
    said = {"TASKSERVICE_DATA_DIR": str(tmp_path / "data")}
    assert load_settings(said, tmp_path) == load_settings(said)
    keys = {each.key for each in SETTINGS if each.variable in ASKED_FOR_BY}
    assert set(tomllib.loads(toml)["taskservice"]) <= keys
