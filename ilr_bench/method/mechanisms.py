"""Every mechanism that a configuration names: looked up before anything runs, and told by its source."""

from __future__ import annotations

from typing import Any

from ilr_bench.core.config import RunConfig
from ilr_bench.core.plugins import label_of
from ilr_bench.core.registry import Mechanisms
from ilr_bench.method.advantages import ESTIMATORS
from ilr_bench.method.calibration import CALIBRATIONS
from ilr_bench.method.interaction import RULES
from ilr_bench.method.rewards import REWARDS
from ilr_bench.method.stages import STAGES, remark_stages

KINDS: tuple[Mechanisms[Any], ...] = (CALIBRATIONS, REWARDS, RULES, ESTIMATORS)


def check_mechanisms(config: RunConfig) -> None:
    """Raises ConfigurationError for what is unknown, cannot be loaded, or has settings that do not fit."""
    for registry in KINDS:
        registry.of(config)
    remark_stages(config)


def outside_modules(config: RunConfig) -> dict[str, str]:
    """`reward mine.py:shorter` -> module, for every mechanism of a configuration that is not this project's own."""
    found: dict[str, str] = {}
    named = [(registry, registry.name_in(config)) for registry in KINDS]
    for registry, name in [*named, *((STAGES, stage) for stage in config.discussion.stages)]:
        module = registry.plugin(name)
        if module is not None:
            found[f"{registry.kind} {label_of(name)}"] = module
    return found
