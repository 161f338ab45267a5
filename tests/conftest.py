"""What all tests share: children that can be interrupted, a count at the end."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

# Asserts of what several files of tests share show their values too.
for _path in Path(__file__).parent.glob("*_cases.py"):
    pytest.register_assert_rewrite(_path.stem)


def pytest_configure() -> None:
    # A shell starts jobs in the background with SIGINT ignored, and children would inherit that.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    passed = terminalreporter.stats.get("passed", [])
    count = sum("malformed" in report.keywords for report in passed)
    if count:
        terminalreporter.write_line(f"{count} malformed models, or sets of them, refused")
