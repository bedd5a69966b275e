"""`--measured` says at the end of a run what tests measured, which they record as properties."""

import pytest

OPTION = "measured"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(f"--{OPTION}", action="store_true", help="say what tests measured: seconds, bytes")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    reports: list[pytest.TestReport] = terminalreporter.stats.get("passed", [])
    measured = [report for report in reports if report.user_properties]
    if not measured or not config.getoption(OPTION):
        return
    terminalreporter.write_sep("=", "measured")
    for report in measured:
        figures = ", ".join(f"{name}: {value}" for name, value in report.user_properties)
        terminalreporter.write_line(f"{report.nodeid.partition('::')[2]}  {figures}")
