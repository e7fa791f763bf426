"""The benchmark: the same work on both sides, fits that find a known law, runs that continue, and their tables."""

import inspect
import json
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
from torch.utils.flop_counter import FlopCounterMode

from bench import __main__ as command
from bench import joint, limits, results, tables
from bench.clock import MemoryWatch, fastest
from bench.joint import joint_step, stock_trainers, time_joint_step
from bench.parts import Cell, Part, cells, parts
from bench.results import changes, compare, comparison, unmatched
from bench.shapes import SIZES, make_model, make_tokenizer
from ilr_bench.core.errors import MissingInputError, StoreError
from ilr_bench.grading.math import Grader

HEAVY = {"torch", "transformers", "pandas", "trl", "lm_eval", "optuna", "matplotlib"}
CELL = Cell(("tiny", "tiny"), samples=4, new_tokens=6, questions=2, repeats=1)
LIMITS = limits.Limits(1e11, 1e10)


@pytest.fixture(scope="module")
def taken(tmp_path_factory):
    """A joint step of two agents, and the part of the first one alone."""
    with Grader() as grader:
        made = []
        for alone in (False, True):
            watch = MemoryWatch(tmp_path_factory.mktemp("watch") / "timing.jsonl")
            made.append(joint_step(CELL, grader, watch, alone))
            made[-1].take()
        yield made


def row(group, what, ours, other=None):
    return {"group": group, "ours": ours, "what": what} if other is None else comparison(group, what, ours, other)


# The same work on both sides.


def test_a_stock_trainer_reads_and_samples_as_many_tokens_as_the_agent_it_stands_for(taken):
    ours = taken[0]
    for index, trainer in enumerate(stock_trainers(ours)):
        turns = [
            turn
            for stage in ("sharing", "fusion")
            for group in ours.rollouts.turns[stage][index]
            for turn in group
        ]  # fmt: skip
        assert trainer.step() == sum(len(turn.prompt.ids) + len(turn.completion.token_ids) for turn in turns)
        analyses = [group[0].prompt.ids for group in ours.rollouts.turns["analysis"][index]]
        read = trainer.analysis["attention_mask"].sum(dim=1).tolist()
        assert read == [len(ids) for ids in analyses]


def test_every_turn_of_a_joint_step_is_as_long_as_it_may_be_and_every_one_is_trained(taken):
    turns = [
        turn
        for by_agent in taken[0].rollouts.turns.values()
        for groups in by_agent
        for group in groups
        for turn in group
    ]
    assert {len(turn.completion.token_ids) for turn in turns} == {CELL.new_tokens}
    assert len(turns) == 2 * CELL.questions * (CELL.samples + 1 + CELL.samples)


def test_an_agent_alone_hears_as_much_as_among_its_peers(taken):
    together, alone = (
        [
            np.mean([len(group[0].prompt.ids) for group in one.rollouts.turns[stage][0]])
            for stage in ("analysis", "fusion")
        ]
        for one in taken
    )
    # Padding and end tokens, which random weights sample too, have no text.
    assert together == pytest.approx(alone, rel=0.05)
    assert len(taken[1].state.learners) == 1


def test_weights_move_on_both_sides(taken):
    ours = taken[0]
    (trainer, _) = stock_trainers(ours)
    fresh = make_model("tiny", 0)
    trainer.step()
    for model in (ours.state.agents[0].model, trainer.trainer.model):
        moved = [not one.equal(other) for one, other in zip(model.parameters(), fresh.parameters(), strict=True)]
        assert all(moved)


def test_a_cell_gives_its_stages_what_is_left_over_and_both_comparisons():
    rows = time_joint_step(CELL, LIMITS)
    stages = {found["what"].split(": ")[1]: found for found in rows if found["group"] == "stages"}
    assert {"sharing", "analysis", "fusion", "grading", "update", "whole step"} <= set(stages)
    assert sum(found["share"] for found in stages.values() if "share" in found) == pytest.approx(1)
    assert stages["sharing"]["tokens"] == 2 * CELL.questions * CELL.samples * CELL.new_tokens
    assert stages["update"]["tokens"] == 2 * stages["sharing"]["tokens"]
    for group in ("agents", "peers"):
        (found,) = [one for one in rows if one["group"] == group]
        assert found["ratio"] == pytest.approx(found["other"] / found["ours"])


