"""Writes the tables of suites and tasks in docs/evaluation.md from their YAML files.

Usage: ``python scripts/update_evaluation.py`` writes, ``--check`` only says what is out of date (exit status 1). Text
outside the markers is left alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from llamafactory_dba.data.catalogue import catalogue
from llamafactory_dba.evaluation.definitions import Suite, Task, known_suites, known_tasks, load_suite, load_task
from llamafactory_dba.reporting.parts import fill, write_or_check


DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "evaluation.md"


def suites() -> str:
    """The table of suites."""
    lines = ["| suite | version | what | tasks that count for S_D | for S_G | losses |", "|---|---|---|---|---|---|"]
    for name in known_suites():
        suite = load_suite(name)
        cells = [_names(suite, role) for role in ("domain", "general", "loss")]
        lines.append(f"| `{name}` | {suite.version} | {suite.title} | {' | '.join(cells)} |")
    noted = [load_suite(name) for name in known_suites() if load_suite(name).notes]
    return "\n".join([*lines, "", *(f"- **{suite.name}**: {' '.join(suite.notes)}" for suite in noted)])


def _names(suite: Suite, role: str) -> str:
    chosen = [name for name in suite.tasks if suite.tasks[name] == role]
    if len(chosen) > 10:
        return f"`{chosen[0]}` … `{chosen[-1]}` ({len(chosen)})"
    return ", ".join(f"`{name}`" + (" (where the data is)" if name in suite.optional else "") for name in chosen)


def tasks() -> str:
    """The table of tasks, and their notes."""
    head = ("task", "version", "what", "asked", "scorer", "metric", "tokens", "data", "licence", "source")
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for task in map(load_task, known_tasks()):
        cells = (
            f"`{task.name}`",
            task.version,
            task.title,
            task.output,
            task.scorer,
            task.metric,
            str(task.max_new_tokens or ""),
            _data(task),
            _licence(task),
            task.citation,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def notes() -> str:
    """What a user must know of each task; the same words of several tasks once."""
    groups: dict[str, list[str]] = {}
    for task in map(load_task, known_tasks()):
        if task.notes:
            groups.setdefault(" ".join(task.notes), []).append(task.name)
    return "\n".join(f"- **{', '.join(names)}**: {text}" for text, names in groups.items())


def _data(task: Task) -> str:
    if task.dataset:
        return f"`{task.dataset}` of dataset_info.json"
    sources = [f"[`{name}`]({catalogue()[name].homepage})" for name in task.source]
    return f"{', '.join(sources)}, {task.split}"


def _licence(task: Task) -> str:
    if not task.source:
        return "this project's" if task.name.startswith("micro_") else "your own data"
    return ", ".join(dict.fromkeys(catalogue()[name].licence for name in task.source))


def document(text: str) -> str:
    """docs/evaluation.md with its generated parts.

    Raises:
        ValueError: a part's markers are missing or occur twice.
    """
    return fill(text, {"suites": suites(), "tasks": tasks(), "notes": notes()}, "docs/evaluation.md")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if something is out of date")
    args = parser.parse_args()
    new = document(DOCUMENT.read_text(encoding="utf-8"))
    write_or_check({DOCUMENT: new}, check=args.check, command="python scripts/update_evaluation.py")


if __name__ == "__main__":
    main()
