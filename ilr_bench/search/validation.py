"""A search never sees a reported benchmark: it is told of validation questions, and no benchmark holds one of them."""

from __future__ import annotations

from collections.abc import Sequence

from ilr_bench.benchmarks import BENCHMARKS, expand
from ilr_bench.benchmarks import get as get_benchmark
from ilr_bench.benchmarks.base import GROUPS
from ilr_bench.config import RunConfig
from ilr_bench.errors import ConfigurationError
from ilr_bench.questions import SOURCES
from ilr_bench.search.rounds import DIRECTIONS, Objective


def parse_objectives(names: Sequence[str]) -> tuple[Objective, ...]:
    """The objectives by name; raises ConfigurationError for an unknown one, and for a benchmark above all."""
    for name in names:
        if name in GROUPS or name in BENCHMARKS:
            raise ConfigurationError(
                f"--objectives {name}: a benchmark that is searched for can no longer be reported; "
                "`accuracy` is measured on validation questions"
            )
        if name not in DIRECTIONS:
            raise ConfigurationError(f"--objectives {name}: choose among {', '.join(DIRECTIONS)}")
    chosen = tuple(objective for objective in DIRECTIONS if objective in names)
    if "accuracy" not in chosen:
        raise ConfigurationError("--objectives: `accuracy` must be among them; fewest tokens alone is no training")
    return chosen


def check_apart(config: RunConfig) -> None:
    """Raises ConfigurationError where a validation question stands in a benchmark that this configuration reports.

    Texts are compared word by word. Raises MissingInputError where a benchmark's data are not here to be compared.
    """
    _, validation = SOURCES.get(config.questions.source).load(config.questions.train, config.questions.validation)
    held = {_words(question.text): question.id for question in validation}
    for name in expand(config.evaluation.benchmarks):
        shared = [row.id for row in get_benchmark(name).load() if _words(row.question) in held]
        if shared:
            raise ConfigurationError(
                f"{len(shared)} questions of the benchmark {name} are validation questions as well (the first is "
                f"{shared[0]}): a search would choose by what is reported; set questions.source or leave {name} out "
                "by --set evaluation.benchmarks=..."
            )


def _words(text: str) -> str:
    return " ".join(text.split()).casefold()
