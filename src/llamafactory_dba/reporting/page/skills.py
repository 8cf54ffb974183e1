"""What an average hides: the tasks and groups of tasks that lost most, and the groups one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...evaluation.results import LOSS
from ...evaluation.summary import TaskChange
from .cells import MISSING, Table, averaged, number, p_value, signed
from .entries import Group, Mean, Series, mean_of
from .tables import changes_by_key, marks


MOST, FEW = 5, 3  # rows of a series, and where there are many series
MANY = 5
WIDE = 8  # columns of the table of groups
LOST_NOTE = (
    "The general tasks, or groups of a task such as the subjects of MMLU, that are furthest below the base "
    "model, for each run. Groups are not tested: with few samples, the largest of many differences is large by chance "
    "alone."
)


class Skill(NamedTuple):
    """A task or a group of one, over the runs of a series."""

    name: str
    base: float
    value: Mean
    delta: Mean
    n: int
    test: str


def headline(group: Group) -> str:
    """The best S of the group with its seeds, what was learned, what was kept and what is free."""
    free = _free(group)
    scored = [(series, s) for series in group.rows[len(group.bases) :] if (s := series.number("s")) is not None]
    if not scored:
        return free or "No run has both a domain and a general score, so there is no S."
    best, s = scored[0]
    among = f" of {len(scored)} methods and settings" if len(scored) > 1 else ""
    values = f"S_D {averaged(best.number('s_d'))}, S_G {averaged(best.number('s_g'))}"
    text = f"Best S{among}: {best.label} with S = {averaged(s)} ({values}; {_seeds(best)})"
    delta_d, delta_g = best.number("delta_s_d"), best.number("delta_s_g")
    if delta_d is None or delta_g is None:
        return text + "; the base model was not measured on all of these tasks, so what was kept is not known." + free
    text += f"; against the base model {signed(delta_d.mean)} on the domain, {signed(delta_g.mean)} on the general "
    kept = best.number("kept")
    text += f"tasks, {number(kept.mean)} % of its S_G kept." if kept else "tasks."
    second = f" Next by S: {scored[1][0].label} with {averaged(scored[1][1])}." if len(scored) > 1 else ""
    return text + _losses(best) + second + free


def lost_most(group: Group) -> Table | None:
    """The largest losses of every series; None where nothing fell or no base model was measured."""
    rows = []
    most = MOST if len(group.series) <= MANY else FEW
    for series in group.rows[len(group.bases) :]:
        skills = [*_tasks(series), *_groups(series)]
        fallen = sorted((item for item in skills if item.delta.mean < 0), key=lambda item: item.delta.mean)[:most]
        for place, item in enumerate(fallen):
            cells = (number(item.base), averaged(item.value), averaged(item.delta, signed), f"{item.n:,}", item.test)
            rows.append((series.label if place == 0 else "", item.name, *cells))
    head = ("run", "task or group", "base %", "%", "Δ", "n", "p")
    return Table(head, tuple(rows), texts=2, note=LOST_NOTE) if rows else None


def groups(group: Group) -> Table | None:
    """Every group of every task: the base model's score and the difference of each series from it."""
    series = [item for item in group.rows[len(group.bases) :] if _groups(item)]
    shown = series[:WIDE]
    found = [{item.name: item for item in _groups(one)} for one in shown]
    names = sorted({name for items in found for name in items})
    if not names:
        return None
    rows = []
    for name in names:
        first = next(items[name] for items in found if name in items)
        deltas = [averaged(items[name].delta, signed) if name in items else MISSING for items in found]
        rows.append((name, f"{first.n:,}", number(first.base), *deltas))
    left = f" The first {WIDE} of {len(series)} runs by S." if len(series) > WIDE else ""
    head = ("group", "n", "base %", *(f"Δ {item.label}" for item in shown))
    return Table(head, tuple(rows), note=f"Differences from the base model in points, not tested.{left}")


def _free(group: Group) -> str:
    texts = []
    for sweep in group.sweeps:
        if best := sweep.best:
            texts.append(
                f" Free alternative: interpolation between the base model and {sweep.label} at alpha = {best.alpha:g} "
                f"has S = {number(best.s)} (S_D {number(best.s_d)}, S_G {number(best.s_g)}), alpha chosen on these "
                "very scores."
            )
    return "".join(texts)


def _seeds(series: Series) -> str:
    if len(series.entries) > 1:
        return f"mean ± standard deviation over {len(series.entries)} seeds"
    return "one run" if series.entries[0].results.run.seed is None else "one seed"


def _losses(series: Series) -> str:
    """The general tasks that are significantly below the base model; where nothing was tested, the largest loss."""
    found = [skill for skill in _by_task(series) if skill[0].score.role == "general"]
    lost = sorted((item for item in found if any(c.lost for c in item)), key=_delta)
    seeds = " in a seed or more" if len(series.entries) > 1 else ""
    if lost:
        names = ", ".join(f"{item[0].score.task} {signed(_delta(item))}" for item in lost[:3])
        text = f" {len(lost)} of {len(found)} general tasks are below the base model at p < 0.05{seeds}: {names}"
        return text + (", …." if len(lost) > 3 else ".")
    tested = sum(any(c.test is not None for c in item) for item in found)
    if tested:
        return f" None of {tested} tested general tasks is below it at p < 0.05."
    worst = min(found, key=_delta, default=None)
    if worst is None or _delta(worst) >= 0:
        return ""
    return f" Largest loss: {worst[0].score.task} {signed(_delta(worst))} (no paired test: no per-sample values)."


def _delta(found: Sequence[TaskChange]) -> float:
    delta = mean_of([item.delta for item in found])
    return 0.0 if delta is None else delta.mean


def _by_task(series: Series) -> list[list[TaskChange]]:
    """For each task that all runs of the series have, its change in every run."""
    found = [changes_by_key(entry) for entry in series.entries]
    return [[item[key] for item in found] for key in found[0] if all(key in item for item in found)]


def _tasks(series: Series) -> list[Skill]:
    skills = []
    for found in _by_task(series):
        first = found[0]
        delta, value = mean_of([c.delta for c in found]), mean_of([c.score.value for c in found])
        if first.score.role != "general" or first.base is None or delta is None or value is None:
            continue
        test = p_value(first.test.p) if len(found) == 1 and first.test else MISSING
        test = f"({test})" if test != MISSING and not first.test_is_of_value else test
        text = f"{marks(found)} {test if test != MISSING else ''}".strip() or MISSING
        skills.append(Skill(_name(first), first.base.value, value, delta, first.score.n, text))
    return skills


def _groups(series: Series) -> list[Skill]:
    skills = []
    for found in _by_task(series):
        first = found[0]
        if first.score.role == LOSS or first.base is None or not first.base.groups or not first.score.groups:
            continue
        for name, (base, n) in first.base.groups.items():
            pairs = [(c.score.groups or {}).get(name) for c in found]
            # another number of samples is another set of samples
            values = [pair[0] for pair in pairs if pair is not None and pair[1] == n]
            if len(values) < len(pairs):
                continue
            value, delta = mean_of(values), mean_of([x - base for x in values])
            if value is not None and delta is not None:
                skills.append(Skill(f"{_name(first)}: {name}", base, value, delta, int(n), MISSING))
    return skills


def _name(found: TaskChange) -> str:
    return found.score.task
