"""The model class that lm-eval's own command line makes from `--model_args`."""

from __future__ import annotations

from pathlib import Path

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.evaluation.lm_eval_tasks import LmEvalStyleLM
from ilr_bench.evaluation.standalone import StandaloneRun, check, solo_agent, standalone_config
from ilr_bench.models.loading import load_model


class CommandLineLM(LmEvalStyleLM):
    """A model as `ilr-bench evaluate` loads it, asked as lm-eval says."""

    def __init__(
        self,
        model: str,
        dtype: str = "float32",
        engine: str | None = None,
        batch_tokens: int | None = None,
        seed: int = 0,
        batch_size: int | str = "auto",
        max_batch_size: int | None = None,
        device: str | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        """`model` is a name, folder, GGUF file or hub name; the last four are lm-eval's own options.

        A `batch_size` of `auto` takes as many rows as `batch_tokens` allows, at most `max_batch_size`. Raises
        ConfigurationError and MissingInputError where the model cannot be had.
        """
        if trust_remote_code:
            raise ConfigurationError("code that comes with a model is not run here; leave --trust_remote_code out")
        run = StandaloneRun(
            model=str(model), benchmarks=(), out=Path(), dtype=dtype, engine=engine, batch_tokens=batch_tokens
        )
        check(run)
        loaded = load_model(run.model, device)
        config = standalone_config(run, loaded)
        settings = config.evaluation
        most = max_batch_size or settings.rows_per_call
        rows = most if str(batch_size).startswith("auto") else int(batch_size)
        super().__init__(solo_agent(run, loaded, config), rows, seed, settings.batch_tokens)
