"""What the documentation tells a reader to type is typed here, and answers as it shows.

A page's blocks are pasted into one shell, top to bottom, while `make run` serves beside it with a new embedded
database. A block that shows an answer stands behind the commands that get it. What cannot be run so is listed below,
each with what holds it instead; a block that nothing runs fails a test.
"""

import json
import re
import shlex
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from taskservice.settings import load_settings
from taskservice.settings.database_url import read_database_url
from tests.docs.blocks import PAGES, ROOT, Block, assert_shown, blocks_of
from tests.docs.terminal import START, Terminal
from tests.support.commands import Operator

pytestmark = pytest.mark.slow

SESSIONS = [["README.md"], ["docs/quickstart.md", "docs/errors.md", "docs/transfer.md"]]
"""Pages that are pasted as a whole, against a new service for each list of them."""

RUN_BY = {
    ("docs/better-auth.md", "ts"): "tests/e2e/better_auth/test_recipes.py",
    ("docs/changing.md", "diff"): "tests/docs/test_changing.py",
    ("docs/frontend.md", "ts"): "tests/browser/test_frontend.py",
    ("docs/frontend.md", "tsx"): "tests/browser/test_hooks.py",
    ("docs/nextjs.md", "tsx"): "tests/browser/test_nextjs.py",
    ("docs/operations/backup.md", "sh"): "tests/docs/test_backup_page.py",
    ("docs/operations/purge.md", "sh"): "tests/docs/test_purge_page.py",
    ("docs/operations/purge.md", "text"): "tests/docs/test_purge_page.py",
    ("docs/operations/paas.md", "procfile"): "tests/web/test_paas.py",
    ("docs/operations/upgrades.md", "sh"): "tests/docs/test_upgrades_page.py",
    ("docs/operations/proxies.md", "nginx"): "tests/web/test_proxies.py",
    ("docs/operations/proxies.md", "caddy"): "tests/web/test_proxies.py",
    ("docs/sync.md", "ts"): "tests/docs/test_offline_copy.py",
    ("docs/typescript.md", "js"): "tests/typescript/test_typed_client.py",
    ("docs/typescript.md", "ts"): "tests/typescript/test_typed_client.py",
}
"""All blocks of a language on a page, and the file whose tests compile and run them as they stand."""

HELD_BY = {
    ("docs/architecture.md", "      "): "is a picture made of letters",
    ("README.md", "make test"): "is what runs this very test",
    ("docs/better-auth.md", "echo BETTER_AUTH_URL="): (
        "tests/e2e/better_auth/conftest.py starts the service so, with the address of a real Better Auth server in "
        "place of the example's"
    ),
    ("docs/configuration.md", "openssl rand"): "test_the_good_secret_is_good_enough_for_production",
    ("docs/docker.md", "docker"): "takes a Docker engine; tests/image builds the same Dockerfile and runs it with the "
    "same settings without one, and holds the composition's parts to what the page says",
    ("docs/docker.md", "export POSTGRES_PASSWORD"): "the same",
    (
        "docs/neon.md",
        "export DATABASE_URL",
    ): "takes an account at Neon; test_the_address_of_the_neon_page_is_understood",
    ("docs/operations/README.md", "pip install '.[otel]'"): "tests/observability/test_tracing.py runs it",
    ("docs/operations/README.md", "scrape_configs"): "test_prometheus_is_pointed_at_the_service",
    ("docs/operations/proxies.md", "TASKSERVICE_PUBLIC_URL="): "tests/web/test_proxies.py starts the service so",
    ("docs/frontend.md", "npm install"): "test_npm_is_told_to_install_what_the_tests_use compares it with what "
    "tests/browser/test_hooks.py bundles",
    ("docs/nextjs.md", "npx create-next-app"): "test_npm_is_told_to_install_what_the_tests_use compares it with what "
    "tests/browser/test_nextjs.py bundles",
    ("docs/nextjs.md", "TASKSERVICE="): "tests/browser/test_nextjs.py runs it, without a service beside it",
    ("docs/nextjs.md", "mkdir -p lib"): "tests/browser/test_nextjs.py runs it",
    ("docs/nextjs.md", "npx auth"): (
        "tests/browser/test_nextjs.py starts the app with tests/e2e/better_auth/server.mjs, which migrates by the same "
        "function"
    ),
    ("docs/scaling.md", "DATABASE_URL=postgresql://app@db-1/tasks\nDATABASE_REPLICA_URLS"): "names servers that the "
    "reader has; tests/faults/test_replicas.py runs the service with both settings",
    ("docs/scaling.md", 'DATABASE_URL="postgresql://app@db-1,db-2,db-3/tasks"'): "names servers that the reader has; "
    "tests/faults/test_failover.py runs the service with several hosts",
    ("docs/scaling.md", "CREATE EXTENSION citus"): "needs Citus; the page says when it was run, and what was not",
    ("docs/typescript.md", "export TOKEN"): "tests/typescript/test_typed_client.py runs it",
    ("docs/typescript.md", "npm install"): "tests/typescript/test_typed_client.py runs its last line, on what "
    "test_npm_is_told_to_install_what_the_tests_use compares",
}
"""How a block begins that cannot be pasted here, and why that is no gap."""

