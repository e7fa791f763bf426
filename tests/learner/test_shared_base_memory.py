"""Twins share their base: four agents that train take little more memory than one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ilr_bench.study.cost.memory import Architecture

TWINS = Path(__file__).parents[1] / "helpers" / "twins_memory.py"
SHAPE = Architecture(512, 7, 8, 8, 64, 1408, 8192, tied=True)
RANK = 16


def measured(agents: int) -> dict[str, int]:
    """In a process of its own."""
    command = [sys.executable, str(TWINS), str(agents), str(RANK)]
    found: dict[str, int] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
def test_four_twins_that_train_take_at_most_a_fifth_more_memory_than_one() -> None:
    one, four = measured(1), measured(4)
    adapter = 4 * SHAPE.lora_parameters(RANK)
    for found, agents in ((one, 1), (four, 4)):
        assert found["parameters"] == 4 * SHAPE.parameters + agents * adapter
        # Two moments, and a step counter per tensor.
        assert 2 * agents * adapter <= found["optimizer"] <= 2 * agents * adapter * 1.001
        assert found["gradients"] == 0
    assert four["peak"] <= 1.2 * one["peak"]
