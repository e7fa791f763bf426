"""Two models trained together through two servers on loopback, killed and continued, beside the local learner.

`python -m bench.tinker --server PYTHON --out DIR`; PYTHON is the interpreter of an environment with the server
(`nox -s tinker` makes one). Every part says what it found; the first that fails ends the run with exit status 1.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.tinker.proxy import proxy

PORTS = {"llama": 8101, "qwen": 8102}
SETTINGS = {
    "training.steps": 5, "training.questions_per_step": 2, "training.checkpoint_every": 1, "training.validate_every": 0,
    "questions.train": 4, "questions.validation": 2, "difficulty.shuffles": 1, "sampling.samples": 2,
    "sampling.max_new_tokens": 16, "sampling.max_analysis_tokens": 16, "sampling.max_ranking_tokens": 8,
    "update.learning_rate": 0.001, "evaluation.limit": 2, "evaluation.max_new_tokens": 16,
}  # fmt: skip
SERVER = {"max_lora_adapters": 24, "max_lora_rank": 16, "train_micro_batch_size": 16, "sample_max_num_sequences": 16}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs all parts; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--server", required=True, help="Python of the server's environment.")
    parser.add_argument("--out", type=Path, default=Path("runs/tinker"))
    parser.add_argument("--parts", default="same,train,sweep,faults", help="Which parts, with commas.")
    given = parser.parse_args(arguments)
    out: Path = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    os.environ["TINKER_TELEMETRY"] = "0"
    models = {name: make_model(name, out / "models" / name) for name in PORTS}
    kept = out / "result.json"
    found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    parts = {"same": same_numbers, "train": killed_and_continued, "sweep": grid, "faults": faults}
    with ExitStack() as running:
        for name, port in PORTS.items():
            running.enter_context(server(given.server, models[name], port, out / f"server-{name}"))
        for part in given.parts.split(","):
            start = time.perf_counter()
            found[part] = parts[part](models, out) | {"seconds": round(time.perf_counter() - start, 1)}
            print(f"{part}: {json.dumps(found[part])}", flush=True)
            kept.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def make_model(name: str, folder: Path) -> Path:
    """A random model of two layers that reads as micro's model A does."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig, Qwen3Config

    from ilr_bench.models.loading import load_tokenizer, locate, save_prepared

    if (folder / "config.json").exists():
        return folder
    tokenizer = load_tokenizer(locate("A")[0])
    shape = {
        "vocab_size": len(tokenizer), "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 1024,
        "initializer_range": 0.1, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": False,
    }  # fmt: skip
    torch.manual_seed(len(name))
    config = LlamaConfig(**shape) if name == "llama" else Qwen3Config(**shape)
    model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    folder.mkdir(parents=True, exist_ok=True)
    save_prepared(model.eval(), tokenizer, folder)
    return folder


@contextmanager
def server(python: str, model: Path, port: int, folder: Path) -> Iterator[None]:
    """A server for one model; ended by its process group, its engine with it."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        python, str(Path(__file__).with_name("serve.py")), "--base-model", str(model), "--backend", "jax",
        "--port", str(port), "--checkpoints-base", str(folder / "checkpoints"),
        "--database-url", f"sqlite:///{folder / 'server.db'}", "--backend-config", json.dumps(SERVER),
    ]  # fmt: skip
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1", "JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": "1", "PYTHONPATH": "",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    }  # fmt: skip
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True, cwd=folder)
        try:
            wait_for(port, process)
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(port: int, process: subprocess.Popen[bytes], seconds: float = 300.0) -> None:
    """Until the server answers; raises RuntimeError where it ends or takes too long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the server on port {port} ended; see its log")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/healthz", timeout=5):
                return
        except OSError:
            time.sleep(1.0)
    raise RuntimeError(f"no answer from the server on port {port} in {seconds:.0f} s")


