"""What is measured: tasks and suites, versioned YAML in ``tasks/`` and ``suites/``, or in a file of the user's own.

A file has the keys ``defaults`` (of its tasks), ``tasks`` and ``suites``, each a mapping from name to definition; the
fields are those of `Task` and `Suite` (docs/evaluation.md). A task's version is raised with every change that may
change a score: scores of different versions are never compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import yaml

from ..data.catalogue import nearest
from ..errors import DBAError
from .definition_checks import check_suite, check_task


Output: TypeAlias = Literal["generate", "likelihood", "perplexity"]
HERE = Path(__file__).parent
FOLDERS = (HERE / "tasks", HERE / "suites")
KEYS = ("defaults", "tasks", "suites")


@dataclass(frozen=True)
class Task:
    """One measurement.

    Its questions are from exactly one place: ``source`` and ``split`` (a corpus of `data list`), ``dataset`` (a name
    in the data folder's dataset_info.json), or ``file`` alone (below the data folder).

    Attributes:
        name: unique; part of results.
        version: raised with every change that may change a score.
        title: for tables.
        citation: of the benchmark.
        language: ``en``, ``zh`` or both with a comma.
        output: ``generate`` (an answer is written and read), ``likelihood`` (given choices are compared) or
            ``perplexity`` (of text).
        scorer: how answers become values: a name in `definition_checks.SCORERS`.
        metric: name of the value that counts; the scorer may measure more.
        source: one corpus or several, asked together.
        split: of the corpus.
        dataset: name in dataset_info.json.
        file: with ``source``: its only raw file, instead of all that the corpus is looked for in.
        select: column → the value that a row must have there.
        ask: a last line added to every prompt; "": the prompt is training's own.
        max_new_tokens: of an answer; 0 where nothing is generated.
        options: of the scorer.
        notes: what a user must know, one sentence each.
    """

    name: str
    version: str
    title: str
    citation: str
    language: str
    output: Output
    scorer: str
    metric: str
    source: tuple[str, ...] = ()
    split: str = ""
    dataset: str = ""
    file: str = ""
    select: Mapping[str, str] = field(default_factory=dict)
    ask: str = ""
    max_new_tokens: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Suite:
    """Tasks that are measured together.

    Attributes:
        name: unique; part of results.
        version: raised when tasks are added or taken away.
        title: for tables.
        tasks: name → role: ``domain`` (the mean of these is S_D), ``general`` (S_G) or ``loss`` (in no mean).
        optional: names of tasks that are left out, and said to be, where their data is missing.
        domain: what a run that is measured on it was trained on; the suite's name where it says nothing else.
        notes: as of a task.
        definitions: name → task.
    """

    name: str
    version: str
    title: str
    tasks: Mapping[str, str]
    optional: tuple[str, ...] = ()
    domain: str = ""
    notes: tuple[str, ...] = ()
    definitions: Mapping[str, Task] = field(default_factory=dict, repr=False)

    def task(self, name: str) -> Task:
        """The definition of one of its tasks."""
        return self.definitions[name]


class Definitions(NamedTuple):
    """All that some files define."""

    tasks: dict[str, Task]
    suites: dict[str, Suite]


@cache
def built_in() -> Definitions:
    """The tasks and suites of the package."""
    return read_definitions([path for folder in FOLDERS for path in sorted(folder.glob("*.yaml"))])


def known_tasks() -> tuple[str, ...]:
    """Names of the package's tasks."""
    return tuple(built_in().tasks)


def known_suites() -> tuple[str, ...]:
    """Names of the package's suites."""
    return tuple(built_in().suites)


def load_task(name: str) -> Task:
    """A task by its name, or the only one that a YAML file defines.

    Raises:
        DBAError: there is none (names the nearest), or the file is malformed (all problems together).
    """
    if not _is_path(name):
        return _known(name, built_in().tasks, "task")
    return _only(name, read_definitions([Path(name)], built_in().tasks).tasks, "task")


def load_suite(name: str) -> Suite:
    """A suite by its name, or the only one that a YAML file defines. Raises as `load_task`."""
    if not _is_path(name):
        return _known(name, built_in().suites, "suite")
    return _only(name, read_definitions([Path(name)], built_in().tasks).suites, "suite")


def read_definitions(paths: Iterable[Path], known: Mapping[str, Task] | None = None) -> Definitions:
    """Read files that may refer to each other's tasks.

    Args:
        paths: the files.
        known: further tasks that suites may name.

    Raises:
        DBAError: a file cannot be read; or all problems with what the files say, together.
    """
    tasks: dict[str, Task] = {}
    suites: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    for path in paths:
        content = _read(path)
        problems += _unknown_keys(path, content)
        defaults = content.get("defaults") or {}
        for name, raw in (content.get("tasks") or {}).items():
            fields = {**defaults, **raw} if isinstance(raw, Mapping) and isinstance(defaults, Mapping) else raw
            wrong = check_task(str(name), fields)
            wrong += [f"task {name}: defined twice"] if name in tasks or name in (known or {}) else []
            problems += [f"{path.name}: {problem}" for problem in wrong]
            if not wrong:
                tasks[name] = _task(name, fields)
        for name, raw in (content.get("suites") or {}).items():
            wrong = [f"suite {name}: defined twice"] if name in suites else check_suite(str(name), raw)
            problems += [f"{path.name}: {problem}" for problem in wrong]
            if not wrong:
                suites[name] = raw
    if not problems:  # a task that is wrong would be missing here, too, and be reported twice
        problems = [line for name, raw in suites.items() for line in _missing(name, raw, {**(known or {}), **tasks})]
    if problems:
        raise DBAError(
            f"{len(problems)} problem{'s' * (len(problems) > 1)} in the definitions.",
            found="\n    " + "\n    ".join(problems),
            next_step="docs/evaluation.md lists the fields",
        )
    return Definitions(tasks, {name: _suite(name, raw, {**(known or {}), **tasks}) for name, raw in suites.items()})


def _task(name: str, raw: Mapping[str, Any]) -> Task:
    source = raw.get("source", ())
    given = {
        "source": (source,) if isinstance(source, str) else tuple(source),
        "notes": tuple(raw.get("notes") or ()),
        "select": {column: str(value) for column, value in (raw.get("select") or {}).items()},
        "options": dict(raw.get("options") or {}),
    }
    return Task(name=name, **{**raw, **given})


def _suite(name: str, raw: Mapping[str, Any], tasks: Mapping[str, Task]) -> Suite:
    roles = {task: role for role, names in raw["tasks"].items() for task in names}
    return Suite(
        name=name,
        version=raw["version"],
        title=raw["title"],
        tasks=roles,
        optional=tuple(raw.get("optional") or ()),
        domain=str(raw.get("domain") or name),
        notes=tuple(raw.get("notes") or ()),
        definitions={task: tasks[task] for task in roles},
    )


def _missing(name: str, raw: Mapping[str, Any], tasks: Mapping[str, Task]) -> list[str]:
    named = [task for names in raw["tasks"].values() for task in names]
    return [
        f"suite {name}: no task {task!r}" + (f", perhaps {near}" if (near := nearest(task, tasks)) else "")
        for task in named
        if task not in tasks
    ]


def _unknown_keys(path: Path, content: Mapping[str, Any]) -> list[str]:
    problems = []
    for key, value in content.items():
        if key not in KEYS:
            near = nearest(str(key), KEYS)
            problems.append(f"{path.name}: unknown key {key!r}" + (f", perhaps {near}" if near else ""))
        elif value is not None and not isinstance(value, Mapping):
            raise DBAError(
                f"{path}: {key} is no mapping.", expected="name: definition", found=f"a {type(value).__name__}"
            )
    return problems


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise DBAError(f"{path} cannot be read.", expected="a YAML file with tasks or suites", found=error) from error
    if not isinstance(content, Mapping):
        found = "an empty file" if content is None else f"a {type(content).__name__}"
        raise DBAError(f"{path} defines nothing.", expected=f"the keys {', '.join(KEYS)}", found=found)
    return content


def _is_path(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


def _known(name: str, among: Mapping[str, Any], kind: str) -> Any:
    if name in among:
        return among[name]
    near = nearest(name, among)
    raise DBAError(
        f"There is no {kind} named {name!r}.",
        expected=f"perhaps {near}" if near else ", ".join(among),
        next_step=f"choose one of them, or name a YAML file of your own with a {kind} (docs/evaluation.md)",
    )


def _only(path: str, among: Mapping[str, Any], kind: str) -> Any:
    if len(among) != 1:
        raise DBAError(
            f"{path} does not define one {kind}.",
            expected=f"one under the key {kind}s",
            found=", ".join(among) or "none",
        )
    return next(iter(among.values()))
