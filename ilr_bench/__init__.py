"""ilr_bench: a laboratory for interactive learning of language models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ilr_bench.core import beside

if TYPE_CHECKING:
    import ablations as ablations

beside.install()
