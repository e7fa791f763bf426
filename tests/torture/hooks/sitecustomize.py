"""Imported by every Python process of a tortured command: notes the stage it is in, and dies where it is told to.

TORTURE_MARKS names the folder of the notes, a file per process. TORTURE_KILL, where it is set, is `STAGE NUMBER
SECONDS FILE`: the process that enters a stage for the n-th time dies so many seconds later, if it is the first to make
the file.
"""

import importlib.machinery
import os
import signal
import sys
import threading

STAGES = {
    "ilr_bench.study.trial": {"measure_agents": "measuring", "build_trainer": "loading", "finalize": "sealing"},
    "ilr_bench.method.loop": {"generate_rollouts": "sampling", "update": "updating", "validate": "validating"},
    "ilr_bench.study.trial_state": {"save_checkpoint": "saving"},
    "ilr_bench.storage.store": {"append_records": "saving"},
    "ilr_bench.evaluation.runner": {"run_benchmarks": "evaluating"},
    "ilr_bench.evaluation.lm_eval_model": {"complete": "evaluating"},
    "ilr_bench.reports.frames": {"load": "reporting"},
    "ilr_bench.reports.registry": {"get": "reporting"},
}
"""Module -> function that is looked up there -> stage."""
_marks = os.environ["TORTURE_MARKS"]
_stage, _number, _seconds, _once = (os.environ.get("TORTURE_KILL") or "- 0 0 -").split(" ")
_entered = {}
"""By process, since some are forked from others."""


def _mark(stage):
    with open(os.path.join(_marks, str(os.getpid())), "a") as file:  # noqa: PTH118, PTH123 (begins every process)
        file.write(f"{stage}\n")


def _die():
    try:
        os.close(os.open(_once, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def _staged(function, stage):
    def staged(*given, **named):
        _mark(stage)
        if stage == _stage:
            process = os.getpid()
            _entered[process] = _entered.get(process, 0) + 1
            if _entered[process] == int(_number):
                if float(_seconds):
                    timer = threading.Timer(float(_seconds), _die)
                    timer.daemon = True
                    timer.start()
                else:
                    _die()
        try:
            return function(*given, **named)
        finally:
            if stage != "reporting":  # figures and tables follow
                _mark("between")

    return staged


def _patch(module):
    for function, stage in STAGES[module.__name__].items():
        setattr(module, function, _staged(getattr(module, function), stage))


class _Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name not in STAGES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None:
            return None
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            _patch(module)

        spec.loader.exec_module = exec_module
        return spec


for _name in STAGES.keys() & sys.modules.keys():
    _patch(sys.modules[_name])
sys.meta_path.insert(0, _Finder)
_mark("starting")
