"""`ilr-bench export`: what comes out is what the trial evaluated, whole or not there; `evaluate` takes trials too."""

from __future__ import annotations

import json
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from exportable_trials import answers, base_models, logits, run_study, same_tensors, tensors
from huggingface_hub import ModelCard
from peft import AutoPeftModelForCausalLM
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline
from typer.testing import CliRunner, Result

from ilr_bench.cli import app
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.evaluation.standalone import StandaloneRun
from ilr_bench.models.export import check_folder
from ilr_bench.models.loading import load_model
from ilr_bench.storage.records import SampleRecord, Verdict, read
from ilr_bench.study import trained
from ilr_bench.study.trained import evaluated_agent, find_trained, load_agent
from reports.statistics import interval


def export(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def evaluate(model: Path, out: Path, *arguments: str) -> Path:
    """Its records of the benchmark that the trials were scored on."""
    given = ["evaluate", "--model", str(model), "--benchmarks", "sums", "--limit", "6", "--max-new-tokens", "8"]
    done = CliRunner().invoke(app, [*given, "--out", str(out), *arguments])
    assert done.exit_code == 0, done.output
    return out / "sums.jsonl"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return base_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def full(models: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trial's folder, alone in its study."""
    return run_study(models, tmp_path_factory.mktemp("full"))


@pytest.fixture(scope="module")
def lora(models: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two adapters on one base."""
    one = (models[0], models[0])
    return run_study(one, tmp_path_factory.mktemp("lora"), update__adapter="lora", update__lora_rank="4")


def test_every_agent_is_exported_with_the_bits_that_the_trial_ended_with(
    full: Path, models: tuple[str, str], tmp_path: Path
) -> None:
    done = export(full, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [str(tmp_path / "out/first"), str(tmp_path / "out/second")]
    for agent, base in zip(("first", "second"), models, strict=True):
        assert same_tensors(tmp_path / "out" / agent, full / "checkpoints/step-00000002" / agent)
        assert not same_tensors(tmp_path / "out" / agent, Path(base))
        config = json.loads((tmp_path / "out" / agent / "config.json").read_text())
        assert str(tmp_path) not in json.dumps(config)
        assert AutoTokenizer.from_pretrained(tmp_path / "out" / agent).chat_template.startswith("{% for message")
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_the_export_and_the_trial_itself_answer_as_the_trial_did(
    kind: str, full: Path, lora: Path, models: tuple[str, str], tmp_path: Path
) -> None:
    trial, agent = (full, "first") if kind == "full" else (lora, "first.2")
    assert export(trial, "--agent", agent, "--out", tmp_path / "out").exit_code == 0
    then = answers(trial / "eval" / agent / "sums.jsonl")
    assert answers(evaluate(tmp_path / "out", tmp_path / "exported", "--profile", "micro")) == then
    records = evaluate(trial, tmp_path / "trial", "--agent", agent)
    assert answers(records) == then
    assert answers(evaluate(Path(models[0]), tmp_path / "base", "--profile", "micro")) != then
    assert {record.agent for record in read(records, SampleRecord)} == {f"{agent}-ilr-0"}


def test_an_agent_keeps_its_trials_profile_and_style_unless_options_say_otherwise(full: Path, tmp_path: Path) -> None:
    asked = StandaloneRun(str(full), ("sums",), tmp_path)
    settled, load = evaluated_agent(asked, "second")
    assert (settled.agent, settled.profile, settled.style) == ("second-ilr-0", "micro", "micro")
    other, _ = evaluated_agent(replace(asked, profile="small", style="chat"), "second")
    assert (other.profile, other.style) == ("small", "chat")
    place = full / "checkpoints/step-00000001"
    earlier, load_earlier = evaluated_agent(replace(asked, model=str(place)), "second")
    assert earlier.agent == "second-ilr-0-step1"
    assert len({load("").fingerprint, load_earlier("").fingerprint, load_model(settled.model).fingerprint}) == 3
    for agent, said in ((None, "--agent first | second"), ("third", "it has first, second")):
        with pytest.raises(ConfigurationError, match=re.escape(said)):
            evaluated_agent(asked, agent)
    with pytest.raises(ConfigurationError, match="leave --agent out"):
        evaluated_agent(replace(asked, model=settled.model), "second")


def test_transformers_chats_with_it_and_stops_where_the_trial_stopped(full: Path, tmp_path: Path) -> None:
    assert export(full, "--agent", "first", "--out", tmp_path / "out").exit_code == 0
    mine = load_agent(find_trained(full), "first", "cpu")
    turn = [{"role": "user", "content": "1+2=?"}]
    chat = pipeline("text-generation", model=str(tmp_path / "out"))
    said = chat(turn, max_new_tokens=9, do_sample=False)[0]["generated_text"][-1]
    ids = mine.tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_tensors="pt")["input_ids"]
    made = mine.model.generate(ids, max_new_tokens=9, do_sample=False)[0, ids.shape[1] :]
    assert said == {"role": "assistant", "content": mine.tokenizer.decode(made, skip_special_tokens=True)}
    generation = json.loads((tmp_path / "out/generation_config.json").read_text())
    assert (generation["eos_token_id"], generation["pad_token_id"]) == (mine.end_ids[0], mine.pad_id)


def test_an_adapter_is_pefts_folder_on_its_base_and_merged_on_demand(
    lora: Path, models: tuple[str, str], tmp_path: Path
) -> None:
    adapter, merged = tmp_path / "adapter", tmp_path / "merged"
    done = export(lora, "--agent", "first.1", "--out", adapter)
    assert "--merge makes it whole" in done.stderr
    assert export(lora, "--agent", "first.1", "--merge", "--out", merged).exit_code == 0
    assert same_tensors(adapter, lora / "checkpoints/step-00000002/first.1")
    assert json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"] == models[0]
    wanted = logits(load_agent(find_trained(lora), "first.1", "cpu").model)
    for read_by in (AutoPeftModelForCausalLM, AutoModelForCausalLM):
        assert torch.equal(logits(read_by.from_pretrained(adapter)), wanted)
    assert not (merged / "adapter_config.json").exists()
    assert tensors(merged).keys() == tensors(Path(models[0])).keys()
    whole = logits(AutoModelForCausalLM.from_pretrained(merged))
    assert torch.allclose(whole, wanted, atol=1e-4)
    assert not torch.allclose(whole, logits(AutoModelForCausalLM.from_pretrained(models[0])), atol=1e-2)


def test_every_kept_step_can_be_had_and_a_missing_one_names_them(
    full: Path, models: tuple[str, str], tmp_path: Path
) -> None:
    for step, same in ((1, full / "checkpoints/step-00000001/first"), (0, Path(models[0]))):
        assert export(full, "--agent", "first", "--step", step, "--out", tmp_path / str(step)).exit_code == 0
        assert same_tensors(tmp_path / str(step), same)
    place = full / "checkpoints/step-00000001"
    assert export(place, "--agent", "first", "--out", tmp_path / "place").exit_code == 0
    assert same_tensors(tmp_path / "place", place / "first")
    card = (tmp_path / "place/README.md").read_text()
    assert "| step | 1 of 2 |" in card
    assert "model-index" not in card
    missing = export(full, "--step", 7, "--out", tmp_path / "none")
    assert missing.exit_code == 4
    assert "that checkpoint" in missing.stderr
    assert "steps there are: 0, 1, 2" in missing.stderr
    other = export(place, "--step", 2, "--out", tmp_path / "none")
    assert other.exit_code == 2
    assert not (tmp_path / "none").exists()


def test_a_study_with_one_trial_stands_for_it_and_one_with_several_lists_them(
    full: Path, lora: Path, tmp_path: Path
) -> None:
    assert export(full.parents[1], "--agent", "second", "--out", tmp_path / "one").exit_code == 0
    assert same_tensors(tmp_path / "one", full / "checkpoints/step-00000002/second")
    both = tmp_path / "study"
    shutil.copytree(full.parents[1], both)
    shutil.copytree(lora, both / "trials" / lora.name)
    study = json.loads((both / "study.json").read_text())
    study["trials"] += json.loads((lora.parents[1] / "study.json").read_text())["trials"]
    del study["sha256"]
    (both / "study.json").write_text(json.dumps(study))
    several = export(both, "--out", tmp_path / "none")
    assert several.exit_code == 4
    assert all(str(both / "trials" / trial.name) in several.stderr for trial in (full, lora))


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["TRIAL", "--agent", "third"], 2, "has no agent third; it has first, second"),
        (["MODEL"], 4, "is no trial, checkpoint or study"),
        (["TRIAL", "--out", "FULL"], 4, "is there already and not empty"),
        (["TRIAL", "--out", "FILE"], 4, "is there already and a file"),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: list[str], status: int, said: str, full: Path, models: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/kept").write_text("kept")
    places = {"TRIAL": full, "MODEL": models[0], "FULL": tmp_path / "full", "FILE": tmp_path / "full/kept"}
    done = export("--out", tmp_path / "out", *(places.get(word, word) for word in arguments))
    assert done.exit_code == status, done.output
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "full/kept").read_text() == "kept"


def test_a_trial_on_its_way_is_exported_at_its_last_checkpoint_without_scores(
    models: tuple[str, str], tmp_path: Path
) -> None:
    trial = run_study(models, tmp_path / "study", until=1)
    assert export(trial, "--agent", "first", "--out", tmp_path / "out").exit_code == 0
    assert same_tensors(tmp_path / "out", trial / "checkpoints/step-00000001/first")
    card = (tmp_path / "out/README.md").read_text()
    assert "has not scored these weights on benchmarks. Accuracy on the validation questions at this step:" in card
    assert "model-index" not in card
    shutil.rmtree(trial / "checkpoints")
    early = export(trial, "--out", tmp_path / "none")
    assert (early.exit_code, "has no checkpoint yet" in early.stderr) == (4, True)


def test_an_untrained_trial_gives_the_models_as_they_came_with_their_scores(
    models: tuple[str, str], tmp_path: Path
) -> None:
    trial = run_study(models, tmp_path / "study", "base")
    assert export(trial, "--agent", "second", "--out", tmp_path / "out").exit_code == 0
    assert same_tensors(tmp_path / "out", Path(models[1]))
    card = (tmp_path / "out/README.md").read_text()
    assert "# second-base-0\n" in card
    assert "as it came, before any training" in card
    assert "| sums | 6 |" in card
    later = export(trial, "--step", 1, "--out", tmp_path / "none")
    assert (later.exit_code, "trains nothing" in later.stderr) == (2, True)


@pytest.mark.parametrize("adapter", ["full", "lora"])
def test_after_fine_tuning_adapters_lie_on_the_fine_tuned_model(
    adapter: str, models: tuple[str, str], tmp_path: Path
) -> None:
    fine_tuning = {"warm_start__steps": "1", "warm_start__questions": "2", "questions__source": "sums"}
    words = {"prompt_style": "fewshot", "update__adapter": adapter}
    trial = run_study(models[:1], tmp_path / "study", "grpo", **fine_tuning, **words)
    for step, name in ((2, "out"), (0, "before")):
        assert export(trial, "--agent", "first", "--step", step, "--out", tmp_path / name).exit_code == 0
    assert not same_tensors(tmp_path / "before", Path(models[0]))
    wanted = logits(load_agent(find_trained(trial), "first", "cpu").model)
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(tmp_path / "out")), wanted)
    then = answers(trial / "eval/first/sums.jsonl")
    asked = ("--profile", "micro", "--style", "fewshot")
    assert answers(evaluate(tmp_path / "out", tmp_path / "records", *asked)) == then
    assert answers(evaluate(trial, tmp_path / "trial")) == then
    assert "fine-tuned, before reinforcement" in (tmp_path / "before/README.md").read_text()


def test_damaged_weights_and_another_base_model_are_refused(
    full: Path, models: tuple[str, str], tmp_path: Path
) -> None:
    trial = tmp_path / "trial"
    shutil.copytree(full, trial)
    weights = trial / "checkpoints/step-00000002/second/model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    torn = export(trial, "--out", tmp_path / "out")
    assert (torn.exit_code, "lost the checkpoint that it ended with" in torn.stderr) == (4, True)
    assert "steps there are: 0, 1" in torn.stderr
    base = Path(models[0]) / "config.json"
    before = base.read_text()
    base.write_text(before.replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-05'))
    try:
        changed = export(full, "--agent", "first", "--out", tmp_path / "out")
        untrained = export(full, "--agent", "first", "--step", 0, "--out", tmp_path / "out")
    finally:
        base.write_text(before)
    for done in (changed, untrained):
        assert (done.exit_code, "is not the one that" in done.stderr) == (4, True)
    assert not (tmp_path / "out").exists()


def test_what_fails_when_it_is_read_back_is_not_there(
    full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flipped(folder: Path, *given: object) -> None:
        path = folder / "model.safetensors"
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        check_folder(folder, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(trained, "check_folder", flipped)
    done = export(full, "--out", tmp_path / "out")
    assert (done.exit_code, "1 tensors of first are read other than they were written" in done.stderr) == (4, True)
    assert names(tmp_path) == []


def started(trial: Path, out: Path, limit: Callable[[], None] | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ilr_bench", "export", str(trial), "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=limit)


def test_a_kill_in_the_middle_leaves_no_folder_and_the_next_export_clears_up(full: Path, tmp_path: Path) -> None:
    process, out = started(full, tmp_path / "out"), tmp_path / "out"
    while not list(tmp_path.glob(".out.tmp/first/*.safetensors")):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not out.exists()
    assert names(tmp_path) == [".out.tmp"]
    assert export(full, "--out", out).exit_code == 0
    assert names(tmp_path) == ["out"]


def test_a_full_disk_is_one_line_that_says_so(full: Path, tmp_path: Path) -> None:
    def small() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    process = started(full, tmp_path / "out", small)
    _, said = process.communicate()
    assert process.returncode == 4, said
    assert said.splitlines()[-1].startswith(f"error: cannot write {tmp_path / 'out'}: ")
    assert names(tmp_path) == []


def test_the_card_says_where_the_model_comes_from_and_what_it_scores(
    full: Path, models: tuple[str, str], tmp_path: Path
) -> None:
    assert export(full, "--agent", "first", "--out", tmp_path / "out").exit_code == 0
    card = ModelCard.load(tmp_path / "out/README.md")
    data = card.data.to_dict()
    assert (data["license"], data["library_name"]) == ("mit", "transformers")
    facts = data["ilr_bench"]
    assert (facts["agent"], facts["trained_with"], facts["variant"], facts["seed"]) == ("first", "second", "ilr", 0)
    assert facts["commit"] == json.loads((full / "result.json").read_text())["versions"]["commit"]
    assert facts["data"] == "micro, 4 training and 2 validation questions"
    records = list(read(full / "eval/first/sums.jsonl", SampleRecord))
    right = [record.verdict is Verdict.CORRECT for record in records]
    found = interval([float(one) for one in right], clusters=[record.question_id for record in records])
    (result,) = card.data.eval_results
    assert (result.dataset_type, result.metric_value) == ("sums", round(100 * found.mean, 1))
    assert result.metric_name == f"accuracy in %, 95 % interval {100 * found.low:.1f} - {100 * found.high:.1f} %"
    assert "    python -m ilr_bench.sweep --models first,second --out DIR\n" in card.text
    assert f"    ilr-bench export DIR/trials/{full.name} --agent first --step 2 --out OUT\n" in card.text
    assert str(Path(models[0]).parent) not in card.content
