"""Bootstrap interval of a weighted F1, drawn from its confusion matrix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .intervals import DRAWS, LEVEL
from .results import Interval


def f1_interval(
    references: Sequence[str],
    answers: Sequence[str | None],
    labels: Sequence[str],
    *,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = LEVEL,
) -> Interval:
    """Percentile bootstrap (Efron 1979) of `metrics.f1.weighted_f1`, in %.

    A resample's F1 depends on its confusion matrix alone, and the matrix of a resample is multinomial: it is drawn as
    a whole, which is equal in distribution and takes the same time for any number of samples.

    Args:
        references: classes.
        answers: classes, None where nothing could be read.
        labels: all classes.
        seed: the same seed gives the same interval.
        draws: resamples.
        level: confidence level.
    """
    counts = confusion(references, answers, labels)
    n = int(counts.sum())
    drawn = np.random.default_rng(seed).multinomial(n, counts.ravel() / n, size=draws)
    low, high = np.quantile(f1_of(drawn.reshape(draws, *counts.shape)), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), f"bootstrap, {draws} draws, seed {seed}", level)


def confusion(
    references: Sequence[str], answers: Sequence[str | None], labels: Sequence[str]
) -> npt.NDArray[np.int64]:
    """How often each class (row) was answered with each class or, in the last column, with nothing readable."""
    pairs = Counter(zip(references, answers, strict=True))
    return np.array([[pairs[right, given] for given in (*labels, None)] for right in labels], dtype=np.int64)


def f1_of(matrices: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Weighted F1 in % of confusion matrices.

    Args:
        matrices: as of `confusion`, shape (draws, classes, classes + 1).

    Returns:
        Shape (draws,).
    """
    support = matrices.sum(2)
    right = np.diagonal(matrices, axis1=1, axis2=2)
    both = support + matrices[:, :, :-1].sum(1)  # 2 TP + FP + FN
    f1 = np.divide(200.0 * right, both, out=np.zeros(both.shape), where=both > 0)
    return np.asarray((f1 * support).sum(1) / support.sum(1), dtype=np.float64)
