"""A warm start: solutions the style can read, a model made once for all seeds, steps that are logged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_models import END, VOCABULARY, tiny_model, tiny_tokenizer
from tiny_trials import run_plan, tiny_checkpoints, tiny_plan

from ilr_bench.core.config import RunConfig, SamplingSettings, UpdateSettings, WarmStartSettings
from ilr_bench.core.errors import ConfigurationError, NumericalError
from ilr_bench.core.profiles import profile
from ilr_bench.core.validation import validate
from ilr_bench.learner.build import build_agents
from ilr_bench.learner.sft import LOG, completion_ids, format_solution, write_log
from ilr_bench.models.loading import save_prepared
from ilr_bench.prompts import STYLES
from ilr_bench.storage.records import WarmStartRecord, read, read_result
from ilr_bench.tasks.sources import SOURCES, Question

WORDED = Question("q", "Six of 2 boxes?", "12", ("2*6=12",))


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    monkeypatch.setenv("ILR_BENCH_CACHE", str(tmp_path / "cache"))
    save_prepared(tiny_model(scale=0.1), tiny_tokenizer(), tmp_path / "tiny")
    return replace(
        profile("small"),
        models=(str(tmp_path / "tiny"),) * 2,
        warm_start=WarmStartSettings(steps=12, questions=8, rows_per_step=4, learning_rate=1e-2),
        update=UpdateSettings(adapter="lora", lora_rank=2),
        sampling=SamplingSettings(max_prompt_tokens=400, max_new_tokens=8),
    )


def cached(config: RunConfig) -> list[str]:
    folder = Path(config.models[0]).parent / "cache" / "models"
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.exists() else []


@pytest.mark.parametrize("name", ["fewshot", "chat", "micro"])
def test_a_solution_is_written_so_that_its_style_finds_the_answer(name: str) -> None:
    style = STYLES.get(name)
    text = format_solution(WORDED, style)
    assert style.extract_answer(text) == "12"
    assert "2*6=12" in text


def test_a_sum_is_its_own_solution_and_other_questions_need_steps() -> None:
    assert format_solution(SOURCES.get("sums").load(1, 1)[0][0], STYLES.get("fewshot")).lstrip("-").isdecimal()
    with pytest.raises(
        ConfigurationError, match="question q has no worked solution that the prompt style chat can read"
    ):
        format_solution(replace(WORDED, steps=()), STYLES.get("chat"))


def test_solutions_end_as_turns_end(config: RunConfig) -> None:
    for name, ending in (("fewshot", VOCABULARY["\n"]), ("chat", END)):
        (loaded_agent, _) = build_agents(replace(config, prompt_style=name, warm_start=WarmStartSettings()))
        assert completion_ids("12", loaded_agent.agent, loaded_agent.loaded)[-1] == ending
        assert loaded_agent.agent.decode(completion_ids("12", loaded_agent.agent, loaded_agent.loaded)) == "12"


def test_a_warm_start_is_made_once_for_all_seeds_and_learns(config: RunConfig, tmp_path: Path) -> None:
    loaded_agents = build_agents(config)
    made = cached(config)
    assert len(made) == 1
    again = build_agents(replace(config, seed=5, variant="base"))
    assert cached(config) == made
    assert {loaded_agent.loaded.fingerprint for loaded_agent in (*loaded_agents, *again)} == {
        loaded_agents[0].loaded.fingerprint
    }
    assert (
        loaded_agents[0].loaded.fingerprint
        != build_agents(replace(config, warm_start=WarmStartSettings()))[0].loaded.fingerprint
    )
    build_agents(replace(config, warm_start=replace(config.warm_start, steps=2)))
    assert len(cached(config)) == 2

    write_log(
        tmp_path / "trial", {loaded_agent.agent.name: loaded_agent.loaded.folder for loaded_agent in loaded_agents}
    )
    records = list(read(tmp_path / "trial" / LOG, WarmStartRecord))
    assert [(record.agent, record.step) for record in records] == [
        (agent, step) for agent in config.agents for step in range(1, 13)
    ]
    losses = [record.loss for record in records if record.agent == config.agents[0]]
    assert losses[-1] < 0.7 * losses[0]
    assert all(record.tokens > 4 for record in records)


def test_nothing_is_made_or_logged_without_steps(config: RunConfig, tmp_path: Path) -> None:
    loaded_agents = build_agents(replace(config, warm_start=WarmStartSettings()))
    write_log(tmp_path, {loaded_agent.agent.name: loaded_agent.loaded.folder for loaded_agent in loaded_agents})
    assert not cached(config)
    assert not (tmp_path / LOG).exists()


def test_a_warm_start_that_diverges_stops_and_leaves_nothing(config: RunConfig) -> None:
    with pytest.raises(NumericalError, match=r"warm start, step 3: the loss is nan; lower warm_start\.learning_rate"):
        build_agents(replace(config, warm_start=replace(config.warm_start, learning_rate=1e30)))
    assert not cached(config)


def test_every_agent_has_the_prompt_style_that_is_named_for_it(config: RunConfig) -> None:
    mixed = replace(config, prompt_style="fewshot+chat", warm_start=WarmStartSettings())
    assert [loaded_agent.agent.style.name for loaded_agent in build_agents(mixed)] == ["fewshot", "chat"]
    assert validate(mixed) is mixed
    assert replace(mixed, prompt_style="chat").styles == ("chat", "chat")
    with pytest.raises(ConfigurationError, match="prompt_style: 3 styles for 2 agents"):
        validate(replace(mixed, prompt_style="chat+chat+fewshot"))


def test_a_trial_measures_trains_and_logs_what_was_warmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ILR_BENCH_CACHE", str(tmp_path / "cache"))
    models = tiny_checkpoints(tmp_path)
    warm = {"warm_start__steps": "2", "warm_start__questions": "4", "warm_start__rows_per_step": "2"}
    plan = tiny_plan(models, "base", "ilr", **warm)
    run_plan(plan, tmp_path / "study")
    plain = tiny_plan(models, "base")
    run_plan(plain, tmp_path / "study")
    folders = {trial.config.variant: tmp_path / "study" / trial.folder for trial in plan.trials}
    logs = [(folder / LOG).read_bytes() for folder in folders.values()]
    assert logs[0] == logs[1]
    assert {record.agent for record in read(folders["ilr"] / LOG, WarmStartRecord)} == {"first", "second"}
    assert not (tmp_path / "study" / plain.trials[0].folder / LOG).exists()
    measured = [read_result(tmp_path / "study" / trial.folder).artifacts for trial in (*plan.trials, *plain.trials)]
    assert measured[0] == measured[1]
    assert not set(measured[0].values()) & set(measured[2].values())
