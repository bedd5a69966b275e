"""Schemathesis, with every check it has, finds nothing: no request that the description allows is refused, none that it
forbids is taken, and no answer is another than it says."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.pages import next_page
from tests.support.services import Caller, Services

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES")
"""How many for each operation, in place of the few of the usual run. `make fuzz` sets it, and a seed."""
SEED = os.environ.get("SCHEMATHESIS_SEED", "1")

# 304, 410 and 412 are about what the client holds, not about how it asks. What is wrong may also be too large.
CONFIGURATION = """\
headers = {{ Authorization = "Bearer {token}" }}
parameters = {{ "path.user_id" = "{user}" }}

[checks.positive_data_acceptance]
expected-statuses = ["2xx", "304", "401", "403", "404", "409", "410", "412", "5xx"]

[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "413", "414", "415", "422", "5xx"]
"""


async def cursor(caller: Caller, path: str) -> str:
    """A real one, of a list with two tasks."""
    target = next_page(await caller.get(path, params={"limit": "1"}))
    assert target is not None
    return target.partition("cursor=")[2]


@pytest.mark.parametrize(
    ("policies", "examples"),
    [
        ({}, 25),
        ({"title": "generated", "description_max": "500", "foreign_task": "404", "delete": "hard"}, 10),
    ],
    ids=["the default policies", "all other policies"],
)
async def test_schemathesis_finds_nothing(
    services: Services,
    someone: Callable[[str], str],
    tmp_path: Path,
    policies: dict[str, str],
    examples: int,
) -> None:
    service = services.shared(**policies)
    alice = service.user(someone("schemathesis"))
    for title in ("Buy milk", "Walk the dog", "Feed the cat", "Sleep"):
        task = await alice.create(title)
        if title in {"Feed the cat", "Sleep"}:
            await alice.delete(f"/{task['id']}")
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "SCHEMATHESIS_HOOKS": "tests.openapi.hooks",
        "CURSOR_OF_LIST": await cursor(alice, ""),
        "CURSOR_OF_TRASH": await cursor(alice, "/trash") if service.settings.delete == "soft" else "",
    }
    (tmp_path / "schemathesis.toml").write_text(
        CONFIGURATION.format(token=service.token(alice.user), user=alice.user), "utf-8"
    )
    budget = ["--max-examples", EXAMPLES or str(examples), "--seed", SEED]
    options = ["--checks", "all", *budget, "--continue-on-failure", "--no-color"]
    done = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "run", f"{service.url}/schema/openapi.json", *options],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=4 * 3600 if EXAMPLES else 300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    found = re.search(r"Selected: (\d+)/(\d+)\n +Tested: (\d+)", done.stdout)
    assert found
    assert len(set(found.groups())) == 1, "an operation was left out"
