"""Tables and figures as pure functions of a study's records."""

from ilr_bench.core import beside

if __name__ == "reports":  # the global name
    beside.share(__name__)

from .registry import REPORTS, Report, Settings, get, names

__all__ = ["REPORTS", "Report", "Settings", "get", "names"]
