"""Tables and figures as pure functions of a study's records."""

from reports.registry import REPORTS, Report, Settings, get, names

__all__ = ["REPORTS", "Report", "Settings", "get", "names"]
