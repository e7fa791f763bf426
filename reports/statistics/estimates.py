"""Arrays in, numbers out: intervals, paired tests and corrections for tables of accuracies.

One answer is 0 or 1 (or a number between them). Answers to one question are not independent, and neither are
answers of one training run, so every variance here has both parts (`docs/statistics.md` derives them):

    y[q, s] = mean + question[q] + run[s] + rest[q, s]

`strata` are the columns that an average is made of: the estimate is the plain mean of their means, however
many questions each one has. Nothing here reads a file, draws a picture or touches numpy's global generator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats
from statsmodels.stats.multitest import multipletests

from .power import mcnemar_detectable_effect, minimum_detectable_effect, without_bias

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

MCNEMAR = "exact McNemar"
PERMUTATIONS = 9_999
EXACT_FLIPS = 12
"""Up to this many differing questions all sign patterns are listed instead of drawn."""
ROUNDING = 1e-9
"""Means that are closer than this are equal."""


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval."""

    mean: float
    low: float
    high: float
    standard_error: float
    df: float
    """Satterthwaite's degrees of freedom; infinite for a plain binomial."""
    n: int
    """Answers."""
    questions: int
    seeds: int
    method: str


@dataclass(frozen=True)
class PairedDifference:
    """mean(a) - mean(b) over the same questions."""

    difference: float
    low: float
    high: float
    pvalue: float
    test: str
    n: int
    """Pairs of answers."""
    standard_error: float
    df: float
    discordant: int
    """Questions on which the two differ."""


@dataclass(frozen=True)
class SeedVariance:
    """Sample variance of the per-run means (runs and the rest within them), and its degrees of freedom."""

    value: float
    df: int
    """0 where there is nothing to vary: one run, or an untrained model that answers alike in every run."""


@dataclass(frozen=True)
class Answers:
    """A complete table of questions and runs."""

    means: Floats
    """(questions, seeds): mean over the answers of one run to one question."""
    strata: Ints
    """(questions,): number of the column a question belongs to."""
    weights: Floats
    """(questions,): sums to 1, the same sum for every column."""
    n: int

    @property
    def runs(self) -> Floats:
        """(seeds,): mean of each run."""
        return self.weights @ self.means

    @property
    def between(self) -> SeedVariance:
        """Variance of `runs`; without degrees of freedom for one run, and for a model that answers alike in all."""
        if (self.means == self.means[:, :1]).all():
            return SeedVariance(0.0, 0)
        return SeedVariance(float(self.runs.var(ddof=1)), self.means.shape[1] - 1)


def interval(
    values: ArrayLike,
    clusters: ArrayLike | None = None,
    seeds: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    level: float = 0.95,
    runs: SeedVariance | None = None,
) -> Interval:
    """Mean of values in [0, 1] with an interval for new questions and new training runs.

    All arrays have shape (answers,). `clusters` names each answer's question (default: all differ), `seeds`
    its training run, `strata` the column it belongs to. Every question needs an answer in every run. `runs`
    replaces the variance between runs by one pooled over several variants, as in `paired_difference`.

    One answer per question: the mid-P Beta interval of a binomial (Brown, Cai and DasGupta 2001). Otherwise
    the same interval at the effective number of answers, p(1-p) over the variance, reduced by the squared
    ratio of normal to t quantile (Korn and Graubard 1998), so that it stays inside [0, 1] and tends to
    mean +- t * standard error. No interval has length zero. Raises ValueError on incomplete tables and values
    outside [0, 1].
    """
    return interval_of(arrange(values, clusters, seeds, strata), level, runs)


