"""Results that were measured elsewhere: a compare.json of another machine, or of an earlier call whose folder is gone.

A run is taken over where the hash of its settings, data, base model and tasks is the same; then it is the same run,
and it is not made again. Its weights, logs and results.json are not here, so that it is in every table and not on the
report page. What it was measured with (machine, versions) stands in its file, and is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DBAError
from .plan import Plan, RunPlan
from .state import DIVERGED, DONE, ENDED, Status, read_status
from .table import SCORES, read_comparison


def find_taken(plan: Plan, out: Path, files: Sequence[Path]) -> tuple[dict[str, Status], list[str]]:
    """The status of every run of the plan that one of the files has and that is not done here; writes nothing.

    Args:
        plan: what is asked for.
        out: the output folder.
        files: compare.json files; where two have a run, the first counts.

    Returns:
        Folder → status, and a line for each file: how many runs come from it, and from which machine.

    Raises:
        DBAError: a file is no compare.json, or has no run of this plan.
    """
    taken: dict[str, Status] = {}
    lines = []
    for path in files:
        content = read_comparison(path)
        rows: dict[str, list[Mapping[str, Any]]] = {}
        for row in content["runs"]:
            if row.get("hash") and row["state"] in ENDED:
                rows.setdefault(row["hash"], []).append(row)
        known = [run for run in plan.runs if run.hash in rows]
        if not known:
            raise DBAError(
                f"{path} has no run of this suite.",
                expected="runs of the same settings, data, base models and tasks",
                found=f"{len(rows)} others" if rows else "runs without a hash (written before there was one)",
                next_step="leave out --take, or name the compare.json of the same suite",
            )
        source = f"{path.name} of {content.get('created', '?')}"
        new = 0
        for run in known:
            here = taken.get(run.folder) or read_status(out / run.folder, run.hash)
            if here is not None and here.state in ENDED:
                continue
            status = _status(run, rows[run.hash], source)
            if status is not None:
                taken[run.folder] = status
                new += 1
        tools = ", ".join(f"{name} {number}" for name, number in content.get("versions", {}).items())
        machine = content.get("machine", {}).get("processor", "?")
        lines.append(f"taken from {path}: {new} of {len(known)} runs of this suite ({machine}; {tools})")
    return taken, lines


def _status(run: RunPlan, rows: Sequence[Mapping[str, Any]], source: str) -> Status | None:
    """None where a frontier lacks some of its points."""
    first = rows[0]
    if not run.of:
        scores = {
            **{key: first[key] for key in SCORES},
            "tasks": first.get("tasks", {}),
            "gauge": first.get("gauge", []),
            "step_overhead": first.get("step_overhead"),
        }
        return Status(
            run.hash,
            first["state"],
            first["seconds"] or 0.0,
            first["error"],
            scores if first["state"] == DONE else {},
            taken=first.get("taken") or source,
        )
    if first["state"] == DIVERGED:
        return Status(run.hash, DIVERGED, error=first["error"], taken=first.get("taken") or source)
    by_alpha = {row["alpha"]: row for row in rows}
    if not set(run.alphas) <= set(by_alpha):
        return None
    points = tuple(
        {"alpha": alpha, "results": "", **{key: by_alpha[alpha][key] for key in (*SCORES,)},
         "tasks": by_alpha[alpha].get("tasks", {})}
        for alpha in run.alphas
    )  # fmt: skip
    return Status(run.hash, DONE, points=points, taken=first.get("taken") or source)
