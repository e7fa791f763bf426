"""Modules in the place of trackers' own, for what accelerate calls of them: they keep what each run is told.

Where a tracker has one current run per process, so has its stand-in: what is logged goes there, whoever logs it.
"""

from __future__ import annotations

import types
from collections import defaultdict
from typing import Any


class StandIn(types.ModuleType):
    """A tracker's module."""

    __version__ = "99.0"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = types.SimpleNamespace(name=name)  # type: ignore[assignment]
        self.config: dict[str, Any] = {}
        self.asked: list[dict[str, Any]] = []
        self.told: dict[str, list[tuple[int, dict[str, float]]]] = defaultdict(list)
        self.settings: dict[str, dict[str, Any]] = {}
        self.open: list[str] = []
        self.most_open = 0
        self.names: dict[str, str] = {}
        # What accelerate looks up: of Comet, aim and MLflow.
        self.ExperimentConfig = lambda name: name
        self.Run = lambda **options: self._aim(**options)
        limits = types.SimpleNamespace(MAX_PARAM_VAL_LENGTH=500, MAX_PARAMS_TAGS_PER_BATCH=100)
        self.utils = types.SimpleNamespace(validation=limits)

    def begin(self, name: str, settings: dict[str, Any] | None = None) -> None:
        self.open.append(name)
        self.most_open = max(self.most_open, len(self.open))
        if settings is not None:
            self.settings[name] = settings

    def tell(self, name: str, values: dict[str, float], step: int) -> None:
        assert name in self.open
        self.told[name].append((step, values))

    def init(self, **options: Any) -> Any:
        """wandb, trackio and SwanLab: a run that is named and told the settings."""
        self.asked.append(options)
        name = options["name"]
        self.begin(name, options["config"])
        return types.SimpleNamespace(
            log=lambda values, step: self.tell(name, values, step), finish=lambda: self.open.remove(name)
        )

    def start(self, **options: Any) -> Any:
        """Comet: a new experiment ends the one before."""
        self.asked.append(options)
        self.open.clear()
        name = options["experiment_config"]
        self.begin(name)
        return types.SimpleNamespace(
            log_parameters=lambda values: self.settings.update({name: values}),
            set_step=lambda step: None,
            log_metric=lambda tag, value, step: self.tell(name, {tag: value}, step),
            end=lambda: self.open.remove(name),
        )

    def _aim(self, **options: Any) -> Any:
        self.asked.append(options)
        run = types.SimpleNamespace(hash=options["run_hash"] or f"run-{len(self.asked)}", close=lambda: None)
        stand_in = self

        class Run:
            hash = run.hash

            def __setattr__(self, key: str, name: str) -> None:
                assert stand_in.names.setdefault(self.hash, name) == name
                stand_in.begin(name)

            def __setitem__(self, key: str, values: dict[str, Any]) -> None:
                stand_in.settings[stand_in.names[self.hash]] = values

            def track(self, value: float, name: str, step: int) -> None:
                stand_in.tell(stand_in.names[self.hash], {name: value}, step)

            def close(self) -> None:
                stand_in.open.remove(stand_in.names[self.hash])

        return Run()

    def search_experiments(self, filter_string: str) -> list[Any]:
        """MLflow."""
        return []

    def create_experiment(self, **options: Any) -> str:
        """MLflow."""
        return "1"

    def start_run(self, run_id: str | None, run_name: str, **options: Any) -> Any:
        """MLflow refuses a second run beside an active one."""
        assert not self.open
        self.asked.append({"run_id": run_id} | options)
        key = run_id or f"run-{len(self.asked)}"
        self.begin(self.names.setdefault(key, run_name))
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id=key))

    def log_params(self, values: dict[str, Any]) -> None:
        """MLflow."""
        self.settings.setdefault(self.open[0], {}).update(values)

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        """MLflow."""
        self.tell(self.open[0], values, step)

    def end_run(self) -> None:
        """MLflow."""
        self.open.clear()
