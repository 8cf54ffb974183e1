"""Scores of the report: the joint numbers, and every task beside the base model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from ...evaluation.results import LOSS, TaskResult
from ...evaluation.summary import SIGNIFICANT, TaskChange, TaskKey, key_of
from .cells import MISSING, Table, averaged, change, number, p_value, score, signed
from .entries import Entry, Group, Mean, Series, mean_of
from .sweep import Point


SCORE_NOTE = (
    "S_D: mean over the domain tasks. S_G: mean over the general tasks. S: their harmonic mean. Kept: S_G as a share "
    "of the base model's S_G on the same tasks. Δ: difference from the base model, in percentage points. "
    f"{MISSING}: not measured."
)
SEED_NOTE = (
    " ±: standard deviation over runs that differ only in their seed. S, kept and Δ are computed for each run and "
    "then averaged, so S is not the harmonic mean of the averages. Where there is no ±, there is one run."
)
SWEEP_NOTE = (
    " Free alternative: weights between the base model and a fine-tuned one (WiSE-FT, alpha of the way), which cost "
    "no training; its alpha is the best on these very scores, so its S is an upper bound."
)
TASK_NOTE = (
    "Scores in %. Intervals are at 95 %. p: paired test against the base model on the same samples (exact McNemar for "
    "right or wrong, paired bootstrap otherwise), not corrected for the number of tests. ▼ worse, ▲ better than the "
    f"base model at p < {SIGNIFICANT:g}. A p in brackets tests the per-sample values, of which this metric is no "
    "mean. Unparsed answers count as wrong."
)
LOSS_NOTE = " A loss is in the unit of its metric, lower is better, and it is in no mean."
CUT_NOTE = " Truncated: cut off by the limit of new tokens, scored as it is. Skipped: not asked, not among the n."
MANY_NOTE = " ▼ 2/3: worse at that level in two of three seeds. Over seeds, counts are sums."
NUMBERS = ("s_d", "s_g", "s", "kept")
DELTAS = ("delta_s_d", "delta_s_g", "delta_s")
SCORE_HEAD = ("run", "S_D", "S_G", "S", "kept %", "ΔS_D", "ΔS_G", "ΔS")


def scores(group: Group) -> Table:
    """S_D, S_G, S, what was kept and the differences, one row a series, the best S first."""
    rows = [_joint(series) for series in group.rows]
    for sweep in group.sweeps:
        if best := sweep.best:
            label = f"free alternative: {sweep.label} interpolated, alpha = {best.alpha:g}"
            rows.append((label, *_against(best, sweep.base)))
    note = SCORE_NOTE + (SEED_NOTE if many_seeds(group) else "") + (SWEEP_NOTE if group.sweeps else "")
    return Table(SCORE_HEAD, tuple(rows), note=note)


def single_runs(group: Group) -> Table | None:
    """The same for every single run of the series of several; None where there are none."""
    rows = [_joint(Series(e.label, (e,))) for series in group.rows if len(series.entries) > 1 for e in series.entries]
    return Table(SCORE_HEAD, tuple(rows)) if rows else None


def sweep_points(group: Group) -> Table | None:
    """Every point of the frontiers."""
    rows = [
        (sweep.label if place == 0 else "", f"{point.alpha:g}", *map(number, (point.s_d, point.s_g, point.s)))
        for sweep in group.sweeps
        for place, point in enumerate(sweep.points)
    ]
    note = "alpha 0 is the base model, alpha 1 the fine-tuned one."
    return Table(("fine-tuned model", "alpha", "S_D", "S_G", "S"), tuple(rows), note=note) if rows else None


def tasks(group: Group) -> Table:
    """Every score with n, interval and Δ, task by task, so that an average hides nothing."""
    return _tasks(group, group.rows)


def single_tasks(group: Group) -> Table | None:
    """The same for every single run of the series of several; None where there are none."""
    if not many_seeds(group):
        return None
    return _tasks(group, [Series(entry.label, (entry,)) for series in group.rows for entry in series.entries])


def many_seeds(group: Group) -> bool:
    """Whether a series holds several runs."""
    return any(len(series.entries) > 1 for series in group.series)


def changes_by_key(entry: Entry) -> dict[TaskKey, TaskChange]:
    """Every score of a run beside the base model's."""
    return {key_of(item.score): item for item in entry.summary.tasks}


