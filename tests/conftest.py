"""How many malformed models were refused, printed at the end."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    passed = terminalreporter.stats.get("passed", [])
    count = sum("malformed" in report.keywords for report in passed)
    if count:
        terminalreporter.write_line(f"{count} malformed models, or sets of them, refused")