def interval_of(table: Answers, level: float = 0.95, runs: SeedVariance | None = None) -> Interval:
    """`interval` of a table."""
    questions, count = table.means.shape
    # Rounding must not carry a mean of 1 above it.
    mean = round(float(table.weights @ table.means.mean(axis=1)), 12)
    if not 0 <= table.means.min() <= table.means.max() <= 1:
        raise ValueError("values must lie between 0 and 1")
    binomial = table.n == questions and table.strata.max() == 0 and _is_binary(table.means)
    if binomial:
        error, df, size = math.sqrt(mean * (1 - mean) / questions), math.inf, float(questions)
    else:
        variance, df = _mean_variance(table, _run_part(table, runs), least=0.0)
        error = math.sqrt(variance)
        ratio = stats.norm.ppf(0.5 + level / 2) / stats.t.ppf(0.5 + level / 2, df)
        sizes = np.bincount(table.strata)
        # All right or all wrong: the smallest column, which weighs as much as the others, says the least.
        size = mean * (1 - mean) / error**2 * ratio**2 if 0 < mean < 1 else float(len(sizes) * sizes.min())
    low, high = _mid_p(mean, size, level)
    method = "mid-P binomial" if binomial else "mid-P at the effective number of answers"
    return Interval(mean, low, high, error, df, table.n, questions, count, method)


def seed_variance(
    values: ArrayLike, clusters: ArrayLike, seeds: ArrayLike, strata: ArrayLike | None = None
) -> SeedVariance:
    """Variance between training runs of one variant (shapes as in `interval`)."""
    return arrange(values, clusters, seeds, strata).between


def pooled(variances: Sequence[SeedVariance]) -> SeedVariance | None:
    """One variance from those of several trained variants, weighted by their degrees of freedom."""
    df = sum(item.df for item in variances)
    return SeedVariance(sum(item.value * item.df for item in variances) / df, df) if df else None


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    clusters: ArrayLike,
    seeds: ArrayLike | None = None,
    rng: np.random.Generator | None = None,
    *,
    strata: ArrayLike | None = None,
    runs: SeedVariance | None = None,
    level: float = 0.95,
) -> PairedDifference:
    """Whether a is right more often than b on the same questions; arrays of shape (answers,), paired by place.

    - One run, one answer per question, one column: exact McNemar test, Bonett-Price interval.
    - One run otherwise: sign-flip permutation of the questions' mean differences (`rng`, default seed 0).
    - Several runs: t test whose variance adds questions and training runs, with Satterthwaite's degrees of
      freedom. The two sides' runs count as independent, so equal seeds may correlate (then it is
      conservative). `runs` replaces the two sides' own variances between runs, which with three seeds are
      hardly known, by one pooled over the variants of a table; a side that is the same in every run has none.

    Raises ValueError on incomplete tables.
    """
    return compare(arrange(a, clusters, seeds, strata), arrange(b, clusters, seeds, strata), rng, runs, level)


def compare(
    left: Answers,
    right: Answers,
    rng: np.random.Generator | None = None,
    runs: SeedVariance | None = None,
    level: float = 0.95,
) -> PairedDifference:
    """`paired_difference` of two tables with the same questions and runs."""
    both = Answers(left.means - right.means, left.strata, left.weights, left.n)
    change = float(both.weights @ both.means.mean(axis=1))
    questions, count = both.means.shape
    if not both.means.any():
        return PairedDifference(0.0, 0.0, 0.0, 1.0, "identical", both.n, 0.0, math.inf, 0)
    if count == 1:
        single = both.n == questions and both.strata.max() == 0
        if single and _is_binary(left.means) and _is_binary(right.means):
            return _mcnemar(both.means[:, 0], level)
        variance, df = _mean_variance(both, [], least=-1.0)
        pvalue = _sign_flips(both.weights * both.means[:, 0], rng or np.random.default_rng(0))
        test = "sign-flip permutation"
    else:
        parts = [part for side in (left, right) for part in _run_part(side, runs)]
        if runs is not None and parts:
            # One estimate used for both sides: their parts are not independent.
            parts = [(sum(value for value, _ in parts), float(runs.df))]
        variance, df = _mean_variance(both, parts, least=-1.0)
        test = "t, question and run variance" + (" (runs pooled)" if runs is not None else "")
        pvalue = float(2 * stats.t.sf(abs(change) / math.sqrt(variance), df))
    error = math.sqrt(variance)
    half = float(stats.t.ppf(0.5 + level / 2, df)) * error
    differ = int((abs(both.means).max(axis=1) > 0).sum())
    return PairedDifference(change, change - half, change + half, pvalue, test, both.n, error, df, differ)


