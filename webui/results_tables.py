"""The Results panel's tables as HTML, and nothing of gradio: every name is escaped, every number is the report's."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from llamafactory_dba.errors import DBAError
from llamafactory_dba.evaluation.results import Cost
from llamafactory_dba.evaluation.summary import Summary, TaskChange, summarise
from llamafactory_dba.reporting.page.cells import MISSING, change, number, p_value, score, signed
from llamafactory_dba.reporting.page.entries import NOT_OF_THE_METHOD

from .locales import message
from .runs import BROKEN, Run


MOST_ROWS = 1000
UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
SCORES = (("S_D", "s_d", "delta_s_d"), ("S_G", "s_g", "delta_s_g"), ("S", "s", "delta_s"))


def runs_table(runs: Sequence[Run], lang: str, beside: Path) -> str:
    """A row for each run: scores, differences from the base model, cost, state.

    Args:
        runs: in the order of the rows.
        lang: of the headings.
        beside: folders are shown relative to this one.
    """
    heads = [_col(name, lang) for name in ("run", "method", "domain", "seed")]
    numbers = ["S_D", "S_G", "S", _col("kept", lang), "ΔS_D", "ΔS_G", "ΔS"]
    numbers += [_col(name, lang) for name in ("time", "tokens", "memory")]
    lines = [f'<th scope="col">{text(head)}</th>' for head in heads]
    lines += [f'<th scope="col" class="n">{text(head)}</th>' for head in numbers]
    lines += [f'<th scope="col">{text(_col("state", lang))}</th>']
    rows = [_run_row(run, lang, beside) for run in runs[:MOST_ROWS]]
    title = message("dba_results_table_title", lang)
    note = message("dba_results_scores_note", lang)
    return wide(title, "".join(lines), rows) + f'<p class="dba-note">{text(note)}</p>'


def comparison(first: Run, second: Run, lang: str) -> str:
    """Two runs side by side: scores, tasks with a paired test, cost, settings that differ."""
    between, problem = _between(first, second)
    head = f'<th scope="col"></th><th scope="col" class="n">{text(first.name)}</th>'
    head += f'<th scope="col" class="n">{text(second.name)}</th>'
    head += f'<th scope="col" class="n">{text(_col("difference", lang))}</th><th scope="col" class="n">p</th>'
    rows = [_group("scores", lang), *_score_rows(first.summary, second.summary)]
    if between is not None:
        rows += [_group("tasks", lang), *(_task_row(item) for item in between.tasks if item.base is not None)]
    rows += [_group("cost", lang), *_cost_rows(first.cost, second.cost, lang)]
    rows += [_group("settings", lang), *(_setting_rows(first, second) or [_only(message(_SAME, lang))])]
    title = f"{first.name} | {second.name}"
    notes = [message("dba_results_not_comparable", lang, reason=problem)] if problem else []
    notes += [message("dba_results_paired_note", lang)] if between is not None else []
    return wide(title, head, rows) + "".join(f'<p class="dba-note">{text(note)}</p>' for note in notes)


def wide(title: str, head: str, rows: Iterable[str]) -> str:
    """A table that scrolls in itself, so that the page never does sideways; reachable and scrollable by keyboard."""
    inner = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f'<div class="dba-wide" role="region" tabindex="0" aria-label="{text(title)}">{inner}</div>'


def text(value: object) -> str:
    """As it may stand in HTML, in attributes too."""
    return html.escape(str(value), quote=True)


def duration(seconds: float | None) -> str:
    """In s, min or h."""
    if seconds is None:
        return MISSING
    return (
        f"{seconds:.1f} s"
        if seconds < 100
        else f"{seconds / 60:.1f} min"
        if seconds < 6000
        else f"{seconds / 3600:.1f} h"
    )


def size(number_of_bytes: float | None) -> str:
    """In kB, MB or GB."""
    if number_of_bytes is None:
        return MISSING
    unit, name = next((item for item in UNITS if number_of_bytes >= item[0]), UNITS[-1])
    return (
        f"{number_of_bytes / unit:.3g} {name}"
        if number_of_bytes < 1000 * unit
        else f"{number_of_bytes / unit:,.0f} {name}"
    )


def whole(value: float | None) -> str:
    """With commas."""
    return MISSING if value is None else f"{value:,.0f}"


def energy(joules: float | None) -> str:
    """In kJ."""
    return MISSING if joules is None else f"{joules / 1e3:,.1f} kJ"


_SAME = "dba_results_same_settings"
COSTS: tuple[tuple[str, Callable[[Cost], float | None], Callable[[float | None], str]], ...] = (
    ("time", lambda cost: cost.wall_seconds, duration),
    ("tokens", lambda cost: cost.tokens, whole),
    ("memory", lambda cost: cost.peak_device_bytes or cost.peak_host_bytes, size),
    ("energy", lambda cost: cost.energy_joules, energy),
)


def _col(name: str, lang: str) -> str:
    return message(f"dba_results_col_{name}", lang)


def _run_row(run: Run, lang: str, beside: Path) -> str:
    place = run.folder.relative_to(beside) if run.folder.is_relative_to(beside) else run.folder
    state = text(message(f"dba_results_state_{run.state}", lang))
    if run.problem:
        sign = "⚠ " if run.state == BROKEN else ""
        state = f"{sign}{state}<small>{text(run.problem)}</small>"
    seed = MISSING if run.seed is None else str(run.seed)
    words = "".join(f"<td>{text(word or MISSING)}</td>" for word in (run.method, run.domain, seed))
    summary = run.summary
    values = [number(getattr(summary, name, None)) for name in ("s_d", "s_g", "s", "kept")]
    values += [signed(getattr(summary, name, None)) for name in ("delta_s_d", "delta_s_g", "delta_s")]
    values += [show(value(run.cost)) for _, value, show in COSTS[:3]]
    cells = "".join(f'<td class="n">{text(value)}</td>' for value in values)
    name = f"{text(run.name)}<small>{text(place)}</small>"
    return f'<tr><th scope="row">{name}</th>{words}{cells}<td class="w">{state}</td></tr>'


def _group(name: str, lang: str) -> str:
    title = text(message(f"dba_results_group_{name}", lang))
    return f'<tr class="group"><th scope="rowgroup" colspan="5">{title}</th></tr>'


def _only(words: str) -> str:
    return f'<tr><td colspan="5">{text(words)}</td></tr>'


def _row(name: str, first: str, second: str, difference: str = "", p: str = "") -> str:
    cells = "".join(f'<td class="n">{text(cell)}</td>' for cell in (first, second, difference, p))
    return f'<tr><th scope="row">{text(name)}</th>{cells}</tr>'


def _between(first: Run, second: Run) -> tuple[Summary | None, str]:
    """The second beside the first as its base; None and why where the scores do not compare."""
    if first.results is None or second.results is None:
        return None, ""
    try:
        return summarise(second.results, first.results), ""
    except DBAError as error:
        return None, error.what


def _score_rows(first: Summary | None, second: Summary | None) -> list[str]:
    rows = []
    for title, name, of_base in SCORES:
        left, right = getattr(first, name, None), getattr(second, name, None)
        gap = None if left is None or right is None else right - left
        rows.append(_row(title, number(left), number(right), signed(gap)))
        deltas = getattr(first, of_base, None), getattr(second, of_base, None)
        if deltas != (None, None):
            rows.append(_row(f"Δ{title}", *map(signed, deltas)))
    return rows


def _task_row(item: TaskChange) -> str:
    task, before = item.score, item.base
    p = MISSING if item.test is None else p_value(item.test.p)
    p = p if item.test is None or item.test_is_of_value else f"({p})"
    sign = " ▼" if item.lost else " ▲" if item.gained else ""
    name = f"{task.task} ({task.metric})"
    return _row(
        name,
        score(task, before.value if before else None),
        score(task, task.value),
        change(task, item.delta) + sign,
        p,
    )


def _cost_rows(first: Cost, second: Cost, lang: str) -> list[str]:
    rows = []
    for name, value, show in COSTS:
        left, right = value(first), value(second)
        if left is not None or right is not None:
            ratio = f"{right / left:.2f}×" if left and right is not None else ""
            rows.append(_row(_col(name, lang), show(left), show(right), ratio))
    return rows or [_only(MISSING)]


def _setting_rows(first: Run, second: Run) -> list[str]:
    left, right = dict(first.settings or {}), dict(second.settings or {})
    left["method"], right["method"] = first.method, second.method
    names = [name for name in {**left, **right} if name not in NOT_OF_THE_METHOD and left.get(name) != right.get(name)]
    return [_row(name, _plain(left.get(name)), _plain(right.get(name))) for name in sorted(names)]


def _plain(value: object) -> str:
    shown = MISSING if value is None else str(value)
    return shown if len(shown) <= 200 else f"{shown[:200]}…"
