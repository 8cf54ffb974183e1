"""Scores of this benchmark for `llamafactory-dba compare`: ``evaluate: benchmarks.real_small.compare_tasks:measure``.

The same numbers as `evaluate.evaluate`, as tasks of results.json. The general sets that count are decided on the base
model alone, before any method is looked at (`summary.counted_sets`).
"""

import json
from pathlib import Path

from llamafactory_dba.evaluation.results import TaskResult

from .evaluate import evaluate
from .paths import DEFAULT_CACHE
from .summary import counted_sets
from .to_results import tasks


def measure(folder: Path) -> tuple[TaskResult, ...]:
    """Score the model in ``folder``; needs the base model's scores, which the first call on it makes."""
    path = DEFAULT_CACHE / "base" / "scores.json"
    if not path.is_file():
        path.write_text(json.dumps(evaluate(path.parent), indent=2) + "\n", encoding="utf-8")
    judge = json.loads(path.read_text(encoding="utf-8"))
    return tasks(evaluate(folder), counted_sets(judge))
