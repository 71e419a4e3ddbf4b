"""Setup of the tests of transformers: the listed exclusions, and a table of the results of each class."""

from collections import Counter, defaultdict
from fnmatch import fnmatch

import pytest

from tests.transformers_common.exclusions import EXCLUSIONS


OUTCOMES = ("passed", "xfailed", "skipped", "failed")
CLASSES: set[str] = set()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Expect the excluded tests to fail, so that an exclusion which is no longer needed shows."""
    for item in items:
        parent = item.parent
        if parent is None or not item.path.name.startswith("check_"):
            continue
        CLASSES.add(parent.name)
        for classes, tests in EXCLUSIONS.items():
            if fnmatch(parent.name, classes):
                for test, reason in tests.items():
                    if fnmatch(item.name, test):
                        item.add_marker(pytest.mark.xfail(reason=reason, strict=False))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print for each class how many tests passed, were excluded, were skipped by transformers, and failed."""
    table: dict[str, Counter] = defaultdict(Counter)
    seen: dict[str, set[str]] = defaultdict(set)
    for outcome in ("failed", "error", "xfailed", "xpassed", "skipped", "passed"):
        for report in terminalreporter.stats.get(outcome, []):
            place = report.nodeid.split("::")
            if len(place) > 2 and place[1] in CLASSES and report.nodeid not in seen[place[1]]:
                seen[place[1]].add(report.nodeid)  # a test with several failed subtests counts once
                table[place[1]][outcome] += 1
    if not table:
        return
    terminalreporter.write_line("\n| class | run | passed | excluded | passed though excluded | skipped | failed |")
    terminalreporter.write_line("|---|---|---|---|---|---|---|")
    for name, counts in table.items():
        failed = counts["failed"] + counts["error"]
        row = (counts["passed"], counts["xfailed"], counts["xpassed"], counts["skipped"], failed)
        terminalreporter.write_line(f"| {name} | {sum(row)} | {' | '.join(map(str, row))} |")