def urls(**other: str) -> dict[str, str]:
    """Agent -> address."""
    return {name: f"http://127.0.0.1:{port}" for name, port in PORTS.items()} | other


def command(
    what: str, models: dict[str, Path], out: Path, addresses: dict[str, str], *more: str, steps: int = 5
) -> list[str]:
    """A command line of ilr-bench through the servers."""
    named = ",".join(f"{name}={path}" for name, path in models.items())
    settings = [
        part for key, value in (SETTINGS | {"training.steps": steps}).items() for part in ("--set", f"{key}={value}")
    ]
    places = [part for name, url in addresses.items() for part in ("--tinker-url", f"{name}={url}")]
    return [
        sys.executable, "-m", "ilr_bench", what, "--engine", "tinker", "--models", named, "--out", str(out), *places,
        *settings, *more,
    ]  # fmt: skip


def same_numbers(models: dict[str, Path], out: Path) -> dict[str, Any]:
    """Loss, gradient norm and the adapter after one step, by the server and by the local learner from one start."""
    import tempfile
    from dataclasses import replace

    import numpy as np

    from ilr_bench.core.config import change
    from ilr_bench.core.profiles import profile
    from ilr_bench.generation.engine import SamplingOptions, SamplingRequest
    from ilr_bench.learner.grpo import GRPOLearner
    from ilr_bench.learner.samples import TrainingSample
    from ilr_bench.learner.served import served_agent, served_learner, served_model
    from ilr_bench.models.loading import load_weights, load_with_adapters
    from ilr_bench.models.tinker import stop_clients
    from ilr_bench.models.tinker_adapter import bring_home

    os.environ["ILR_BENCH_TINKER_URL"] = ",".join(f"{name}={url}" for name, url in urls().items())
    found = {}
    for name, folder in models.items():
        start = replace(profile("micro"), models=(f"{name}={folder}",))
        settings = {
            "sampling.engine": "tinker", "update.adapter": "lora", "update.lora_rank": 16, "update.learning_rate": 1e-3,
            "update.warmup_steps": 0, "update.max_grad_norm": 1e9, "update.loss_type": "grpo",
        }  # fmt: skip
        config = change(start, settings)
        loaded = served_model(config.models[0], name, config)
        agent = served_agent(name, loaded, config)
        request = SamplingRequest([[5, 6, 7, 8], [9, 10, 11]], [4, 4], SamplingOptions(12, 1.0), seed=1)
        rng = np.random.default_rng(0)
        samples = [
            TrainingSample(tuple(prompt), one.token_ids, one.logprobs, float(rng.normal()))
            for prompt, group in zip(request.prompts, agent.engine.sample(request), strict=True)
            for one in group
        ]
        (local,) = load_with_adapters([str(folder)], [name], config.update)
        with tempfile.TemporaryDirectory() as before, tempfile.TemporaryDirectory() as after:
            bring_home(loaded.model, "before", Path(before))
            load_weights(local.model, Path(before))
            learner = GRPOLearner(local.model, name, config.update, 10, 64, 1.0)
            expected = learner.update(samples, 1)
            metrics = served_learner(loaded.model, config, 64).submit(samples, 1).result()
            bring_home(loaded.model, "after", Path(after))
            ours = {key: value.clone() for key, value in local.model.adapter_weights().items()}
            load_weights(local.model, Path(after))
            moved = max(float((ours[key] - value).abs().max()) for key, value in local.model.adapter_weights().items())
        found[name] = {
            "loss": [expected.loss, metrics.loss],
            "gradient_norm": [expected.gradient_norm, metrics.gradient_norm],
            "adapter_apart": moved,
        }
        stop_clients([loaded.model.service])
        check(abs(expected.loss - metrics.loss) < 1e-5, f"{name}: losses {found[name]}")
        if metrics.gradient_norm is not None and expected.gradient_norm is not None:
            apart = abs(expected.gradient_norm - metrics.gradient_norm)
            check(apart < 1e-4 * expected.gradient_norm, f"{name}: norms {found[name]}")
        check(moved < 1e-4, f"{name}: adapters {found[name]}")
    return found