def detectable_difference(
    result: PairedDifference, alpha: float = 0.05, power: float = 0.8, critical: float | None = None
) -> float:
    """Smallest true difference that the test of `result` finds with probability `power`, on data that vary alike.

    In a family: divide alpha by the number of comparisons (Holm's first step), or give the `critical` value of a test
    that corrects by itself (`MaxT.critical`).
    """
    if result.test == MCNEMAR:
        return mcnemar_detectable_effect(result.n, result.discordant, alpha, power)
    error = without_bias(result.standard_error, result.df)
    return minimum_detectable_effect(error, result.df, alpha, power, critical)


def holm(pvalues: ArrayLike) -> Floats:
    """Holm's (1979) step-down p-values: family-wise error under any dependence; shape (comparisons,)."""
    return _corrected(pvalues, "holm")


def benjamini_hochberg(pvalues: ArrayLike) -> Floats:
    """Benjamini and Hochberg's (1995) p-values, shape (comparisons,), for independent or positively dependent tests.

    They bound the expected fraction of false ones among the marked, which is less than the chance of a single one.
    """
    return _corrected(pvalues, "fdr_bh")


def _corrected(pvalues: ArrayLike, method: str) -> Floats:
    return np.asarray(multipletests(np.asarray(pvalues, dtype=np.float64), method=method)[1])