def test_one_agent_answers_to_itself_and_has_no_peers_to_be_compared_with():
    rows = time_joint_step(Cell(("tiny",), 4, 4, 2, 1), LIMITS, with_trl=False)
    assert {found["group"] for found in rows} == {"stages"}
    assert any(found["what"].endswith(": fusion") for found in rows)


def test_models_of_two_sizes_sit_at_one_table_and_the_device_part_measures_such_a_step():
    rows = time_joint_step(Cell(("tiny", "micro"), 2, 4, 2, 1), LIMITS)
    (found,) = [one for one in rows if one["group"] == "peers"]
    assert found["what"].startswith("tiny and micro, 2 agents, 2 questions x 2")
    assert [part.name for part in parts(False, "cuda")][-1] == "joint step"
    with pytest.raises(MissingInputError, match="no such GPU"):
        command.check_device("tpu")


def test_a_cell_that_does_not_fit_says_what_it_needs(monkeypatch):
    monkeypatch.setattr(joint, "available_memory", lambda: 2 * 2**30)
    (row,) = time_joint_step(Cell(("26M", "26M"), questions=2, repeats=1))
    assert row["note"] == "not run: needs about 9 GiB of 2 free"
    assert Cell(("135M",) * 4).memory > 12 * 9 * SIZES["135M"].parameters


# The arithmetic limit.


@pytest.mark.parametrize("size", ["tiny", "micro"])
def test_operations_of_linear_layers_are_those_that_torch_counts(size):
    shape, tokens = SIZES[size], 40
    model = make_model(size)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=model.dummy_inputs["input_ids"][:1, :1].repeat(1, tokens))
    counted = sum(
        count for name, count in counter.get_flop_counts()["Global"].items() if str(name) in ("aten.mm", "aten.addmm")
    )
    groups = [limits.Group(0, (tokens,))]
    attention = 4 * shape.layers * shape.query_size * tokens * (tokens + 1) / 2
    assert limits.sampling_operations(shape, groups) - attention == pytest.approx(counted, rel=0.02)
    assert limits.update_operations(shape, groups) == 3 * limits.sampling_operations(shape, groups)


def test_a_shared_prompt_is_read_once_for_all_its_answers():
    shape = SIZES["tiny"]
    together = [limits.Group(30, (5, 5))]
    apart = [limits.Group(30, (5,)), limits.Group(30, (5,))]
    body = shape.parameters - shape.embeddings
    prompt = 2 * body * 30 + 4 * shape.layers * shape.query_size * 30**2 / 2
    assert limits.sampling_operations(shape, apart) - limits.sampling_operations(shape, together) == pytest.approx(
        prompt
    )
    assert limits.sampling_bytes(shape, together) < limits.sampling_bytes(shape, apart)


def test_text_of_the_word_tokenizer_comes_back_as_the_same_tokens():
    tokenizer = make_tokenizer("tiny")
    ids = [3, 63, 2, 17, 3]
    assert tokenizer(tokenizer.decode(ids))["input_ids"] == ids


# Comparing two results.


def test_changes_of_more_than_a_tenth_are_flagged_in_either_direction():
    old = [row("a", "one", 1.0), row("a", "two", 1.0), row("a", "three", 1.0), row("a", "four", 1.0, 2.0)]
    new = [row("a", "one", 1.11), row("a", "two", 0.89), row("a", "three", 1.09), row("a", "four", 1.0, 1.5)]
    assert [(change.what, change.key) for change in changes(old, new)] == [
        ("a: one", "ours"), ("a: two", "ours"), ("a: four", "ratio"),
    ]  # fmt: skip
    assert unmatched(old, new[1:]) == ["a: one"]


