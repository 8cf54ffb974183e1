"""From the answers of a model to the scores of a task: values, what could not be read, intervals, groups.

Every answer counts: one that cannot be read is wrong and counted as unparsed, and so is one that was cut off
(``truncated``), whatever stands in it: a chain of thought without its end has no answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ..errors import DBAError
from .answers.choices import parse_choice, parse_choices, parse_truth
from .answers.numbers import parse_boxed, parse_number
from .answers.sentiment import CLASSES, parse_sentiment
from .definitions import Task
from .f1_interval import f1_interval
from .intervals import bootstrap_mean, wilson
from .likelihoods import Likelihoods, TextLoss, score_likelihoods, score_losses
from .metrics.exact import exact_match
from .metrics.f1 import weighted_f1
from .metrics.lawbench import score_lawbench
from .metrics.result import Score, check_samples, mean_score
from .questions import Question
from .results import Interval


@dataclass(frozen=True)
class Answer:
    """What a model wrote, without its end mark; ``truncated``: it had not ended when the limit of tokens was met."""

    text: str
    truncated: bool = False


Answers: TypeAlias = Sequence[Answer | Likelihoods | TextLoss]


@dataclass(frozen=True)
class Measured:
    """One number for a task.

    Attributes:
        metric: its name; that of `definitions.Task.metric` comes first and is the one that counts.
        value: in %; of a loss in its own unit.
        n: samples, unparsed and truncated ones included; at least 1.
        unparsed: answers that could not be read, truncated ones included; wrong.
        truncated: answers that were cut off; wrong.
        skipped: samples that the task's own rules leave out because of their reference; not in ``n``.
        per_sample: shares of 1 (of a loss: in its unit) whose mean is the value; of a weighted F1, 1 where the answer
            was right; None where there is neither.
        interval: 95 %; None where it was not computed.
        groups: group → (value, n); empty where there are no groups.
    """

    metric: str
    value: float
    n: int
    unparsed: int = 0
    truncated: int = 0
    skipped: int = 0
    per_sample: tuple[float, ...] | None = None
    interval: Interval | None = None
    groups: Mapping[str, tuple[float, int]] = field(default_factory=dict)


def score(task: Task, questions: Sequence[Question], answers: Answers, *, seed: int = 0) -> list[Measured]:
    """Score the answers of a task.

    Args:
        task: what was asked.
        questions: all that were asked, at least one.
        answers: one for each question, in the same order: `Answer` of a task that generates, `Likelihoods` of the
            choices, or `TextLoss` of a perplexity.
        seed: of bootstrap intervals.

    Returns:
        The task's metric, then what else was measured on the same answers.

    Raises:
        DBAError: there are no questions, not one answer for each, answers of another kind, or a reference that cannot
            be read.
    """
    check_samples(task.name, questions, answers)
    groups = [question.group for question in questions] if any(question.group for question in questions) else []
    if task.output == "generate":
        _check_kind(task, answers, Answer)
        return [_generated(task, questions, answers, groups, seed)]  # type: ignore[arg-type]  # checked just now
    if task.output == "likelihood":
        _check_kind(task, answers, Likelihoods)
        delimiter = len(str(task.options.get("delimiter", " ")))
        measured = score_likelihoods(questions, answers, delimiter)  # type: ignore[arg-type]
        found = [_means(name, score, groups, 0, seed) for name, score in measured.items()]
    else:
        _check_kind(task, answers, TextLoss)
        losses = score_losses(task.name, answers, groups, words="en" in task.language, seed=seed)  # type: ignore[arg-type]
        found = [
            Measured(
                each.metric, each.value, each.n, per_sample=each.values, interval=each.interval, groups=each.groups
            )
            for each in losses
        ]
    return sorted(found, key=lambda each: each.metric != task.metric)


def _generated(
    task: Task, questions: Sequence[Question], answers: Sequence[Answer], groups: Sequence[str], seed: int
) -> Measured:
    texts = [None if answer.truncated else answer.text for answer in answers]
    truncated = sum(answer.truncated for answer in answers)
    if task.scorer == "sentiment":
        return _sentiment(task, [question.reference for question in questions], texts, groups, truncated, seed)
    if task.scorer == "lawbench":
        return _lawbench(task, questions, texts, truncated, seed)
    if task.scorer == "exact":
        return _means(task.metric, _exact(task, questions, texts), groups, truncated, seed)
    parsed = _parsed(task, questions, texts)
    references = _parsed(task, questions, [question.reference for question in questions])
    return _means(task.metric, exact_match(references, parsed, task.metric), groups, truncated, seed)


def _parsed(task: Task, questions: Sequence[Question], texts: Sequence[str | None]) -> list[Any]:
    """Answers in the form in which they are compared; None where there is none."""
    if task.scorer == "choice":
        known: dict[tuple[str | None, int, bool], frozenset[str] | None] = {}  # most answers are one of few texts
        found = []
        for question, text in zip(questions, texts, strict=True):
            key = (text, len(question.choices) or int(task.options["choices"]), question.right is None)
            if key not in known:
                known[key] = _letters(*key)
            found.append(known[key])
        return found
    if task.scorer == "number":
        strict = bool(task.options.get("strict", False))
        return [parse_number(text, strict=strict) for text in texts]
    parse = {"boxed": parse_boxed, "truth": parse_truth}[task.scorer]
    return [parse(text) for text in texts]


def _letters(text: str | None, choices: int, several: bool) -> frozenset[str] | None:
    """All letters where several may be right; else the one letter: an answer that names two is none."""
    if several:
        return parse_choices(text, choices)
    letter = parse_choice(text, choices)
    return None if letter is None else frozenset(letter)


def _exact(task: Task, questions: Sequence[Question], texts: Sequence[str | None]) -> Score:
    """The expected string but for white space around it: the rule of `micro.score_answers`."""
    labels = frozenset(task.options.get("labels") or ())
    given = [(text or "").strip() for text in texts]
    values = [float(text == question.reference) for text, question in zip(given, questions, strict=True)]
    unparsed = sum(not text or (bool(labels) and text not in labels) for text in given)
    return mean_score(task.metric, values, unparsed)


def _sentiment(
    task: Task,
    references: Sequence[str],
    texts: Sequence[str | None],
    groups: Sequence[str],
    truncated: int,
    seed: int,
) -> Measured:
    words = {text: parse_sentiment(text) for text in set(texts)}
    found = [words[text] for text in texts]
    result = weighted_f1(references, found, CLASSES)
    by_group = {
        group: (weighted_f1([pair[0] for pair in pairs], [pair[1] for pair in pairs], CLASSES).value, len(pairs))
        for group, pairs in _grouped(groups, list(zip(references, found, strict=True))).items()
    }
    return Measured(
        task.metric,
        result.value,
        result.n,
        result.unparsed,
        truncated,
        # no mean of these is the F1; two models are compared by whether they were right on the same samples
        per_sample=tuple(float(answer == wanted) for answer, wanted in zip(found, references, strict=True)),
        interval=f1_interval(references, found, CLASSES, seed=seed),
        groups=by_group,
    )


def _lawbench(
    task: Task, questions: Sequence[Question], texts: Sequence[str | None], truncated: int, seed: int
) -> Measured:
    name, segment = str(task.options["task"]), str(task.options.get("segment", "words"))
    rows = [
        {"question": question.extra.get("question", question.prompt), "answer": question.reference}
        for question in questions
    ]
    result = score_lawbench(name, rows, texts, segment=segment)
    if truncated and len(result.values) == len(rows):
        # a reference without entities makes even an empty answer right there; one that was cut off is not
        values = [0.0 if text is None else value for text, value in zip(texts, result.values, strict=True)]
        result = mean_score(result.metric, values, result.unparsed)
    if truncated and result.skipped:
        cut = [row for row, text in zip(rows, texts, strict=True) if text is None]
        try:
            truncated = score_lawbench(name, cut, [None] * len(cut), segment=segment).n
        except DBAError:  # every one of them is skipped
            truncated = 0
    return _means(task.metric, result, (), truncated, seed)


def _means(metric: str, result: Score, groups: Sequence[str], truncated: int, seed: int) -> Measured:
    """A mean over answers, with its interval and the means of the groups."""
    values = result.values
    interval = None
    if values and set(values) <= {0.0, 1.0}:
        interval = wilson(round(sum(values)), len(values))
    elif values:
        drawn = bootstrap_mean(values, seed=seed)
        interval = Interval(max(0.0, drawn.low), max(0.0, drawn.high), drawn.method, drawn.level)
    by_group = {group: (100.0 * sum(each) / len(each), len(each)) for group, each in _grouped(groups, values).items()}
    # a log distance may be below 0, and then the mean that is shown is not that of shares
    shares = values if values and min(values) >= 0 else None
    return Measured(
        metric, result.value, result.n, result.unparsed, truncated, result.skipped, shares, interval, by_group
    )


def _grouped(groups: Sequence[str], values: Sequence[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for group, value in zip(groups, values, strict=False):
        found.setdefault(group, []).append(value)
    return dict(sorted(found.items()))


def _check_kind(task: Task, answers: Sequence[Any], kind: type) -> None:
    strange = next((answer for answer in answers if not isinstance(answer, kind)), None)
    if strange is not None:
        raise DBAError(f"{task.name}: answers of another kind.", expected=kind.__name__, found=type(strange).__name__)


__all__ = ["Answer", "Answers", "Likelihoods", "Measured", "TextLoss", "score"]
