"""Whether the tests keep what they promise: `nox -s statistics`; ends with status 1 where one does not.

On tables whose truth is known (`null_tables.py`): how often a table without any effect has a marked difference,
how often a difference of the printed detectable size is found, and how often an interval holds the true accuracy.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import scipy.stats
from null_tables import TableModel, differences, permuted
from numpy.typing import NDArray

from reports.statistics import estimates
from reports.statistics.estimates import Answers, PairedDifference

Floats = NDArray[np.float64]
LEVEL = 0.05
DRAWS = 199
"""Permutations per simulated table (real ones get 9,999); 5 % of 200 is whole, so the level is met."""
RATES = np.linspace(0.005, 0.995, 199)
RUN_RATES = np.linspace(0.05, 0.95, 19)


@dataclass
class Bounds:
    """What was promised, and where it was not kept."""

    missed: list[str] = field(default_factory=list)

    def check(self, name: str, value: float, least: float, most: float) -> str:
        """The value in %, marked where it lies outside."""
        if least - 1e-9 <= value <= most + 1e-9:
            return f"{100 * value:5.1f} "
        self.missed.append(f"{name}: {100 * value:.1f} %, promised {100 * least:.1f} to {100 * most:.1f}")
        return f"{100 * value:5.1f}!"


def family_wise_error(tables: int, bounds: Bounds) -> None:
    """Share of tables in which the corrected p-value of any pair without a true difference is at most 5 %."""
    tests = ("t pooled, Holm", "t pooled, BH", "t own, Holm", "permutation, max-T")
    print(f"\nFamily-wise error in %, nine comparisons ({tables} tables; rows without bounds {tables // 4})")
    print(f"{'':34}{''.join(f'{name:>20}' for name in tests)}")
    for seeds in (3, 5):
        plain = TableModel(seeds)
        worlds = {
            "runs sd 2 points": plain,
            "runs sd 4 points": replace(plain, spread=0.04),
            "one variant's sd four times": replace(plain, unequal=4.0),
            "variants with habits": replace(plain, habit=0.15),
            "one variant truly better": replace(plain, effects=(0.1,)),
        }
        for index, (name, world) in enumerate(worlds.items()):
            errors = _errors(world, tables if world == plain else tables // 4, index)
            cells = []
            for test, error in zip(tests, errors, strict=True):
                if world == plain:
                    least = 0.035 if test == "permutation, max-T" else 0.0
                    cells.append(bounds.check(f"family-wise error, {seeds} seeds, {test}", error, least, 0.06))
                else:
                    cells.append(f"{100 * error:5.1f} ")
            print(f"{f'{seeds} seeds, {name}':34}{''.join(f'{cell:>20}' for cell in cells)}", flush=True)
    for name, error in _one_run_errors(tables).items():
        print(f"{f'one run, {name}':34}{bounds.check(f'family-wise error, one run, {name}', error, 0.0, 0.06):>20}")


def _errors(world: TableModel, tables: int, salt: int) -> Floats:
    rng, null = np.random.default_rng([1, salt, world.seeds]), world.null
    hits = np.zeros(4)
    for _ in range(tables):
        table = world.table(rng)
        pooled = [item.pvalue for item in differences(world, table)]
        own = [item.pvalue for item in differences(world, table, pooled=False)]
        families = (
            estimates.holm(pooled),
            estimates.benjamini_hochberg(pooled),
            estimates.holm(own),
            permuted(world, table, rng, DRAWS).adjusted[0],
        )
        hits += [family[null].min() <= LEVEL for family in families]
    return hits / tables


def _one_run_errors(tables: int) -> dict[str, float]:
    """About these very models (no variance between runs is visible in one): three of them against a fourth."""
    rng, hits = np.random.default_rng(2), np.zeros(2)
    for _ in range(tables):
        chance = 0.1 + 0.8 * rng.random(300)
        single = (rng.random((4, 300)) < chance).astype(np.float64)
        several = rng.binomial(4, chance, (4, 300)) / 4
        for index, answers in enumerate((single, several)):
            tests = [estimates.paired_difference(row, answers[0], np.arange(300)) for row in answers[1:]]
            hits[index] += estimates.holm([item.pvalue for item in tests]).min() <= LEVEL
    return {"McNemar, Holm": hits[0] / tables, "sign flips, Holm": hits[1] / tables}


def power(tables: int, bounds: Bounds) -> None:
    """Share of tables in which a difference of the printed detectable size is found; 80 % is what is printed."""
    print(f"\nPower in % at the printed detectable difference ({tables} tables)")
    for seeds in (3, 5):
        for questions in (272, 1319):
            world = TableModel(seeds, questions, columns=1)
            for name, effect, found in _found(world, tables):
                label = f"{questions} questions, {seeds} seeds, {name}"
                cell = bounds.check(f"power, {label}", found, 0.77, 0.83)
                print(f"{label:66}{cell}  at {100 * effect:4.1f} points", flush=True)
    for questions in (272, 1319):
        for samples, name in ((1, "McNemar"), (4, "sign flips, 4 answers each")):
            effect, found = _found_in_one_run(questions, samples, tables)
            label = f"{questions} questions, one run, {name}"
            cell = bounds.check(f"power, {label}", found, 0.77, 0.83)
            print(f"{label:66}{cell}  at {100 * effect:4.1f} points", flush=True)


def _found(world: TableModel, tables: int) -> list[tuple[str, float, float]]:
    """(what, difference, share of tables that find it), against base and the reference, alone and in the family."""
    pairs = (("v1", "base"), ("v1", "v0"))
    rng = np.random.default_rng([3, world.seeds, world.questions])
    alphas = (LEVEL, LEVEL / len(world.pairs))
    pilots = [differences(world, world.table(rng), pairs=pairs) for _ in range(tables // 4)]
    effects = [
        float(np.mean([estimates.detectable_difference(pilot[row], alpha) for pilot in pilots]))
        for row in range(len(pairs))
        for alpha in alphas
    ]
    shifted = replace(world, effects=tuple(effects))
    tests = tuple((f"v{index}", against) for index, against in ((1, "base"), (2, "base"), (3, "v0"), (4, "v0")))
    limits = np.array([alphas[0], alphas[1]] * 2)
    hits = np.zeros(4)
    for _ in range(tables):
        hits += np.array([item.pvalue for item in differences(shifted, shifted.table(rng), pairs=tests)]) <= limits
    kinds = ("against base, alone", "against base, family (Holm)", "against a trained row, alone",
             "against a trained row, family (Holm)")  # fmt: skip
    found = list(zip(kinds, effects, hits / tables, strict=True))
    # The critical value is free of scale, so that of fewer tables serves.
    critical = float(
        np.mean([permuted(world, world.table(rng), rng, 10 * DRAWS).critical for _ in range(tables // 40)])
    )
    for row, index in enumerate((1, 5)):
        effect = float(np.mean([estimates.detectable_difference(pilot[row], critical=critical) for pilot in pilots]))
        name = f"{kinds[2 * row].partition(',')[0]}, family (permutation)"
        found.append((name, effect, _found_by_permutation(replace(world, effects=(effect,)), tables, index)))
    return found


def _found_by_permutation(world: TableModel, tables: int, index: int) -> float:
    rng = np.random.default_rng([4, world.seeds, world.questions, index])
    found = [permuted(world, world.table(rng), rng, DRAWS).adjusted[0][index] for _ in range(tables)]
    return float(np.mean(np.array(found) <= LEVEL))


def _found_in_one_run(questions: int, samples: int, tables: int) -> tuple[float, float]:
    rng = np.random.default_rng([5, questions, samples])

    def test(effect: float) -> PairedDifference:
        chance = 0.1 + 0.7 * rng.random(questions)
        left, right = (rng.binomial(samples, chance + shift) / samples for shift in (effect, 0.0))
        return estimates.paired_difference(left, right, np.arange(questions), rng=rng)

    printed = float(np.mean([estimates.detectable_difference(test(0.0)) for _ in range(tables // 10)]))
    return printed, float(np.mean([test(printed).pvalue <= LEVEL for _ in range(tables)]))


def coverage(tables: int, bounds: Bounds) -> None:
    """Share of 95 % intervals that hold the true accuracy, at every accuracy of a uniform grid."""
    print("\nCoverage of the 95 % interval in %, by accuracy")
    for questions in (30, 272, 1319):
        _print_coverage(f"{questions} questions, one answer each, exact", RATES, _binomial(questions), bounds)
    for questions in (30, 272, 1319):
        for name, seeds, samples in (("3 runs", 3, 1), ("5 runs", 5, 1), ("one run, 4 answers each", 1, 4)):
            count = tables if questions == 30 else tables // 4
            found = np.array([_covered(questions, seeds, samples, rate, count) for rate in RUN_RATES])
            _print_coverage(f"{questions} questions, {name}, {count} tables each", RUN_RATES, found, bounds)


def _print_coverage(name: str, rates: Floats, found: Floats, bounds: Bounds) -> None:
    mean = bounds.check(f"mean coverage, {name}", float(found.mean()), 0.94, 1.0)
    least = bounds.check(f"least coverage, {name}", float(found.min()), 0.90, 1.0)
    print(f"{name}: mean {mean.strip()}, least {least.strip()}")
    for start in range(0, len(rates), 10):
        cells = zip(rates[start : start + 10], found[start : start + 10], strict=True)
        print("   " + "  ".join(f"{100 * rate:4.1f}:{100 * value:5.1f}" for rate, value in cells), flush=True)


def _binomial(questions: int) -> Floats:
    ends = [estimates.interval(np.repeat([1, 0], [x, questions - x])) for x in range(questions + 1)]
    low, high = np.array([item.low for item in ends]), np.array([item.high for item in ends])
    mass = scipy.stats.binom.pmf(np.arange(questions + 1), questions, RATES[:, None])
    found: Floats = (mass * ((low <= RATES[:, None]) & (RATES[:, None] <= high))).sum(axis=1)
    return found


def _covered(questions: int, seeds: int, samples: int, rate: float, tables: int) -> float:
    """Questions are right by themselves with a share of 0.3, else by the run's level, whose sd is 2 points over all."""
    rng = np.random.default_rng([6, questions, seeds, samples, round(1000 * rate)])
    own, spread = 0.3, 0.02 / 0.7 if seeds > 1 else 0.0
    # Levels beyond 0 and 1 do not exist; the true accuracy is what is left of the rate then.
    levels = np.clip(rate + spread * scipy.stats.norm.ppf((np.arange(2_000) + 0.5) / 2_000), 0, 1)
    truth = own * rate + (1 - own) * float(levels.mean())
    strata, weights = np.zeros(questions, dtype=np.intp), np.full(questions, 1 / questions)
    hits = 0
    for _ in range(tables):
        easy = (rng.random((questions, 1)) < rate).astype(np.float64)
        run = np.clip(rate + spread * rng.standard_normal(seeds), 0, 1)
        chance = np.where(rng.random((questions, seeds)) < own, easy, run)
        means = rng.binomial(samples, chance) / samples
        found = estimates.interval_of(Answers(means, strata, weights, samples * means.size))
        hits += found.low <= truth <= found.high
    return hits / tables


PARTS: dict[str, Callable[[int, Bounds], None]] = {"errors": family_wise_error, "power": power, "coverage": coverage}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=2000, help="simulated tables per row (bounds hold for 2,000)")
    parser.add_argument("--only", choices=PARTS, help="one part of it")
    arguments = parser.parse_args()
    bounds = Bounds()
    for name, part in PARTS.items():
        if arguments.only in (None, name):
            part(arguments.tables, bounds)
    print("\n" + ("\n".join(["Not as promised:", *bounds.missed]) if bounds.missed else "Everything as promised."))
    sys.exit(1 if bounds.missed else 0)


if __name__ == "__main__":
    main()
