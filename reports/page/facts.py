"""Settings and runs, as rows of text for the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ilr_bench.core.config import RunConfig

from ..figures.step_blocks import ordered
from ..frames import StudyFrames, settings_of


@dataclass(frozen=True)
class SettingRow:
    """One setting over all variants."""

    key: str
    values: tuple[str, ...]
    differs: tuple[bool, ...]
    """Where the value is not that of the reference variant."""


@dataclass(frozen=True)
class Settings:
    """The configurations of a study, compared."""

    variants: tuple[str, ...]
    reference: str
    different: tuple[SettingRow, ...]
    common: tuple[tuple[str, str], ...]


def variant_configs(frames: StudyFrames) -> dict[str, RunConfig]:
    """Variant (with its group where there are several) -> the configuration of its first run."""
    found: dict[str, RunConfig] = {}
    home = frames.trials["models"].iloc[0]
    for row in frames.trials.drop_duplicates(["variant", "models"]).to_dict("records"):
        groups = frames.trials.loc[frames.trials["variant"] == row["variant"], "models"]
        elsewhere = groups.nunique() > 1 and row["models"] != home
        found[f"{row['variant']} ({row['models']})" if elsewhere else row["variant"]] = frames.configs[row["folder"]]
    return {name: found[name] for name in ordered(list(found))}


def settings(frames: StudyFrames) -> Settings:
    """Settings that differ between variants, against `ilr` (or the first variant), and those that are alike in all.

    The number of samples of a run that matches another one's tokens is that of its first seed.
    """
    configs = variant_configs(frames)
    names = tuple(configs)
    reference = "ilr" if "ilr" in configs else names[0]
    flat = {name: settings_of(config) for name, config in configs.items()}
    different, common = [], []
    for key in dict.fromkeys(key for name in (reference, *names) for key in flat[name]):
        values = [flat[name].get(key) for name in names]
        if all(value == values[0] for value in values):
            common.append((key, _text(values[0])))
        else:
            base = flat[reference].get(key)
            different.append(SettingRow(key, tuple(map(_text, values)), tuple(value != base for value in values)))
    return Settings(names, reference, tuple(different), tuple(common))


RUN_HEAD = (
    "Variant", "Models", "Seed", "Agent", "Accuracy before, %", "Rule cooperates on, %", "Steps", "Tokens (k)",
    "Valid rankings", "Trial",
)  # fmt: skip
RUN_WORDS = (
    "A row per run and model. Accuracy before: on held-out questions, before training; the item-response rule takes it "
    "for the model's ability. Rule cooperates on: the share of training questions on which that rule would have it "
    "cooperate, whether it discussed or not. Tokens: sampled for it while training. Valid rankings: how many lists of "
    "questions the model put in an order, as it was asked to before training. Trial: the run's folder ends in this."
)


def runs(frames: StudyFrames) -> list[tuple[str, ...]]:
    """A row of text per trial and agent, under RUN_HEAD."""
    rows: list[tuple[str, ...]] = []
    for row in frames.trials.to_dict("records"):
        result = frames.results[row["folder"]]
        rankings = "–"
        if valid := result.difficulty.get("valid_rankings"):
            index = result.agents.index(row["agent"])
            rankings = f"{valid[index]} of {valid[index] + result.difficulty['invalid_rankings'][index]}"
        rows.append(
            (
                row["variant"], row["models"], str(row["seed"]), row["agent"], _percent(row["ability"]),
                _percent(row["rule_cooperation"]), str(row["steps"]), f"{row['sampled_tokens'] / 1000:,.0f}", rankings,
                row["hash"],
            )
        )  # fmt: skip
    return rows


def versions(frames: StudyFrames) -> list[tuple[str, str]]:
    """Package (and commit, lock) -> its version, or all of them where runs differ."""
    found: dict[str, list[str]] = {}
    for result in frames.results.values():
        for name, version in result.versions.items():
            if version not in found.setdefault(name, []):
                found[name].append(version)
    return [(name, " and ".join(values)) for name, values in found.items()]


def _percent(value: float | None) -> str:
    return "–" if value is None or value != value else f"{100 * value:.0f}"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "–" if value is None else str(value)
