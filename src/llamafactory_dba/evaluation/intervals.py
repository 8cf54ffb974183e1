"""Confidence intervals of scores and paired tests between two models on the same samples. All in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from ..errors import DBAError
from .results import Interval


LEVEL = 0.95
DRAWS = 2000
CHUNK = 4_000_000  # numbers held at a time while drawing
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PairedTest:
    """Difference of two models on the same samples.

    Attributes:
        delta: mean difference of the per-sample values, in percentage points (of losses: in their unit).
        p: two-sided p-value of "no difference".
        method: the test.
        interval: of ``delta``.
        n: pairs.
    """

    delta: float
    p: float
    method: str
    interval: Interval
    n: int


def wilson(right: int, n: int, level: float = LEVEL) -> Interval:
    """Wilson's score interval of a proportion, in % (Wilson 1927).

    Args:
        right: successes.
        n: trials, at least 1.
        level: confidence level.
    """
    if n < 1 or not 0 <= right <= n:
        raise DBAError("no interval of a proportion", expected="0 <= right <= n, n > 0", found=f"{right} of {n}")
    z = _z(level)
    p = right / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    low = 0.0 if right == 0 else 100 * (centre - half)  # exact at the ends, where rounding would leave 1e-15
    high = 100.0 if right == n else 100 * (centre + half)
    return Interval(low, high, "Wilson", level)


def bootstrap(
    statistic: Callable[[npt.NDArray[np.intp]], float],
    n: int,
    *,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = LEVEL,
) -> Interval:
    """Percentile bootstrap of any metric (Efron 1979), such as a weighted F1.

    Args:
        statistic: from the indices of a resample, (n,), to the metric in %.
        n: samples.
        seed: the same seed gives the same interval.
        draws: resamples.
        level: confidence level.
    """
    if n < 1 or draws < 1:
        raise DBAError("no bootstrap interval", expected="samples and draws", found=f"{n} samples, {draws} draws")
    generator = np.random.default_rng(seed)
    values = np.array([statistic(generator.integers(0, n, n)) for _ in range(draws)], dtype=np.float64)
    return _percentiles(values, f"bootstrap, {draws} draws, seed {seed}", level)


def bootstrap_mean(
    values: Sequence[float] | Array, *, seed: int = 0, draws: int = DRAWS, level: float = LEVEL
) -> Interval:
    """Percentile bootstrap of the mean of per-sample values (shares of 1), in %."""
    means = _resampled_means(np.asarray(values, dtype=np.float64), seed, draws)
    return _percentiles(100 * means, f"bootstrap, {draws} draws, seed {seed}", level)


def paired_test(
    values: Sequence[float],
    base: Sequence[float],
    *,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = LEVEL,
    scale: float = 100.0,
) -> PairedTest:
    """Test a model against another on the same samples: exact McNemar for 0/1, paired bootstrap otherwise.

    Args:
        values: per sample, shares of 1.
        base: of the other model, in the same order.
        seed: of the bootstrap.
        draws: of the bootstrap.
        level: of the interval.
        scale: what the difference and its interval are multiplied with; 1 for losses, which are no shares of 1.

    Raises:
        DBAError: there is no pair, or the lengths differ.
    """
    x, y = np.asarray(values, dtype=np.float64), np.asarray(base, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1 or not x.size:
        raise DBAError("no paired test", expected="two lists of one length, not empty", found=f"{x.shape}, {y.shape}")
    delta = scale * float(np.mean(x - y))
    if scale == 100 and np.isin(x, (0, 1)).all() and np.isin(y, (0, 1)).all():
        gained, lost = int(np.sum(x > y)), int(np.sum(x < y))
        interval = agresti_min(gained, lost, x.size, level)
        return PairedTest(delta, mcnemar(gained, lost), "McNemar, exact", interval, x.size)
    method = f"paired bootstrap, {draws} draws, seed {seed}"
    means = _resampled_means(x - y, seed, draws)
    # one is added to both sides, as for a permutation test: with finitely many draws p cannot be 0
    tail = 1 + min(int(np.sum(means <= 0)), int(np.sum(means >= 0)))
    return PairedTest(
        delta, min(1.0, 2 * tail / (draws + 1)), method, _percentiles(scale * means, method, level), x.size
    )


def mcnemar(gained: int, lost: int) -> float:
    """Exact two-sided p-value of McNemar's test (1947): binomial with 1/2 over the samples that changed.

    Args:
        gained: samples that only the first model has right.
        lost: samples that only the second model has right.
    """
    n = gained + lost
    term, total = 1, 0
    for i in range(min(gained, lost) + 1):  # in integers, C(n, i): nothing is rounded before the division
        total += term
        term = term * (n - i) // (i + 1)
    return min(1.0, 2 * total / 2**n)


def agresti_min(gained: int, lost: int, n: int, level: float = LEVEL) -> Interval:
    """Interval of the difference of two paired proportions, in points: Wald's with 1/2 added to all four cells.

    Source: Agresti and Min, Statistics in Medicine 24, 2005.
    """
    b, c, total = gained + 0.5, lost + 0.5, n + 2
    centre = (b - c) / total
    half = _z(level) * math.sqrt(b + c - (b - c) ** 2 / total) / total
    return Interval(100 * max(-1.0, centre - half), 100 * min(1.0, centre + half), "Agresti-Min", level)


def _z(level: float) -> float:
    return NormalDist().inv_cdf(0.5 + level / 2)


def _percentiles(values: Array, method: str, level: float) -> Interval:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), method, level)


def _resampled_means(values: Array, seed: int, draws: int) -> Array:
    """Means of ``draws`` resamples, (draws,).

    A resample's mean depends only on how often each distinct value was drawn, so these counts are drawn instead:
    equal in distribution, and quick where samples share few values.
    """
    if not values.size or draws < 1:
        raise DBAError("no bootstrap", expected="samples and draws", found=f"{values.size} samples, {draws} draws")
    generator = np.random.default_rng(seed)
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) <= 64:
        drawn = generator.multinomial(values.size, counts / values.size, size=draws)
        return np.asarray(drawn @ distinct / values.size, dtype=np.float64)
    rows = max(1, CHUNK // values.size)
    parts = [
        values[generator.integers(0, values.size, (min(rows, draws - start), values.size))].mean(1)
        for start in range(0, draws, rows)
    ]
    return np.concatenate(parts)
