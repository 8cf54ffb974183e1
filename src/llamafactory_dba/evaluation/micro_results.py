"""Scores of the micro world, as of `micro.MicroResult.to_json`, as results.json; tasks are named as in the suites."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..training.record import read_record
from .intervals import wilson
from .results import Cost, Results, Run, TaskResult


SUITE, VERSION = "micro", "1"


def micro_results(scores: Mapping[str, Any], run: Run, **rest: Any) -> Results:
    """Results of one model on the micro world, with Wilson intervals.

    Args:
        scores: of `micro.MicroResult.to_json`; the domains in it are the domain tasks.
        run: what was run.
        **rest: further fields of `Results`.
    """
    tasks = [
        _task(name, role, score)
        for role, group in (("domain", "domains"), ("general", "general"))
        for name, score in scores[group].items()
    ]
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return Results(run=run, tasks=tuple(tasks), **{"created": created, **rest})


def training_cost(folder: Path, **outside: Any) -> Cost:
    """What a run folder says of its cost, and what was measured from outside where it says nothing.

    Raises:
        DBAError: its run_record.json is damaged.
    """
    record, run_file = read_record(folder), folder / "dba_run.json"
    if record is not None:
        outside |= {name: value for name, value in record.cost.items() if value is not None}
    elif run_file.is_file():  # of a version before run_record.json
        outside["anchor_bytes_in_memory"] = json.loads(run_file.read_text("utf-8")).get("anchor_bytes_in_memory")
    return Cost(**outside)


def _task(name: str, role: str, score: Mapping[str, Any]) -> TaskResult:
    return TaskResult(
        suite=SUITE,
        task=f"micro_{name}",
        task_version=VERSION,
        role=role,
        metric="exact_match",
        value=score["accuracy"],
        n=score["total"],
        unparsed=score["unparsed"],
        interval=wilson(score["right"], score["total"]),
        per_sample=tuple(score["per_sample"]) if score.get("per_sample") else None,
    )
