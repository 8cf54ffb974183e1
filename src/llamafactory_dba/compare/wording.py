"""What the runner says of a step when it has ended, and of the failed ones at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .pool import tail
from .state import DIVERGED, FAILED, Status


@dataclass(frozen=True)
class Failure:
    """A step that failed, or was not begun because one before it failed."""

    name: str
    error: str
    log: Path | None = None


def failure_lines(failures: Sequence[Failure]) -> list[str]:
    """Every failed step with the end of its log."""
    lines: list[str] = []
    told: dict[str, str] = {}
    for failure in failures:
        lines.append(f"FAILED {failure.name}: {failure.error}")
        if failure.error in told and failure.log is not None:
            lines.append(f"    (as {told[failure.error]}; {failure.log})")
        elif failure.log is not None:
            told[failure.error] = failure.name
            lines += [f"    {line}" for line in tail(failure.log)]
            lines.append(f"    ({failure.log})")
    return lines


def in_words(status: Status) -> str:
    """Scores and seconds, or what went wrong."""
    if status.state == FAILED:
        return f"FAILED: {status.error.splitlines()[0][:200] if status.error else ''}"
    parts = [f"{status.seconds:.0f} s"]
    names = {"s": "S", "s_d": "S_D", "s_g": "S_G"}
    scores = [f"{names[key]} {status.scores[key]:.1f}" for key in names if status.scores.get(key) is not None]
    if status.state == DIVERGED:
        parts.insert(0, f"DIVERGED ({status.error.splitlines()[0][:120]})")
    return ", ".join([*scores, *parts])
