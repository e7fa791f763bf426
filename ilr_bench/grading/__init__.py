"""Verdicts: is an answer right, does a program pass its tests; untrusted input runs in processes that may be killed."""
