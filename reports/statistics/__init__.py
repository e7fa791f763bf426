"""Arrays in, numbers out: intervals, paired tests, corrections and power, for tables of accuracies."""

from .estimates import (
    Interval,
    PairedDifference,
    benjamini_hochberg,
    holm,
    interval,
    paired_difference,
)
from .permutation import max_t
from .power import minimum_detectable_effect

__all__ = [
    "Interval", "PairedDifference", "benjamini_hochberg", "holm", "interval", "max_t", "minimum_detectable_effect",
    "paired_difference",
]  # fmt: skip
