"""Remembers what the tests of the specifications came to, for `docs/conformance.md`."""

import re

import pytest

from tests.browser.conftest import browser, visiting

__all__ = ["browser", "visiting"]  # fixtures: one number asks for the documentation page in a real browser

RESULTS = pytest.StashKey[dict[tuple[str, str], str]]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.stash[RESULTS] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The page is checked last, when all other results are known."""
    items.sort(key=lambda item: item.path.name == "test_conformance.py")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> "pytest.TestReport":  # type: ignore[misc]
    report: pytest.TestReport = yield
    module = re.fullmatch(r"test_(\d{3})_\w+\.py", item.path.name)
    if module and isinstance(item, pytest.Function):
        results = item.config.stash[RESULTS]
        name = (module[1], item.originalname)
        # A test with several parameters passes when all of them do.
        if report.failed:
            results[name] = "FAILS"
        elif report.when == "call":
            results.setdefault(name, "passes" if report.passed else "not run")
    return report


@pytest.fixture
def results(request: pytest.FixtureRequest) -> dict[tuple[str, str], str]:
    """By specification and test: what it came to in this session, as far as it has run."""
    return request.config.stash[RESULTS]
