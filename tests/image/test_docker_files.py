"""What docker/ says, read as an engine would read it."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from taskservice.settings import SETTINGS

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "docker/Dockerfile").read_text("utf-8")
FINAL_STAGE = DOCKERFILE.rpartition("FROM ")[2]


def compose(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker" / name).read_text("utf-8"))
    return document


def test_the_base_can_be_chosen_for_every_stage() -> None:
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.\d+-slim-bookworm$", DOCKERFILE, re.MULTILINE)
    stages = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert stages == ["${PYTHON_IMAGE}", "${PYTHON_IMAGE}"]


@pytest.mark.parametrize("instruction", ["CMD", "HEALTHCHECK"])
def test_no_shell_stands_between_the_engine_and_the_process(instruction: str) -> None:
    assert re.search(rf"^{instruction}\b(.*\\\n)*.*\[\"", FINAL_STAGE, re.MULTILINE)


def test_the_final_stage_builds_nothing() -> None:
    assert not re.search(r"\b(apt-get|pip|uv|curl|wget)\b", FINAL_STAGE)
    assert re.search(r"^USER [1-9][0-9]*:[1-9][0-9]*$", FINAL_STAGE, re.MULTILINE)
    assert "TASKSERVICE_ENV=production" in FINAL_STAGE


def test_every_install_checks_hashes() -> None:
    installs = re.findall(r"pip install(?:[^\n]*\\\n)*[^\n]*", DOCKERFILE)
    assert len(installs) == 3
    assert all("--require-hashes" in each or each.endswith("--no-deps dist/*.whl") for each in installs)


def test_builders_find_the_same_ignore_file() -> None:
    # BuildKit and buildah look beside the Dockerfile, under its name, when the context is another directory.
    ignore = ROOT / "docker/.dockerignore"
    assert (ROOT / "docker/Dockerfile.dockerignore").resolve() == ignore.resolve()
    allowed = {line[1:] for line in ignore.read_text("utf-8").splitlines() if line.startswith("!")}
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert allowed == copied


def test_the_composition_is_the_service_a_pooler_and_postgresql_17() -> None:
    services = compose("compose.yaml")["services"]
    assert set(services) == {"service", "pgbouncer", "postgres"}
    assert services["postgres"]["image"].startswith("postgres:17")
    environment = services["service"]["environment"]
    assert "@pgbouncer:6432/" in environment["DATABASE_URL"]
    assert "@postgres:5432/" in environment["DATABASE_DIRECT_URL"]
    assert environment["TASKSERVICE_DATABASE_POOLER"] == "true"
    assert services["service"]["read_only"] is True


def test_development_reloads_on_every_address() -> None:
    service = compose("compose.dev.yaml")["services"]["service"]
    command = " ".join(service["command"])
    assert "--host 0.0.0.0 --port 8000" in command
    assert "--reload" in command
    assert service["environment"]["TASKSERVICE_ENV"] == "development"
    assert "../taskservice:/srv/taskservice:ro" in service["volumes"]


def test_the_composition_sets_only_settings_that_exist() -> None:
    known = {each.variable for each in SETTINGS}
    for name in ("compose.yaml", "compose.dev.yaml"):
        text = (ROOT / "docker" / name).read_text("utf-8")
        assert set(re.findall(r"\bTASKSERVICE_[A-Z_]+", text)) <= known
