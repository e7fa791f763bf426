"""Tables and figures as pure functions of a study's records."""

from reports.registry import REPORTS, Report, get, names

__all__ = ["REPORTS", "Report", "get", "names"]
