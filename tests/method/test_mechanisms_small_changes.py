"""Under which names, settings and entry points the method's mechanisms are found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.method.advantages import ESTIMATORS
from ilr_bench.method.calibration import CALIBRATIONS
from ilr_bench.method.interaction import RULES, Situation, cooperation
from ilr_bench.method.rewards import REWARDS
from ilr_bench.method.stages import STAGES


@pytest.mark.parametrize(
    ("registry", "kind", "setting", "group"),
    [
        (CALIBRATIONS, "calibration", "calibration.kind", "ilr_bench.calibrations"),
        (RULES, "interaction rule", "interaction.rule", "ilr_bench.rules"),
        (ESTIMATORS, "advantage estimator", "advantages.kind", "ilr_bench.advantages"),
        (REWARDS, "reward", "reward.kind", "ilr_bench.rewards"),
        (STAGES, "stage", "discussion.stages", "ilr_bench.stages"),
    ],
)
def test_mechanisms_are_found_by_setting_and_by_entry_point(registry: Any, kind: str, setting: str, group: str) -> None:
    assert (registry.setting, registry._group) == (setting, group)
    with pytest.raises(ConfigurationError, match=f"^unknown {kind} 'nobody'"):
        registry.get("nobody")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (np.ones((2, 3)), r"float64 of shape \(2, 3\) came back"),
        (np.ones((3, 2), dtype=bool), r"bool of shape \(3, 2\) came back"),
        (np.ones((2, 1)), r"float64 of shape \(2, 1\) came back"),
    ],
)
def test_a_rule_returns_true_or_false_for_every_agent_and_question(found: Any, said: str) -> None:
    situation = Situation(np.zeros(2), np.zeros(3), np.zeros(3), np.random.default_rng(0))
    with pytest.raises(ConfigurationError, match=said):
        cooperation(lambda _: found, situation)
    assert cooperation(lambda _: np.ones((2, 3), dtype=bool), situation).all()
