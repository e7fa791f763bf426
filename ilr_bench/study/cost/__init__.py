"""What a study will cost before it runs: turns, tokens, seconds, memory, disk, GPU-hours; and whether it fits."""

from ilr_bench.study.cost.memory import peak_memory

__all__ = ["peak_memory"]
