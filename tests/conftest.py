"""What every test relies on: one thread, no network, and a cache that is not the user's."""

from __future__ import annotations

import os
import re
from collections.abc import Generator

# Before torch or transformers is imported anywhere.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

from pathlib import Path

import hypothesis
import pytest

from ilr_bench.core.extras import LIBRARIES

# The same examples everywhere, and no failure because a machine is busy.
hypothesis.settings.register_profile("reproducible", deadline=None, derandomize=True)
hypothesis.settings.load_profile("reproducible")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on real rows are left out where there are none."""
    if not os.environ.get("ILR_BENCH_DATA"):
        for item in items:
            if item.get_closest_marker("data") is not None:
                item.add_marker(pytest.mark.skip(reason="needs the benchmarks' rows in ILR_BENCH_DATA"))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Leaves out the files that need an extra, where the tests are told that none is installed."""
    report = yield
    if report.failed and "ILR_BENCH_NO_EXTRAS" in os.environ:
        found = re.search(r"^E   ModuleNotFoundError: No module named '(\w+)", str(report.longrepr), re.MULTILINE)
        if found is not None and any(found[1] in modules for modules in LIBRARIES.values()):
            report.outcome = "skipped"
            report.longrepr = (str(collector.path), 0, f"needs {found[1]}")
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many real rows each test saw, as it said by `record_property("rows", count)`."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    seen = {one.nodeid: dict(one.user_properties).get("rows") for one in reports if "data" in one.keywords}
    if seen:
        terminalreporter.section("rows seen")
        for test, rows in seen.items():
            terminalreporter.write_line(f"{'-' if rows is None else format(rows, ','):>8}  {test}")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ILR_BENCH_CACHE` of this session, shared by all workers of pytest-xdist, so that a model is made once."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    os.environ["ILR_BENCH_CACHE"] = str(folder)
    return folder