@pytest.mark.parametrize(("seconds", "status"), [(1.05, 0), (2.0, 1)])
def test_comparing_ends_with_a_status_that_a_script_can_use(tmp_path, capsys, seconds, status):
    for name, ours in (("old", 1.0), ("new", seconds)):
        results.save(results.collect([row("sampling", "micro", ours)], "cpu"), tmp_path / f"{name}.json")
    assert compare(tmp_path / "old.json", tmp_path / "new.json") == status
    assert ("sampling: micro: ours 1 -> 2 (+100%)" in capsys.readouterr().out) == bool(status)


@pytest.mark.parametrize("content", [None, "{", "{}", '{"rows": 3, "machine": "m"}'])
def test_a_file_without_results_is_refused_by_name(tmp_path, content):
    path = tmp_path / "old.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(MissingInputError, match=r"old\.json"):
        results.load(path)


# A run that continues.


def test_an_interrupted_run_goes_on_with_the_parts_that_are_missing(tmp_path, monkeypatch, capsys):
    asked, fails = [], {"b"}

    def measured(part, full, device):
        asked.append(part.name)
        if part.name in fails:
            raise command.PartFailedError(part.name)
        return [row("limits", part.name, 1.0)]

    monkeypatch.setattr(command, "UNFINISHED", tmp_path / "unfinished")
    monkeypatch.setattr(command, "measured", measured)
    monkeypatch.setattr(
        command, "parts", lambda full, device: [Part(name, 1, "limits", "measure_limits") for name in "abc"]
    )
    with pytest.raises(command.PartFailedError):
        command.run(False, "cpu", tmp_path / "out.json", False)
    assert not (tmp_path / "out.json").exists()
    fails.clear()
    command.run(False, "cpu", tmp_path / "out.json", False)
    assert asked == ["a", "b", "b", "c"]
    assert [found["what"] for found in results.load(tmp_path / "out.json")["rows"]] == ["a", "b", "c"]
    assert list((tmp_path / "unfinished").glob("*.json")) == []
    assert "| a |" in capsys.readouterr().out


