"""ilr_bench: a laboratory for interactive learning of language models.

From Python: `ilr_bench.train`, `ilr_bench.evaluate` and `ilr_bench.load` (docs/python.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ilr_bench.core import beside
from ilr_bench.core.lazy import public

if TYPE_CHECKING:
    import ablations as ablations
    from ilr_bench.cli.api import evaluate as evaluate
    from ilr_bench.cli.api import load as load
    from ilr_bench.cli.api import train as train

beside.install()
__getattr__, __all__ = public(__name__, **{"cli.api": "evaluate load train", "cli.results": "Evaluation Study Table"})
