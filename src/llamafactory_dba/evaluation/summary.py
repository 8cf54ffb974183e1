"""From the results of a run and of its base model to S_D, S_G, S and the differences. What is missing stays None."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import DBAError
from .intervals import PairedTest, paired_test
from .results import LOSS, Results, TaskResult
from .scores import joint_score, mean_general


SIGNIFICANT = 0.05
QUESTIONS = "{} (questions)"  # name in `Results.data` of what a task asks, as evaluation writes it
SAME = 1e-6  # percentage points: a value is the mean of its per-sample values, but for the rounding of a scorer


class TaskKey(NamedTuple):
    """What makes two scores comparable, next to the version; not the suite, since several may name one task."""

    task: str
    metric: str


@dataclass(frozen=True)
class TaskChange:
    """A score beside the base model's.

    Attributes:
        score: of the run.
        base: of the base model; None where it was not measured.
        delta: score minus base, in percentage points or in the unit of a loss; None without base.
        test: None without base, or where per-sample values of the same samples are not there for both.
        test_is_of_value: whether the test is of this very metric; False where the metric is no mean over samples
            (a weighted F1), so that the test compares the per-sample values only.
    """

    score: TaskResult
    base: TaskResult | None
    delta: float | None
    test: PairedTest | None
    test_is_of_value: bool = False

    @property
    def better(self) -> float | None:
        """``delta`` turned so that more is better: of a loss, which should be low, minus delta."""
        return None if self.delta is None else self._sign * self.delta

    @property
    def lost(self) -> bool:
        """Whether it is worse than the base model at p < 0.05."""
        return self._moved(-1)

    @property
    def gained(self) -> bool:
        """Whether it is better than the base model at p < 0.05."""
        return self._moved(1)

    @property
    def _sign(self) -> int:
        return -1 if self.score.role == LOSS else 1

    def _moved(self, way: int) -> bool:
        if self.test is None or self.better is None or self.test.p >= SIGNIFICANT:
            return False
        # where the test is not of the value itself, both have to point the same way
        return way * self._sign * self.test.delta > 0 and way * self.better > 0


@dataclass(frozen=True)
class Summary:
    """The joint numbers of a run, in %; None is "not measured". Losses are in ``tasks`` and in no mean.

    Attributes:
        s_d: mean over the domain tasks.
        s_g: mean over the general tasks.
        s: harmonic mean of both (METHOD eqs. 13-14, `scores.joint_score`).
        kept: S_G as a share of the base model's S_G on the same tasks, in %.
        delta_s_d: difference from the base model on the same tasks, as delta_s_g and delta_s.
        tasks: every score beside the base model's.
    """

    s_d: float | None
    s_g: float | None
    s: float | None
    kept: float | None
    delta_s_d: float | None
    delta_s_g: float | None
    delta_s: float | None
    tasks: tuple[TaskChange, ...]


def summarise(results: Results, base: Results | None = None) -> Summary:
    """Compare a run with its base model.

    Args:
        results: of the run.
        base: of the base model; None where it was not measured.

    Raises:
        DBAError: the two hold different versions of a task, or are of different base models.
    """
    check_versions({results.run.name: results, **({f"base: {base.run.name}": base} if base else {})})
    prints = {r.run.base_fingerprint for r in (results, base) if r is not None and r.run.base_fingerprint}
    if len(prints) > 1:
        raise DBAError(
            f"{results.run.name!r} and its base results are of different base models.",
            expected="the same fingerprint",
            found=" and ".join(sorted(item[:16] for item in prints)),
            next_step="measure the base model that the run started from",
        )
    before = scores_of(base.tasks) if base else {}
    other = {name for name in results.data if base and results.data[name] != base.data.get(name, results.data[name])}
    changes = tuple(_change(task, before.get(key_of(task)), other) for task in results.tasks)
    s_d, s_g = (_mean(change.score for change in _of(changes, role)) for role in ("domain", "general"))
    base_d, base_g = (_base_mean(_of(changes, role)) for role in ("domain", "general"))
    s, base_s = _joint(s_d, s_g), _joint(base_d, base_g)
    return Summary(
        s_d=s_d,
        s_g=s_g,
        s=s,
        kept=None if s_g is None or not base_g else 100 * s_g / base_g,
        delta_s_d=_minus(s_d, base_d),
        delta_s_g=_minus(s_g, base_g),
        delta_s=_minus(s, base_s),
        tasks=changes,
    )


def key_of(task: TaskResult) -> TaskKey:
    """Task and metric."""
    return TaskKey(task.task, task.metric)


def scores_of(tasks: Iterable[TaskResult]) -> dict[TaskKey, TaskResult]:
    """By key."""
    return {key_of(task): task for task in tasks}


def check_versions(results: Mapping[str, Results]) -> None:
    """Refuse results that hold different versions of one task: they cannot stand in one table.

    Args:
        results: by a name for the error, such as the path.
    """
    seen: dict[TaskKey, tuple[str, str]] = {}
    for name, item in results.items():
        for task in item.tasks:
            version, first = seen.setdefault(key_of(task), (task.task_version, name))
            if version != task.task_version:
                raise DBAError(
                    f"Task {task.task} is there in different versions, which cannot be compared.",
                    expected=f"one version, such as {version} in {first}",
                    found=f"{task.task_version} in {name}",
                    next_step="evaluate the older runs again, or report on them separately",
                )


def _change(task: TaskResult, base: TaskResult | None, other: Collection[str] = ()) -> TaskChange:
    """``other``: data sets whose hashes differ; the samples of a task on one of them are no pairs."""
    if base is None:
        return TaskChange(task, None, None, None)
    delta = task.value - base.value
    if task.per_sample is None or base.per_sample is None or task.n != base.n or QUESTIONS.format(task.task) in other:
        return TaskChange(task, base, delta, None)
    scale = 1.0 if task.role == LOSS else 100.0
    test = paired_test(task.per_sample, base.per_sample, scale=scale)
    of_value = all(abs(scale * sum(t.per_sample or ()) / t.n - t.value) < SAME for t in (task, base))
    return TaskChange(task, base, delta, test, of_value)


def _of(changes: Sequence[TaskChange], role: str) -> list[TaskChange]:
    return [change for change in changes if change.score.role == role]


def _mean(tasks: Iterable[TaskResult]) -> float | None:
    values = {f"{task.task}/{task.metric}": task.value for task in tasks}
    return mean_general(values) if values else None


def _base_mean(changes: Sequence[TaskChange]) -> float | None:
    """Over the same tasks; None where one of them was not measured on the base model."""
    found = [change.base for change in changes if change.base is not None]
    return _mean(found) if len(found) == len(changes) else None


def _joint(s_d: float | None, s_g: float | None) -> float | None:
    return None if s_d is None or s_g is None else joint_score(s_d, s_g)


def _minus(value: float | None, base: float | None) -> float | None:
    return None if value is None or base is None else value - base
