"""What makes two trials the same trial."""

from __future__ import annotations

from collections.abc import Sequence

from ilr_bench.config import LABELS, RunConfig, change, content_hash, to_dict


def trial_hash(config: RunConfig, dependency: str | None = None, fingerprints: Sequence[str] = ()) -> str:
    """Content hash of everything that a trial computes; labels do not count.

    `dependency` is the hash of the trial whose sampled tokens this one matches (`sampling.match_tokens_of`). It
    stands for the numbers of samples that are resolved once that trial has finished, so that a trial has its
    name before it can run. `fingerprints` are those of the models that are made or unpacked here: another recipe
    makes another trial. Raises ValueError where one is missing or not called for.
    """
    matches = config.sampling.match_tokens_of is not None
    if matches != (dependency is not None):
        raise ValueError("a dependency belongs to a trial that matches another one's tokens, and to no other")
    if matches:
        config = change(config, {"sampling.samples_per_agent": None})
    data = {key: value for key, value in to_dict(config).items() if key not in LABELS}
    if dependency is not None:
        data["dependency"] = dependency
    if fingerprints:
        data["fingerprints"] = list(fingerprints)
    return content_hash(data)