def _joint(series: Series) -> tuple[str, ...]:
    values = [averaged(series.number(name)) for name in NUMBERS]
    return (series.label, *values, *(averaged(series.number(name), signed) for name in DELTAS))


def _against(point: Point, base: Point | None) -> tuple[str, ...]:
    """A point of a frontier beside the frontier's own base model."""
    values = (point.s_d, point.s_g, point.s)
    before = (base.s_d, base.s_g, base.s) if base else (None, None, None)
    kept = 100 * point.s_g / base.s_g if base and base.s_g and point.s_g is not None else None
    deltas = [None if x is None or y is None else x - y for x, y in zip(values, before, strict=True)]
    return *map(number, values), number(kept), *map(signed, deltas)


def _tasks(group: Group, series: Sequence[Series]) -> Table:
    everything = [task for entry in group.entries for task in entry.results.tasks]
    cuts = [name for name in ("truncated", "skipped") if any(getattr(task, name) for task in everything)]
    by_series = [(item, [changes_by_key(entry) for entry in item.entries]) for item in series]
    rows = []
    for role, key, version in sorted({(task.role, key_of(task), task.task_version) for task in everything}):
        better = ", lower is better" if role == LOSS else ""
        title = f"{key.task} ({role}, {key.metric}{better}, version {version})"
        for item, found in by_series:
            if all(key in changes for changes in found):
                rows.append((title, item.label, *_cells([changes[key] for changes in found], cuts)))
                title = ""
    note = TASK_NOTE + (LOSS_NOTE if any(task.role == LOSS for task in everything) else "")
    note += (CUT_NOTE if cuts else "") + (MANY_NOTE if any(len(item.entries) > 1 for item in series) else "")
    head = ("task", "run", "score", "interval", "n", "unparsed", *cuts, "Δ", "interval of Δ", "p")
    return Table(head, tuple(rows), texts=2, note=note, grouped=True)


def _cells(found: Sequence[TaskChange], cuts: Iterable[str]) -> tuple[str, ...]:
    first = found[0].score
    in_unit, as_change = partial(score, first), partial(change, first)
    value = mean_of([item.score.value for item in found])
    delta = averaged(mean_of([item.delta for item in found]), as_change, in_unit)
    counts = [f"{sum(getattr(item.score, name) for item in found):,}" for name in ("unparsed", *cuts)]
    interval, gap, p = MISSING, MISSING, MISSING
    if len(found) == 1:
        interval, gap, p = _interval(first), *_test(found[0])
    sign = marks(found)
    return averaged(value, in_unit, in_unit), interval, f"{first.n:,}", *counts, f"{delta} {sign}".strip(), gap, p


def marks(found: Sequence[TaskChange]) -> str:
    """▼ or ▲ where the change is significant; over seeds in how many of them."""
    signs = (("▼", sum(item.lost for item in found)), ("▲", sum(item.gained for item in found)))
    many = len(found) > 1
    return " ".join(f"{sign} {count}/{len(found)}" if many else sign for sign, count in signs if count)


def _interval(task: TaskResult) -> str:
    found = task.interval
    return MISSING if found is None else f"{score(task, found.low)} to {score(task, found.high)}"


def _test(item: TaskChange) -> tuple[str, str]:
    """Interval of Δ and p."""
    test = item.test
    if test is None:
        return MISSING, MISSING
    if not item.test_is_of_value:
        return MISSING, f"({p_value(test.p)})"
    low, high = (change(item.score, x) for x in (test.interval.low, test.interval.high))
    return f"{low} to {high}", p_value(test.p)


def mean_delta(found: Sequence[TaskChange]) -> Mean | None:
    """Over the runs of a series, turned so that more is better."""
    return mean_of([item.better for item in found])
