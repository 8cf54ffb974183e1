"""Scores from log-likelihoods: the most likely of given choices, and the losses of text. All in nats and float64."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import DBAError
from .intervals import DRAWS, LEVEL
from .metrics.exact import exact_match
from .metrics.result import Score
from .questions import Question
from .results import Interval


@dataclass(frozen=True)
class Likelihoods:
    """Of the choices of one question: summed log-likelihoods in nats, and how many tokens each has."""

    log_likelihoods: tuple[float, ...]
    tokens: tuple[int, ...] = ()


@dataclass(frozen=True)
class TextLoss:
    """Of one text: its negative log-likelihood in nats, and its tokens, words and UTF-8 bytes."""

    nll: float
    tokens: int
    words: int
    bytes: int


@dataclass(frozen=True)
class Loss:
    """One measure of texts; ``values`` has a mean equal to ``value``, or is None. ``groups``: group → (value, n)."""

    metric: str
    value: float
    n: int
    values: tuple[float, ...] | None
    interval: Interval | None
    groups: Mapping[str, tuple[float, int]] = field(default_factory=dict)


def score_likelihoods(
    questions: Sequence[Question], answers: Sequence[Likelihoods], delimiter: int = 1
) -> dict[str, Score]:
    """Accuracy of the most likely choice, by three measures; the first of equal ones is taken.

    ``accuracy`` compares the sums (lm-evaluation-harness: acc), ``accuracy_per_character`` the sums divided by the
    characters of the choice (its acc_norm), ``accuracy_per_token`` by its tokens.

    Args:
        questions: with their choices.
        answers: one for each.
        delimiter: characters before a choice that are no part of it.

    Raises:
        DBAError: not one number for each choice.
    """
    right: list[int] = []
    found: dict[str, list[int | None]] = {"accuracy": [], "accuracy_per_character": [], "accuracy_per_token": []}
    for question, answer in zip(questions, answers, strict=True):
        sums, count = answer.log_likelihoods, len(question.choices)
        if len(sums) != count or len(answer.tokens) not in (0, count) or question.right is None:
            raise DBAError(
                "Log-likelihoods and choices do not belong together.",
                expected=f"{count} choices, one of them right",
                found=f"{len(sums)} sums, {len(answer.tokens)} token counts",
            )
        right.append(question.right)
        lengths = [len(choice) - delimiter for choice in question.choices]
        found["accuracy"].append(_best(sums, [1] * count))
        found["accuracy_per_character"].append(_best(sums, lengths))
        if answer.tokens:
            found["accuracy_per_token"].append(_best(sums, answer.tokens))
    return {metric: exact_match(right, best, metric) for metric, best in found.items() if len(best) == len(right)}


def _best(sums: Sequence[float], lengths: Sequence[int]) -> int | None:
    """Place of the highest; None where one is no number: such a model says nothing."""
    each = [value / max(1, length) for value, length in zip(sums, lengths, strict=True)]
    return None if any(math.isnan(value) for value in each) else each.index(max(each))


def score_losses(
    name: str, answers: Sequence[TextLoss], groups: Sequence[str] = (), *, words: bool = True, seed: int = 0
) -> list[Loss]:
    """Nats per token, perplexity, bits per byte, and word perplexity, all over all texts together.

    Args:
        name: of the task, for errors.
        answers: one for each text.
        groups: of the texts.
        words: whether words are separated by spaces in this language, so that their perplexity means something.
        seed: of the bootstrap over texts.

    Raises:
        DBAError: a loss is not finite, or there is no token.
    """
    table = np.array([[each.nll, each.tokens, each.bytes, each.words] for each in answers], dtype=np.float64)
    if not np.isfinite(table).all() or (table[:, 0] < 0).any() or (table[:, 1:3] < 1).any():
        raise DBAError(
            f"{name}: a text has no loss.",
            expected="finite nats of 0 or more, and a token or more, for every text",
            found="a loss that is not finite or negative, or a text without tokens",
            next_step="look at the model's dtype (NaN comes from float16), and at the texts",
        )
    n = len(table)
    # how often each text is in a resample: ratios of sums need no more
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=DRAWS) @ table if n > 1 else None
    found = []
    for metric, column, scale in (
        ("nats_per_token", 1, 1.0),
        ("bits_per_byte", 2, 1 / math.log(2)),
        ("perplexity", 1, None),
        ("word_perplexity", 3, None),
    ):
        if column == 3 and not (words and (table[:, 3] > 0).all()):
            continue
        finish = (lambda ratio, by=scale: float(ratio) * by) if scale is not None else _exponential
        total = table.sum(0)
        values = None
        if scale is not None:  # a mean of these is the ratio of the sums
            values = tuple((table[:, 0] * (scale * n / total[column])).tolist())
        interval = None
        if drawn is not None:
            ends = np.quantile(drawn[:, 0] / drawn[:, column], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
            interval = Interval(finish(ends[0]), finish(ends[1]), f"bootstrap, {DRAWS} draws, seed {seed}", LEVEL)
        by_group = {}
        for group in sorted(set(groups)):
            rows = table[[place for place, each in enumerate(groups) if each == group]]
            by_group[group] = (finish(rows[:, 0].sum() / rows[:, column].sum()), len(rows))
        found.append(Loss(metric, finish(total[0] / total[column]), n, values, interval, by_group))
    return found


def _exponential(ratio: float) -> float:
    return math.exp(min(float(ratio), 700.0))  # of a broken model it would overflow
