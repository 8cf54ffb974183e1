"""Plain cells of the report's tables, the same for HTML and Markdown. None is shown as a dash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...evaluation.results import LOSS, TaskResult
from .entries import Mean


MISSING = "–"


@dataclass(frozen=True)
class Table:
    """Head and cells. The first ``texts`` columns are words, the rest numbers.

    ``grouped``: the first column is a heading of the rows below it, which have nothing there.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: int = 1
    note: str = ""
    grouped: bool = False


def number(value: float | None) -> str:
    """A share in %, or points."""
    return MISSING if value is None else f"{value:.1f}"


def signed(value: float | None) -> str:
    """A difference in points."""
    return MISSING if value is None else f"{value:+.1f}"


def averaged(
    value: Mean | None,
    show: Callable[[float | None], str] = number,
    show_std: Callable[[float | None], str] = number,
) -> str:
    """Mean ± standard deviation; of a single run its value."""
    if value is None:
        return MISSING
    return show(value.mean) if value.std is None else f"{show(value.mean)} ± {show_std(value.std)}"


def score(task: TaskResult, value: float | None) -> str:
    """A value of this task: in %, or in the unit of a loss."""
    return MISSING if value is None else f"{value:.4g}" if task.role == LOSS else f"{value:.1f}"


def change(task: TaskResult, value: float | None) -> str:
    """A difference of this task."""
    return MISSING if value is None else f"{value:+.3g}" if task.role == LOSS else f"{value:+.1f}"


def p_value(p: float) -> str:
    """To three digits."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
