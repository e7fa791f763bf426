"""Variants: named changes of a run's configuration, one function each.

A variant is a value made from another one; nothing in the trainer asks which one it runs. Other packages
add theirs through the entry-point group `ilr_bench.variants` (docs/adding-a-variant.md).
"""

from ilr_bench.core import beside

if __name__ == "ablations":  # the global name
    beside.share(__name__)

from .registry import VARIANTS, Variant, get, names, register

__all__ = ["VARIANTS", "Variant", "get", "names", "register"]