def arrange(
    values: ArrayLike, clusters: ArrayLike | None, seeds: ArrayLike | None, strata: ArrayLike | None
) -> Answers:
    """Answers as a table (shapes as in `interval`); raises ValueError where a question lacks an answer in a run."""
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or not len(data):
        raise ValueError("values must be a list of at least one answer")
    if not np.isfinite(data).all():
        raise ValueError("values must be numbers; leave out answers without a verdict, or count them as wrong")
    _, column = np.unique(np.zeros(len(data)) if strata is None else np.asarray(strata), return_inverse=True)
    _, name = np.unique(np.arange(len(data)) if clusters is None else np.asarray(clusters), return_inverse=True)
    _, run = np.unique(np.zeros(len(data)) if seeds is None else np.asarray(seeds), return_inverse=True)
    # Two columns may use the same name for different questions.
    keys, question = np.unique(column * (name.max() + 1) + name, return_inverse=True)
    shape = (len(keys), int(run.max()) + 1)
    index = question * shape[1] + run
    counts = np.bincount(index, minlength=shape[0] * shape[1])
    if not counts.all():
        raise ValueError("every question needs an answer in every run; keep the common ones")
    sums = np.bincount(index, weights=data, minlength=shape[0] * shape[1])
    members = (keys // (name.max() + 1)).astype(np.intp)
    sizes = np.bincount(members)
    return Answers((sums / counts).reshape(shape), members, 1 / (len(sizes) * sizes[members]), len(data))


def _is_binary(means: Floats) -> bool:
    return bool(np.isin(means, (0.0, 1.0)).all())


def _mid_p(mean: float, size: float, level: float) -> tuple[float, float]:
    """P(X > x) + P(X = x) / 2 = tail at the lower end, and likewise above, for x = mean * size successes."""
    tail, hits = (1 - level) / 2, mean * size

    def above(rate: float) -> float:
        """P(X > x) + P(X = x) / 2, through Beta functions so that x and size need not be whole."""
        at_least = special.betainc(hits, size - hits + 1, rate) if hits > 0 else 1.0
        more = special.betainc(hits + 1, size - hits, rate) if hits < size else 0.0
        return float(at_least + more) / 2

    low = 0.0 if mean <= 0 else float(optimize.brentq(lambda rate: above(rate) - tail, 0.0, mean))
    high = 1.0 if mean >= 1 else float(optimize.brentq(lambda rate: above(rate) - 1 + tail, mean, 1.0))
    return low, high


def _mean_variance(table: Answers, runs: Sequence[tuple[float, float]], least: float) -> tuple[float, float]:
    """Variance of the mean of values from `least` to 1, with its degrees of freedom."""
    rest = _rest_part(table)
    found = _combined(runs, _question_part(table, least), rest)
    return found if found[0] > ROUNDING**2 else _combined(runs, _question_part(table, least, even=True), rest)


def _run_part(table: Answers, pool: SeedVariance | None) -> list[tuple[float, float]]:
    """Variance of the mean that comes from training runs; none for a model that answers alike in every run."""
    own, count = table.between, table.means.shape[1]
    if own.df == 0:
        return []
    used = pool or own
    return [(used.value / count, float(used.df))]


def _question_part(table: Answers, least: float, even: bool = False) -> tuple[float, float]:
    """Variance of the mean that comes from the choice of questions, with its degrees of freedom.

    A variance of zero would mean that nothing else can happen. So a column that is all right or all wrong, a column of
    one question and, if `even` (no column's questions differ), every column gets the variance of one question more,
    half of it 1 and half of it `least`.
    """
    rows = table.means.mean(axis=1)
    columns = int(table.strata.max()) + 1
    terms = []
    for column in range(columns):
        mine = rows[table.strata == column]
        size, level = len(mine), float(mine.mean())
        if even or size == 1 or (least == 0 and level in (0, 1)):
            middle = (size * level + (least + 1) / 2) / (size + 1)
            spread = (size * level**2 + (least**2 + 1) / 2) / (size + 1) - middle**2
        else:
            spread = float(mine.var(ddof=1))
        terms.append((spread / size / columns**2, max(size - 1, 1)))
    total = sum(value for value, _ in terms)
    return total, _satterthwaite(total, terms)


def _rest_part(table: Answers) -> tuple[float, float]:
    """What questions and runs both contain: variance of the rest of a two-way layout, divided as in the mean."""
    count = table.means.shape[1]
    if count == 1:
        return 0.0, 1.0
    columns = int(table.strata.max()) + 1
    terms = []
    for column in range(columns):
        mine = table.means[table.strata == column]
        rest = mine - mine.mean(axis=0) - mine.mean(axis=1, keepdims=True) + mine.mean()
        df = max((len(mine) - 1) * (count - 1), 1)
        terms.append((float((rest**2).sum()) / df / len(mine) / count / columns**2, df))
    total = sum(value for value, _ in terms)
    return total, _satterthwaite(total, terms)


def _combined(
    runs: Sequence[tuple[float, float]], questions: tuple[float, float], rest: tuple[float, float]
) -> tuple[float, float]:
    """Variance of the mean: runs + questions - rest (which both contain), never below either part.

    Where both are zero, since runs make up for each other on every question, the rest is what there is.
    """
    spread = sum(value for value, _ in runs)
    total = max(spread + questions[0] - rest[0], spread, questions[0])
    total = total if total > ROUNDING**2 else rest[0]
    return total, _satterthwaite(total, [*runs, questions, rest])


def _satterthwaite(total: float, terms: Sequence[tuple[float, float]]) -> float:
    """Degrees of freedom of a sum of variances; at least one, which a difference of them may fall below."""
    scale = sum(value**2 / df for value, df in terms)
    return max(total**2 / scale, 1.0) if scale > 0 else math.inf


def _mcnemar(change: Floats, level: float) -> PairedDifference:
    won, lost, n = int((change > 0).sum()), int((change < 0).sum()), len(change)
    pvalue = float(stats.binomtest(won, won + lost).pvalue)
    # Bonett and Price (2012): one more answer of each discordant kind mends the Wald interval.
    up, down = (won + 1) / (n + 2), (lost + 1) / (n + 2)
    error = math.sqrt((up + down - (up - down) ** 2) / (n + 2))
    half = float(stats.norm.ppf(0.5 + level / 2)) * error
    low, high = max(up - down - half, -1.0), min(up - down + half, 1.0)
    return PairedDifference((won - lost) / n, low, high, pvalue, MCNEMAR, n, error, math.inf, won + lost)


def _sign_flips(terms: Floats, rng: np.random.Generator) -> float:
    terms = terms[terms != 0]
    seen = abs(terms.sum()) * (1 - 1e-9)
    if len(terms) <= EXACT_FLIPS:
        patterns = (np.arange(2 ** len(terms))[:, None] >> np.arange(len(terms))) & 1
        return float((abs((1 - 2 * patterns) @ terms) >= seen).mean())
    hits = 0
    for start in range(0, PERMUTATIONS, 500):
        signs = rng.integers(0, 2, size=(min(500, PERMUTATIONS - start), len(terms)), dtype=np.int8) * 2 - 1
        hits += int((abs(signs @ terms) >= seen).sum())
    return (hits + 1) / (PERMUTATIONS + 1)
