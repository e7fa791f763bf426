"""The smallest true difference that a test finds with a given probability."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats


def minimum_detectable_effect(
    standard_error: float, df: float = math.inf, alpha: float = 0.05, power: float = 0.8, critical: float | None = None
) -> float:
    """Smallest true difference that a two-sided t test at level `alpha` finds with probability `power`.

    Same unit as `standard_error`, which is the true one (`without_bias` mends an estimate). Divide alpha by the
    number of comparisons for a family corrected by Holm (his first step), or give the `critical` value of a test that
    corrects by itself (`MaxT.critical`), which replaces alpha's.
    """
    limit = float(stats.t.ppf(1 - alpha / 2, df)) if critical is None else critical
    # The test's statistic is a normal variable over an independent scale; averaging over quantiles of the scale
    # stays exact where scipy's noncentral t gives NaN (large effects, few degrees of freedom).
    levels = (np.arange(1_000) + 0.5) / 1_000
    scale = np.sqrt(stats.chi2.ppf(levels, df) / df) if math.isfinite(df) else np.ones(1)

    def shortfall(effect: float) -> float:
        return float(np.mean(special.ndtr(effect - limit * scale) + special.ndtr(-effect - limit * scale))) - power

    return standard_error * float(optimize.brentq(shortfall, 0.0, limit * float(scale.max()) + 10))


def without_bias(standard_error: float, df: float) -> float:
    """An estimated standard error over what its mean falls short of the true one by, 2.5 % with ten degrees."""
    if not math.isfinite(df):
        return standard_error
    return standard_error / math.exp(special.gammaln((df + 1) / 2) - special.gammaln(df / 2)) / math.sqrt(2 / df)


def mcnemar_detectable_effect(n: int, discordant: int, alpha: float = 0.05, power: float = 0.8) -> float:
    """The same for the exact McNemar test on `n` questions, where the two sides differed on `discordant` of them.

    Exact: averages the power of the binomial test over how many questions will differ (Connor 1987, without his
    normal approximation). The fraction of differing questions stays as seen, or grows with the effect where that
    must be larger. 1 where no difference would be found.
    """
    share = max(discordant, 1) / n
    counts = np.arange(n + 1)
    # The binomial test rejects at or below this many questions on the smaller side.
    limits = _most_lost(counts, alpha)

    def found(effect: float) -> float:
        differ = max(share, effect)
        rate = (1 + effect / differ) / 2
        reject = stats.binom.cdf(limits, counts, 1 - rate) + stats.binom.cdf(limits, counts, rate)
        return float(stats.binom.pmf(counts, n, differ) @ reject)

    if found(1.0) < power:
        return 1.0
    return float(optimize.brentq(lambda effect: found(effect) - power, 0.0, 1.0))


def _most_lost(counts: NDArray[np.intp], alpha: float) -> NDArray[np.float64]:
    """Largest x with P(X <= x) <= alpha / 2 for X binomial(count, 1/2), of each count; -1 where there is none."""
    start = stats.binom.ppf(alpha / 2, counts, 0.5)
    return np.where(stats.binom.cdf(start, counts, 0.5) <= alpha / 2, start, start - 1)
