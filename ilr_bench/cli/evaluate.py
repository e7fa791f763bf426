"""One model alone on benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ilr_bench.cli.app import app, say_rows
from ilr_bench.core.console import fail_in_one_line, note
from ilr_bench.core.hardware import yield_idle_cores
from ilr_bench.models.catalogue import AcceptLicence, accept
from ilr_bench.study.servers import Insecure, TinkerUrls, note_servers_asked

EXAMPLES = """Examples:

  ilr-bench evaluate --model smollm2 --benchmarks paper --limit 50 --out runs/smollm2

  ilr-bench evaluate --model ./checkpoint --benchmarks gsm8k,math500 --samples 8 --temperature 0.7 --out runs/sampled

  ilr-bench evaluate --model runs/one --agent A --benchmarks sums --out runs/sums

  ilr-bench evaluate --model owner/model --dtype bfloat16 --benchmarks paper-v4,generated --out runs/model

  ilr-bench evaluate --model smollm2 --benchmarks lm_eval:gsm8k,lm_eval:mmlu_pro --limit 100 --out runs/lm_eval

  ilr-bench evaluate --model smollm2 --benchmarks mine.csv:question=prompt:answer=target --out runs/mine

The same command again continues where it was interrupted. docs/evaluation.md has each benchmark's prompt, token limit
and scorer."""


@app.command(epilog=EXAMPLES)
def evaluate(
    model: Annotated[
        str,
        typer.Option(
            help="A model's name (`ilr-bench models`), folder, GGUF file or hub name; or the folder of a trial, of a "
            "checkpoint, or of a study with one trial."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the records; what it holds already is not run again.")],
    benchmarks: Annotated[
        str,
        typer.Option(
            help="Benchmarks or groups (`ilr-bench benchmarks`), own files (mine.jsonl), or lm_eval:TASK, with commas."
        ),
    ] = "micro",
    agent: Annotated[str | None, typer.Option(help="Which agent of a trial, where it has several.")] = None,
    limit: Annotated[int | None, typer.Option(help="Questions per benchmark (default: all).", min=1)] = None,
    samples: Annotated[int, typer.Option(help="Answers per question.", min=1)] = 1,
    temperature: Annotated[float, typer.Option(help="0 is greedy.", min=0.0)] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the sampling.")] = 0,
    profile: Annotated[
        str | None, typer.Option(help="Take prompt style and limits from it (default: the trial's, or from the model).")
    ] = None,
    style: Annotated[
        str | None,
        typer.Option(help="Wording: chat, short, fewshot or micro (default: chat where there is a chat template)."),
    ] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(
            help="Longest answer, whatever a benchmark states; 32768 for models that think first. Never above the "
            "model's context.",
            min=1,
        ),
    ] = None,
    batch_tokens: Annotated[
        int | None, typer.Option(help="Tokens, prompts and answers, in one batch; less takes less memory.", min=1)
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    engine: Annotated[
        str | None, typer.Option(help="What samples: transformers, vllm or tinker (default: the profile's).")
    ] = None,
    tinker_urls: TinkerUrls = None,
    tinker_insecure: Insecure = False,
    jail: Annotated[bool, typer.Option(help="Run the model's programs in a jail.")] = True,
    apply_chat_template: Annotated[
        bool, typer.Option("--apply-chat-template", help="Ask lm-eval's own tasks through the chat template.")
    ] = False,
    include_path: Annotated[
        Path | None, typer.Option(help="Folder of tasks in lm-eval's format, for lm_eval:TASK.")
    ] = None,
    log_format: Annotated[
        str,
        typer.Option(help="Logs of the answers for other viewers: lm-eval (in any case) or inspect, in OUT/inspect."),
    ] = "lm-eval",
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print what will be asked and stop; exit status 7: the model does not fit here."
        ),
    ] = False,
    accept_licence: AcceptLicence = None,
) -> None:
    """Scores one model alone."""
    yield_idle_cores()
    from ilr_bench.cli.inspect_log import check_format, write_inspect_logs
    from ilr_bench.cli.standalone_table import remarks, standalone_table
    from ilr_bench.evaluation.standalone import StandaloneRun, evaluate_model
    from ilr_bench.study.trained import evaluated_agent

    with fail_in_one_line():
        accept(accept_licence)
        check_format(log_format)
        note_servers_asked(tinker_urls, tinker_insecure, None)
        run = StandaloneRun(
            model=model,
            benchmarks=tuple(benchmarks.split(",")),
            out=out,
            limit=limit,
            samples=samples,
            temperature=temperature,
            seed=seed,
            profile=profile,
            style=style,
            max_new_tokens=max_new_tokens,
            batch_tokens=batch_tokens,
            dtype=dtype,
            engine=engine,
            jail=jail,
            chat_template=apply_chat_template,
            include_path=include_path,
        )
        run, load = evaluated_agent(run, agent)
        if dry_run:
            from ilr_bench.study.cost.evaluation import say_evaluation
            from ilr_bench.study.cost.fits import available_resources

            say_evaluation(run, available_resources(out))
            return
        names = tuple(evaluate_model(run, load))
        say_rows(standalone_table(out, names))
        for remark in remarks(out, names):
            note(remark)
        note(f"records in {out}")
        if log_format == "inspect":
            note(f"logs for inspect view in {write_inspect_logs(out, names, model)}")
