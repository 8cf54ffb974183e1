"""What `results` refuses: numbers that would look like a score or a cost but are none."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING

from ..errors import DBAError


if TYPE_CHECKING:
    from .results import Cost, TaskResult

LOSS = "loss"
ROLES = ("domain", "general", LOSS)


def check_cost(cost: Cost) -> None:
    """Refuse a cost that is no number; None stands for not measured."""
    if bad := {name: value for name, value in asdict(cost).items() if value is not None and not _finite(value)}:
        raise DBAError("A cost is no number.", expected="finite numbers, or null for not measured", found=bad)


def check_task(task: TaskResult) -> None:
    """Refuse what would look like a score but is none."""
    name = f"{task.suite}/{task.task}"
    counts = (task.unparsed, task.truncated, task.skipped)
    numbers = [task.value, task.n, *counts]
    if task.interval is not None:
        numbers += [task.interval.low, task.interval.high]
    if not all(map(_finite, numbers)):
        raise DBAError(f"A number of {name} is none.", expected="finite numbers", found=numbers)
    if task.n < 1:
        raise DBAError(f"{name} has no samples, so it has no score.", expected="n of 1 or more", found=task.n)
    if task.role not in ROLES:
        raise DBAError(f"The role of {name} is unknown.", expected=" or ".join(ROLES), found=task.role)
    top, unit = (math.inf, "0 or more") if task.role == LOSS else (100, "from 0 to 100 %")
    if not 0 <= task.value <= top or not 0 <= max(task.unparsed, task.truncated) <= task.n or min(counts) < 0:
        raise DBAError(
            f"The score of {name} is impossible.",
            expected=f"a value {unit}, and at most n unparsed and n truncated answers",
            found=f"{task.value}, {task.unparsed} of {task.n} unparsed, {task.truncated} truncated, "
            f"{task.skipped} skipped",
        )
    values = task.per_sample
    if values is not None:
        most = math.inf if task.role == LOSS else 1
        # a NaN makes the sum one; quicker than a look at every value
        if len(values) != task.n or not math.isfinite(sum(values)) or min(values) < 0 or max(values) > most:
            raise DBAError(
                f"The per-sample values of {name} do not fit.",
                expected=f"{task.n} values " + ("of 0 or more" if task.role == LOSS else "from 0 to 1"),
                found=f"{len(values)} from {min(values, default=0)} to {max(values, default=0)}",
            )
    for group, pair in (task.groups or {}).items():
        right = isinstance(pair, list | tuple) and len(pair) == 2 and all(map(_finite, pair))
        if not right or not 0 <= pair[0] <= top or not 1 <= pair[1] <= task.n:
            raise DBAError(
                f"Group {group!r} of {name} is damaged.",
                expected=f"[value, n] with a value {unit} and n from 1 to {task.n}",
                found=pair,
            )


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