def test_only_some_parts_are_measured_and_go_to_no_file_unless_one_is_named(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(command, "UNFINISHED", tmp_path / "unfinished")
    monkeypatch.setattr(command, "measured", lambda part, *_: asked.append(part.name) or [row("vllm", part.name, 1.0)])
    command.run(True, "cpu", None, False, only="joint step, 135M, 2 agents, n = 8, 24")
    assert asked == ["joint step, 135M, 2 agents, n = 8, 24 tokens"]
    assert f"| {asked[0]} |" in capsys.readouterr().out
    assert list(tmp_path.rglob("*.json")) == []
    with pytest.raises(MissingInputError, match=r"--only jial: no part.* jail"):
        command.run(False, "cpu", None, False, only="jial")


def test_every_part_names_something_that_can_be_called_with_its_arguments():
    for part in (*parts(full=True, device="cpu"), *parts(full=False, device="cuda")):
        inspect.signature(getattr(import_module(f"bench.{part.module}"), part.function)).bind(**part.arguments)


def test_parts_of_other_code_are_not_taken_over(tmp_path, monkeypatch):
    path = tmp_path / "unfinished.json"
    results.Unfinished(path, "quick").keep("a", [row("limits", "a", 1.0)])
    assert list(results.Unfinished(path, "quick").parts) == ["a"]
    monkeypatch.setattr(results, "numeric_versions", lambda: {"code": "another"})
    other = results.Unfinished(path, "quick")
    assert (other.parts, other.outdated) == ({}, True)


def test_a_part_that_dies_is_named(monkeypatch):
    done = subprocess.CompletedProcess((), -9)
    monkeypatch.setattr(command.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(command.PartFailedError, match="sampling micro was killed by signal 9"):
        command.measured(Part("sampling micro", 1, "sampling", "time_sampling"), False, "cpu")


def test_the_grid_has_every_size_number_of_agents_and_of_samples():
    grid = set(cells(full=True))
    assert {
        (size, agents, n, 48) for size in ("micro", "26M", "135M") for agents in (1, 2, 3, 4) for n in (4, 8, 16)
    } <= grid
    assert set(cells(full=False)) <= grid
    names = [part.name for part in parts(full=True, device="cpu")]
    assert len(names) == len(set(names))
    assert all(part.estimate > 0 for part in parts(full=True, device="cpu"))


# Time.


def test_the_fastest_of_each_counts_and_the_turn_that_warms_up_does_not():
    moment, spent = [0.0], iter([9.0, 1.0, 3.0, 5.0, 2.0, 7.0])

    def call():
        moment[0] += next(spent)

    assert fastest(call, call, repeats=2, clock=lambda: moment[0]) == (2.0, 5.0)


# One study against cold runs.


def test_targets_say_met_or_missed_by_the_worst_row():
    rows = [
        row("sampling", "micro, 16 prompts of 200 tokens x 8", 1.0, 4.0),
        row("sampling", "26M, 8 prompts of 200 tokens x 8", 1.0, 1.5),
        row("sampling", "micro, 16 prompts of 35 tokens x 8", 1.0, 1.5),
    ]
    lines = {line.split(" | ")[0].lstrip("| "): line for line in tables.targets(rows).splitlines()}
    assert "1.5 | missed (26M" in lines["sampling, times `generate`, 200 tokens"]
    assert "1.5 | met" in lines["sampling, times `generate`, 35 tokens"]
    assert "not measured" in lines["N agents, in the time of N apart"]


def test_a_joint_step_is_one_line_with_the_share_of_each_stage():
    def stage(name, seconds, **more):
        return row("stages", f"micro, 2 agents: {name}", seconds) | {"share": seconds / 4} | more

    rows = [
        stage("sharing", 1.0, compute=0.061, bandwidth=0.052),
        stage("analysis", 0.4, compute=0.04, bandwidth=0.3),
        stage("fusion", 0.6, compute=0.1, bandwidth=0.06),
        stage("grading", 0.02),
        stage("update", 1.96, compute=0.2),
        stage(tables.REST, 0.02),
        row("stages", "micro, 2 agents: whole step", 4.0) | {"memory": 1234},
    ]
    (line,) = tables.steps(rows).splitlines()[2:]
    assert line == "| micro, 2 agents | 4 | 25% | 10% | 15% | 49% | 1.0% | 6 / 4 / 10 / 20 % | 5 / 30 / 6 % | 1,234 |"


def test_the_page_changes_between_its_marks_only(tmp_path):
    saved = results.collect([row("sampling", "micro", 1.0, 2.0)], "cpu")
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n")
    tables.write_docs(saved, False, tmp_path)
    before, rest = page.read_text().split(tables.BEGIN)
    block, after = rest.split(tables.END)
    assert (before, after) == ("before\n", "\nafter\n")
    assert "| micro | 1 | 2 | 2.00 |" in block
    assert "old" not in block
    page.write_text("no marks")
    with pytest.raises(StoreError, match="bench: begin"):
        tables.write_docs(saved, False, tmp_path)


@pytest.mark.parametrize(("path", "page"), [(command.OUT, "performance.md"), (command.GRID, "performance-grid.md")])
def test_the_committed_results_are_readable_and_on_their_page(path, page):
    committed = results.load(path)
    assert json.loads(path.read_text())["date"] == committed["date"]
    assert tables.markdown(committed) in (tables.DOCS / page).read_text()


# Start-up.


@pytest.mark.parametrize("arguments", ["", "--help"])
def test_import_and_help_load_no_heavy_library(arguments):
    code = (
        "import sys, ilr_bench\n"
        f"if {arguments!r}:\n"
        "    from ilr_bench.cli import main\n"
        f"    sys.argv[1:] = [{arguments!r}]\n"
        "    try:\n        main()\n    except SystemExit:\n        pass\n"
        f"print('loaded', sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded []"
