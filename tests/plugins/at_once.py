"""Prints the report of a failure when it happens, not at the end of the run, where a later hang could swallow it."""

import pytest


@pytest.hookimpl(trylast=True)  # the terminal reporter registers itself in this hook
def pytest_configure(config: pytest.Config) -> None:
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if isinstance(terminal, pytest.TerminalReporter):  # the workers of a parallel run have none
        config.pluginmanager.register(FailuresAtOnce(terminal))


class FailuresAtOnce:
    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.failed:
            return
        self._terminal.ensure_newline()
        self._terminal.section(f"{report.when} of {report.nodeid} failed", red=True)
        self._terminal.write_line(report.longreprtext)
        for name, content in report.sections:
            self._terminal.section(name, "-")
            self._terminal.write_line(content)
        # As pytest marks a failure that its debugger has shown: it is listed at the end, and not printed again.
        report._pdbshown = True  # type: ignore[attr-defined]