def killed_and_continued(models: dict[str, Path], out: Path) -> dict[str, Any]:
    """A trial of five steps, killed after two of them; the same command goes on to its table."""
    study = out / "trial"
    asked = command("train", models, study, urls(), "--variant", "ilr")
    done = list(study.glob("trials/*/result.json"))
    if not done:
        first = subprocess.Popen(asked, start_new_session=True, stdout=subprocess.DEVNULL)
        while first.poll() is None and not list(study.glob("trials/*/checkpoints/step-00000002/manifest.json")):
            time.sleep(0.2)
        if first.poll() is None:
            os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    kept = [path.read_bytes() for path in study.glob("trials/*/train.jsonl")]
    again = subprocess.run(asked, check=True, capture_output=True, text=True)
    (whole,) = study.glob("trials/*/train.jsonl")
    lines = whole.read_text().splitlines()
    check(len(lines) == 2 * int(SETTINGS["training.steps"]), f"{len(lines)} records")
    check(all(whole.read_bytes().startswith(one[: one.rfind(b"\n") // 2]) for one in kept), "records began anew")
    check("llama" in again.stdout and "qwen" in again.stdout, f"no table: {again.stdout}")
    homes = list(study.glob("trials/*/checkpoints/step-*/*/adapter_model.safetensors"))
    check(len(homes) == 2, f"adapters brought home: {homes}")
    exported = study / "exported"
    export = [sys.executable, "-m", "ilr_bench", "export", str(study), "--merge", "--out", str(exported)]
    subprocess.run(export, check=True, capture_output=True, text=True)
    return {"killed_after": len(kept[0].splitlines()) // 2 if kept else None, "table": again.stdout.splitlines()[-12:]}


def grid(models: dict[str, Path], out: Path) -> dict[str, Any]:
    """ILR and GRPO with its tokens, through the sweep."""
    study = out / "grid"
    asked = command(
        "sweep", models, study, urls(), "--variants", "ilr,grpo_matched", "--seeds", "0", "--workers", "1", steps=2
    )
    subprocess.run(asked, check=True, stdout=subprocess.DEVNULL)
    results = [json.loads(path.read_text()) for path in study.glob("trials/*/result.json")]
    check(sorted(one["variant"] for one in results) == ["grpo_matched", "ilr"], f"{len(results)} results")
    return {one["variant"]: one["sampled_tokens"] for one in results}


def faults(models: dict[str, Path], out: Path) -> dict[str, Any]:
    """A slow proxy changes nothing; one that closes half-way, a dead port and a wrong model end in a line each."""
    said = {}
    with proxy(PORTS["qwen"], delay=0.2) as slow:
        asked = command("train", models, out / "slow", urls(qwen=slow), "--variant", "ilr", steps=1)
        subprocess.run(asked, check=True, stdout=subprocess.DEVNULL)
    wrong = urls(llama=f"http://127.0.0.1:{PORTS['qwen']}")
    dead = urls(qwen="http://127.0.0.1:9")
    with proxy(PORTS["qwen"], most=200) as cut:
        for name, addresses in {"cut": urls(qwen=cut), "dead": dead, "wrong": wrong}.items():
            asked = command("train", models, out / name, addresses, "--variant", "ilr")
            ended = subprocess.run(asked, check=False, capture_output=True, text=True, timeout=900)
            last = ended.stderr.strip().splitlines()[-1] if ended.stderr.strip() else ""
            check(ended.returncode not in (0, -11, -6) and "Traceback" not in last, f"{name}: {ended.stderr[-500:]}")
            said[name] = last[:300]
    return said


def check(holds: bool, what: str) -> None:
    """Ends the run where something does not hold."""
    if not holds:
        raise SystemExit(f"failed: {what}")


if __name__ == "__main__":
    raise SystemExit(main())
