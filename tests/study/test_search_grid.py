"""Grids over settings: `--set KEY=V1,V2`."""

import pytest

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.study.plan import parse_overrides, plan_study


def test_a_grid_of_cooperation_ratios_is_the_trials_of_figure_3_under_other_names():
    overrides = parse_overrides(["interaction.cooperation_ratio=0.0,0.2,0.4"])
    grid = plan_study("micro", ["coin"], overrides=overrides)
    figure = plan_study("micro", ["cooperation_0.0", "cooperation_0.2", "cooperation_0.4"])
    assert [entry.hash for entry in grid.entries] == [entry.hash for entry in figure.entries]
    assert [entry.variant for entry in grid.entries] == [
        f"coin interaction.cooperation_ratio={ratio}" for ratio in ("0.0", "0.2", "0.4")
    ]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["training.steps=5", "training.steps=6"], "given twice; write training.steps=5,6"),
        (["training.steps=5,,6"], "an empty value"),
        (["training.steps=5,5"], "5 is given twice"),
    ],
)
def test_values_that_would_be_lost_or_run_twice_are_refused(texts, message):
    with pytest.raises(ConfigurationError, match=message):
        parse_overrides(texts)
