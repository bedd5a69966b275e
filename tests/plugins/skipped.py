"""Says at the end of a run which tests this machine could not run, and the commands that bring what they need."""

import re
from collections import Counter, defaultdict

import pytest

LACK = re.compile(r"Skipped: needs (?P<what>.+): (?P<command>\S.*)")
"""As `tests.support.needs` writes it."""
FROM_DEBIAN = "apt-get install "


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped: list[pytest.TestReport | pytest.CollectReport] = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    for_lack_of: dict[str, Counter[str]] = defaultdict(Counter)
    others: Counter[str] = Counter()
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
        if lack := LACK.fullmatch(reason):
            for_lack_of[lack["command"]][lack["what"]] += 1
        else:
            others[reason.removeprefix("Skipped: ")] += 1
    terminalreporter.write_sep("=", f"{len(skipped)} skipped", yellow=True)
    for command, tests in sorted(for_lack_of.items()):
        what = ", ".join(sorted(tests))
        terminalreporter.write_line(f"{tests.total():5} need {what}:  {command}")
    for reason, count in sorted(others.items()):
        terminalreporter.write_line(f"{count:5} {reason}")
    packages = sorted({name for command in for_lack_of for name in _packages(command)})
    if packages:
        terminalreporter.write_line(f"\nAll of Debian's at once:  {FROM_DEBIAN}{' '.join(packages)}")


def _packages(command: str) -> list[str]:
    return command.removeprefix(FROM_DEBIAN).split() if command.startswith(FROM_DEBIAN) else []
