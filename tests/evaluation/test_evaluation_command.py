"""`ilr-bench evaluate`: defaults that fit the model, wishes that contradict each other, one table from records."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_models import tiny_model, tiny_tokenizer
from typer.testing import CliRunner, Result

from ilr_bench.cli import app
from ilr_bench.cli.standalone_table import standalone_table, unread
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.profiles import profile
from ilr_bench.evaluation.standalone import BATCH_TOKENS, StandaloneRun, claim, standalone_config
from ilr_bench.models.loading import LoadedModel, save_prepared
from ilr_bench.storage.records import SampleRecord, Verdict, read, to_line
from ilr_bench.study.cost import fits as cost_fits
from ilr_bench.study.cost.fits import Resources
from ilr_bench.study.cost.memory import MIB
from ilr_bench.tasks.types import BENCHMARKS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    index = tmp_path_factory.mktemp("model")
    save_prepared(tiny_model(), tiny_tokenizer(), index)
    return index


def evaluate(folder: Path, out: Path, *wishes: str) -> Result:
    given = ["evaluate", "--model", str(folder), "--out", str(out), "--benchmarks", "sums", *wishes]
    return CliRunner().invoke(app, given)


def loaded(template: str | None) -> LoadedModel:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    return LoadedModel(tiny_model(), tokenizer, (1,), 0, Path(), "fingerprint")


def asked(**wishes: Any) -> StandaloneRun:
    return StandaloneRun(**{"model": "some/model", "benchmarks": ("sums",), "out": Path("out")} | wishes)


def test_one_table_with_intervals_from_a_local_folder_and_the_same_again_at_once(folder: Path, tmp_path: Path) -> None:
    wishes = ("--limit", "7", "--max-new-tokens", "8", "--samples", "4", "--temperature", "1")
    first = evaluate(folder, tmp_path / "out", *wishes)
    assert first.exit_code == 0, first.output
    head, line = first.stdout.splitlines()
    assert head.split("  ")[0] == "benchmark"
    assert all(title in head for title in ("accuracy", "95 % interval", "pass@4", "maj@4", "time-outs", "unfinished"))
    assert line.split()[:4] == ["sums", "7", "0.0", "%"]
    records = list(read(tmp_path / "out/sums.jsonl", SampleRecord))
    assert len(records) == 28
    assert len({record.completion for record in records}) > 10
    assert json.loads((tmp_path / "out/timing.jsonl").read_text().splitlines()[0])["stage"] == "sums"
    changed = (tmp_path / "out/sums.jsonl").stat().st_mtime_ns
    again = evaluate(folder, tmp_path / "out", *wishes)
    assert again.stdout == first.stdout
    assert (tmp_path / "out/sums.jsonl").stat().st_mtime_ns == changed


def test_only_the_benchmark_whose_rows_changed_is_evaluated_again_and_that_is_said(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wishes = ("--benchmarks", "sums,micro_ood", "--limit", "5", "--max-new-tokens", "4")
    assert evaluate(folder, tmp_path, *wishes).exit_code == 0
    kept = (tmp_path / "micro_ood.jsonl").stat().st_mtime_ns
    sums = BENCHMARKS.get("sums")
    first, *rest = sums.load()
    edited = replace(sums, load=lambda: (replace(first, gold="77"), *rest))
    monkeypatch.setitem(BENCHMARKS._entries, "sums", edited)
    again = evaluate(folder, tmp_path, *wishes)
    assert "benchmark sums (first 5): 1 of 5 rows changed; sums is evaluated again" in again.output
    assert next(read(tmp_path / "sums.jsonl", SampleRecord)).gold == "77"
    assert (tmp_path / "micro_ood.jsonl").stat().st_mtime_ns == kept


def test_other_settings_need_another_folder(folder: Path, tmp_path: Path) -> None:
    assert evaluate(folder, tmp_path, "--limit", "1", "--max-new-tokens", "2").exit_code == 0
    other = evaluate(folder, tmp_path, "--limit", "1", "--max-new-tokens", "3")
    assert other.exit_code == 2
    assert "other settings (token_limit); choose another --out" in other.output


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        (("--samples", "4"), "set --temperature"),
        (("--dtype", "float64"), "choose one of float32, bfloat16"),
        (("--style", "chatty"), "did you mean chat?"),
        (("--profile", "mikro"), "did you mean micro?"),
        (("--benchmarks", "sumss"), "did you mean sums?"),
    ],
)
def test_contradictions_are_one_line_and_a_status(
    wishes: tuple[str, ...], message: str, folder: Path, tmp_path: Path
) -> None:
    result = evaluate(folder, tmp_path / "out", *wishes)
    assert result.exit_code == 2
    assert message in result.output
    assert not list((tmp_path / "out").glob("*.jsonl"))


def test_style_and_limits_follow_from_the_model() -> None:
    config = standalone_config(asked(), loaded("{{ messages }}"))
    assert config.prompt_style == "chat"
    assert (config.evaluation.batch_tokens, config.sampling.max_prompt_tokens) == (BATCH_TOKENS, 1024)
    assert standalone_config(asked(), loaded(None)).prompt_style == "fewshot"
    assert standalone_config(asked(style="fewshot", batch_tokens=77), loaded("x")).prompt_style == "fewshot"
    assert standalone_config(asked(batch_tokens=77), loaded("x")).evaluation.batch_tokens == 77


@pytest.mark.parametrize(("model", "named"), [("A", None), ("some/model", "micro")])
def test_micro_models_and_named_profiles_keep_the_profiles_style_and_limits(model: str, named: str | None) -> None:
    config = standalone_config(asked(model=model, profile=named, limit=3), loaded("x"))
    micro = profile("micro")
    assert (config.prompt_style, config.sampling) == (micro.prompt_style, micro.sampling)
    assert (config.evaluation.max_new_tokens, config.evaluation.rows_per_call) == (96, 512)
    assert (config.evaluation.batch_tokens, config.evaluation.limit) == (None, 3)


def test_a_folder_belongs_to_one_model(tmp_path: Path) -> None:
    claim(tmp_path, {"model": "a", "seed": 0})
    claim(tmp_path, {"model": "a", "seed": 0})
    with pytest.raises(ConfigurationError, match=r"\(model\)"):
        claim(tmp_path, {"model": "b", "seed": 0})


def written(folder: Path, name: str, records: list[SampleRecord]) -> None:
    (folder / f"{name}.jsonl").write_text("".join(to_line(record) + "\n" for record in records))


def sample(name: str, question: int, k: int, verdict: Verdict, **others: Any) -> SampleRecord:
    answer = None if verdict is Verdict.MISSING else "7"
    return SampleRecord(name, "m", f"q{question}", k, "h", "said", answer, "7", verdict, 5, 0, **others)


def test_the_table_counts_what_is_not_right_and_why(tmp_path: Path) -> None:
    verdicts = [Verdict.CORRECT, Verdict.WRONG, Verdict.MISSING, Verdict.TIMEOUT]
    written(
        tmp_path,
        "sums",
        [sample("sums", n, 0, verdicts[n % 4], finished=n > 2, cut_prompt=9 * (n == 5)) for n in range(8)],
    )
    head, row = standalone_table(tmp_path, ["sums"])
    cells = dict(zip(head, row, strict=True))
    assert (cells["questions"], cells["accuracy"]) == ("8", "25.0 % (38 % cut)")
    assert (cells["no answer"], cells["time-outs"], cells["unfinished"], cells["cut prompts"]) == ("2", "2", "3", "1")
    low, high = (float(part) for part in cells["95 % interval"].removesuffix(" %").split(" - "))
    assert 0 < low < 25 < high < 100


def test_a_benchmark_is_named_whose_whole_answers_lack_the_form_asked_for(tmp_path: Path) -> None:
    half = [Verdict.MISSING, Verdict.WRONG] * 4
    written(tmp_path, "half", [sample("half", n, 0, verdict) for n, verdict in enumerate(half)])
    written(tmp_path, "most", [sample("most", n, 0, verdict) for n, verdict in enumerate([Verdict.MISSING, *half])])
    cut = [Verdict.MISSING] * 9 + [Verdict.WRONG]
    written(tmp_path, "cut", [sample("cut", n, 0, verdict, finished=n == 9) for n, verdict in enumerate(cut)])
    assert unread(tmp_path, ["half", "most", "cut"]) == ["most"]


def test_votes_are_counted_for_answers_and_not_for_programs(tmp_path: Path) -> None:
    for name in ("sums", "micro_code"):
        written(
            tmp_path,
            name,
            [sample(name, n, k, Verdict.CORRECT if k else Verdict.MISSING) for n in (0, 1) for k in (0, 1)],
        )
    head, sums, code = standalone_table(tmp_path, ["sums", "micro_code"])
    index = head.index("pass@2")
    assert (sums[index], sums[index + 1]) == ("100.0 %", "100.0 %")
    assert (code[index], code[index + 1]) == ("100.0 %", "-")
    assert sums[2] == "50.0 %"


def test_the_papers_average_is_printed_where_its_five_benchmarks_are(tmp_path: Path) -> None:
    names = ["gsm8k", "math500", "minerva", "olympiadbench", "aime"]
    for index, name in enumerate(names):
        right = [Verdict.CORRECT if n < index else Verdict.WRONG for n in range(10 + index)]
        written(tmp_path, name, [sample(name, n, 0, verdict) for n, verdict in enumerate(right)])
    assert len(standalone_table(tmp_path, names[1:])) == 5
    *_, average = standalone_table(tmp_path, names)
    expected = 100 * sum(index / (10 + index) for index in range(5)) / 5
    assert average[:3] == ("Avg", "60", f"{expected:.1f} %")


def test_every_metric_of_lm_evals_tasks_has_a_line(tmp_path: Path) -> None:
    metrics = {"exact_match,strict-match": 1.0, "exact_match,flexible-extract": 0.0}
    written(
        tmp_path,
        "lm_eval.gsm8k",
        [sample("lm_eval:gsm8k", n, 0, Verdict.CORRECT, metrics=metrics) for n in range(3)],
    )
    _, first, second = standalone_table(tmp_path, ["lm_eval:gsm8k"])
    assert (first[0], first[2]) == ("lm_eval:gsm8k exact_match,strict-match", "100.0 %")
    assert (second[0], second[2]) == ("lm_eval:gsm8k exact_match,flexible-extract", "0.0 %")


@pytest.mark.parametrize(
    ("wishes", "here", "said"),
    [
        ((), Resources(MIB * 600, (), 0), "the process and the weights take"),
        (("--dtype", "bfloat16"), Resources(0, (MIB // 64,), 0), "the largest card here has"),
    ],
)
def test_a_dry_run_lists_what_would_be_asked_and_refuses_weights_that_do_not_fit(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wishes: tuple[str, ...], here: Resources, said: str
) -> None:
    fits = evaluate(folder, tmp_path / "out", "--dry-run", *wishes)
    assert fits.exit_code == 0, fits.output
    monkeypatch.setattr(cost_fits, "available_resources", lambda out: here)
    ended = evaluate(folder, tmp_path / "out", "--dry-run", *wishes)
    assert ended.exit_code == 7
    assert ended.stdout == fits.stdout
    assert said in ended.stderr
    assert ("--dtype bfloat16" in ended.stderr) == (not wishes)
    assert not (tmp_path / "out").exists()
