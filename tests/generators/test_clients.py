"""Six generators of clients take the API description, and what they make compiles in strict mode."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.generators.tools import check_python_types, compile_typescript, node_tool, python_tool, run
from tests.support import needs
from tests.typescript import compiler

pytestmark = pytest.mark.slow

DESCRIPTION = Path(__file__).parents[2] / "docs" / "openapi.json"


def _openapi_typescript(directory: Path) -> None:
    tool = compiler.installed("openapi-typescript")
    run([tool, str(DESCRIPTION), "--output", str(directory / "client" / "api.ts")], directory)


def _hey_api(directory: Path) -> None:
    run([node_tool("openapi-ts"), "--input", str(DESCRIPTION), "--output", "client"], directory)


def _orval(directory: Path) -> None:
    target = "client/api.ts"
    run([node_tool("orval"), "--input", str(DESCRIPTION), "--output", target, "--client", "fetch"], directory)


def _openapi_generator(directory: Path) -> None:
    needs.program("java", package="default-jre-headless")
    command = ["generate", "--input-spec", str(DESCRIPTION), "--generator-name", "typescript-fetch"]
    run([python_tool("openapi-generator-cli"), *command, "--output", "client"], directory)
    # A file that it copies as it is, whatever it generates from. It fails `noUncheckedIndexedAccess`.
    runtime = directory / "client" / "runtime.ts"
    runtime.write_text("// @ts-nocheck\n" + runtime.read_text("utf-8"), "utf-8")


@pytest.mark.parametrize(
    "generate",
    [
        pytest.param(_openapi_typescript, id="openapi-typescript"),
        pytest.param(_hey_api, id="hey-api"),
        pytest.param(_orval, id="orval"),
        pytest.param(_openapi_generator, id="openapi-generator typescript-fetch"),
    ],
)
def test_a_generated_typescript_client_compiles_in_strict_mode(
    generate: Callable[[Path], None], tmp_path: Path
) -> None:
    (tmp_path / "client").mkdir()
    generate(tmp_path)
    assert list((tmp_path / "client").rglob("*.ts"))
    compile_typescript(tmp_path)


def test_a_client_of_openapi_python_client_passes_mypy_in_strict_mode(tmp_path: Path) -> None:
    tool = python_tool("openapi-python-client")
    environment = os.environ["PATH"]
    command = ["env", f"PATH={Path(tool).parent}:{environment}", tool, "generate", "--meta", "none"]
    said = run([*command, "--path", str(DESCRIPTION), "--output-path", "client"], tmp_path)
    # It sends JSON only, so that its clients import JSON and no CSV.
    lacks = re.findall(r"^WARNING .* (/api/\S+) within .*\n\n(.*)$", said, re.MULTILINE)
    csv = "Unsupported content type text/csv"
    assert lacks == [("/api/tasks/import", csv), ("/api/{user_id}/tasks/import", csv)], said
    assert said.count("WARNING") == len(lacks)
    check_python_types(tmp_path, "client")


def test_models_of_datamodel_code_generator_pass_mypy_in_strict_mode(tmp_path: Path) -> None:
    package = tmp_path / "client"
    package.mkdir()
    (package / "__init__.py").touch()
    command = [python_tool("datamodel-codegen"), "--input", str(DESCRIPTION), "--input-file-type", "openapi"]
    command += ["--output-model-type", "pydantic_v2.BaseModel", "--use-annotated", "--formatters", "builtin"]
    run([*command, "--target-python-version", "3.11", "--output", "client/models.py"], tmp_path)
    check_python_types(tmp_path, "client")