ALL = [block for page in PAGES for block in blocks_of(page)]


def held(block: Block) -> bool:
    return any(block.page == page and block.text.startswith(beginning) for page, beginning in HELD_BY)


@pytest.mark.parametrize("pages", SESSIONS, ids=" ".join)
def test_pages_can_be_pasted_from_top_to_bottom(pages: list[str], tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    with terminal.serving(), terminal.opened():
        output = None
        for block in (block for page in pages for block in blocks_of(page)):
            if held(block):
                output = None
            elif block.language == "sh":
                output = terminal.log if block.text.strip() == START else terminal.paste(block.text)
            else:
                assert output is not None, f"{block} answers to no command"
                assert_shown(block, output)
        assert "Traceback" not in terminal.log
        assert " 500 " not in terminal.log


@pytest.mark.parametrize("block", ALL, ids=str)
def test_somebody_runs_every_block(block: Block) -> None:
    pasted = any(block.page in pages for pages in SESSIONS)
    assert pasted or (block.page, block.language) in RUN_BY or held(block), (
        f"nobody runs {block}: put it into a page of SESSIONS, or name the test that does"
    )


@pytest.mark.parametrize(("page", "language"), RUN_BY)
def test_who_is_said_to_run_a_page_reads_it(page: str, language: str) -> None:
    assert any((block.page, block.language) == (page, language) for block in ALL), f"{page} has none to run"
    assert re.search(rf'["/]{re.escape(Path(page).name)}"', (ROOT / RUN_BY[page, language]).read_text("utf-8"))


@pytest.mark.parametrize(("page", "beginning"), HELD_BY)
def test_every_exception_is_still_one(page: str, beginning: str) -> None:
    assert any(block.page == page and block.text.startswith(beginning) for block in ALL)
    for name in re.findall(r"\btests/[\w/.]*\w", HELD_BY[page, beginning]):
        assert (ROOT / name).exists()
    for name in re.findall(r"\btest_\w+(?!\w*\.py)", HELD_BY[page, beginning].replace("/test_", "/")):
        assert name in globals()


def only_block(page: str, beginning: str) -> Block:
    (block,) = [block for block in ALL if block.page == page and block.text.startswith(beginning)]
    return block


def test_the_good_secret_is_good_enough_for_production(tmp_path: Path) -> None:
    made = Operator(tmp_path).run("sh", "-c", only_block("docs/configuration.md", "openssl rand").text)
    said = {
        "TASKSERVICE_ENV": "production",
        "DATABASE_URL": "postgresql://localhost/nowhere",
        "BETTER_AUTH_SECRET": made.out.strip(),
    }
    assert load_settings(said).warnings == ()


def test_the_address_of_the_neon_page_is_understood(tmp_path: Path) -> None:
    export, run = only_block("docs/neon.md", "export DATABASE_URL").text.splitlines()
    assert run == "litestar run"
    url = Operator(tmp_path).run("sh", "-c", f'{export}\nprintf %s "$DATABASE_URL"').out
    target = read_database_url(url)
    context = target.asyncpg_arguments()["ssl"]
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert target.pooled
    assert target.direct
    assert (target.direct.host, target.direct.pooled) == (target.host.replace("-pooler", ""), False)


def test_prometheus_is_pointed_at_the_service() -> None:
    (scrape,) = yaml.safe_load(only_block("docs/operations/README.md", "scrape_configs").text)["scrape_configs"]
    assert "metrics_path" not in scrape
    assert scrape["static_configs"] == [{"targets": ["taskservice:8000"]}]


OF_A_REACT_PAGE = {"react", "react-dom", "@types/react", "@types/react-dom", "esbuild"}
"""What whoever reads about hooks has installed already, and the bundler of the test."""


OF_OTHER_RECIPES = {"jose", "@types/node", "typescript"}
"""What Better Auth's second recipe names, and what `create-next-app` installs."""


@pytest.mark.parametrize(
    ("pages", "beginning", "project", "others"),
    [
        (["docs/typescript.md", "docs/frontend.md"], "npm install", "tests/typescript", OF_A_REACT_PAGE),
        (["docs/nextjs.md"], "npx create-next-app", "tests/e2e/better_auth", OF_A_REACT_PAGE | OF_OTHER_RECIPES),
    ],
    ids=["types and hooks", "Next.js"],
)
def test_npm_is_told_to_install_what_the_tests_use(
    pages: list[str], beginning: str, project: str, others: set[str]
) -> None:
    blocks = [only_block(page, beginning) for page in pages]
    told = {
        word
        for block in blocks
        for line in block.text.splitlines()
        if line.startswith("npm install")
        for word in shlex.split(line)[2:]
        if not word.startswith("-")
    }
    manifest = json.loads((ROOT / project / "package.json").read_text("utf-8"))
    used = manifest["dependencies"] | manifest["devDependencies"]
    wanted = dict(word.rsplit("@", 1) for word in told)
    assert wanted.keys() == used.keys() - others
    assert all(f"{used[name]}.".startswith(f"{version}.") for name, version in wanted.items())


INLINE = sorted(
    {
        (page, span)
        for page in PAGES
        for span in re.findall(
            r"(?<!`)`((?:litestar(?=[ `])|make|python -m|uv run|\.ci/) ?[^`\n]*)`(?!`)",
            re.sub(r"^```.*?^```$", "", (ROOT / page).read_text("utf-8"), flags=re.MULTILINE | re.DOTALL),
        )
    }
)


@pytest.fixture(scope="module")
def help_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """What `litestar COMMAND --help` says, asked once for each."""
    operator = Operator(tmp_path_factory.mktemp("help"))
    known: dict[str, str] = {}

    def ask(command: str) -> str:
        if command not in known:
            outcome = operator.litestar(*command.split(), "--help")
            assert outcome.code == 0, outcome.said
            known[command] = outcome.out
        return known[command]

    return ask


@pytest.mark.parametrize(("page", "span"), INLINE)
def test_a_command_within_a_sentence_exists(page: str, span: str, help_of: Callable[[str], str]) -> None:
    program, *words = span.removeprefix("uv run ").split()
    if program == "litestar":
        command = " ".join(words[:2] if words[:1] == ["database"] and words[1:2] != ["…"] else words[:1])
        assert all(option in help_of(command) for option in words if option.startswith("--"))
    elif program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
        assert set(words[:1]) <= set(targets)
    elif program == "python":
        module = ROOT / words[1].replace(".", "/")
        assert module.with_suffix(".py").exists() or (module / "__main__.py").exists()
    else:
        assert program == "pytest" or (ROOT / program).exists()
