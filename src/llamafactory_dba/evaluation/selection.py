"""Which tasks are measured, and their questions: from the names that the user gives to everything that is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import DBAError
from .definitions import Task, built_in, known_suites, known_tasks, load_suite, load_task
from .questions import MissingData, Place, QuestionSet, load_questions


ALONE = "tasks"  # suite of a task that is in none


@dataclass(frozen=True)
class Chosen:
    """A task as a suite names it; ``domain``: what a run measured on the suite was trained on."""

    suite: str
    role: str
    task: Task
    optional: bool = False
    domain: str = ""


@dataclass(frozen=True)
class Asked:
    """A task in its suite, with its questions."""

    suite: str
    role: str
    task: Task
    questions: QuestionSet
    domain: str = ""


@dataclass(frozen=True)
class Loaded:
    """The questions of all tasks; ``notes``: what is missing."""

    asked: tuple[Asked, ...]
    notes: tuple[str, ...] = field(default_factory=tuple)


def choose(names: Sequence[str]) -> tuple[Chosen, ...]:
    """Suites and tasks by name, or YAML files of the user's own; a task that several name is taken once.

    A task alone has the suite and the role of the first suite of the package that it is in, so that its score can be
    compared; in none it counts for the domain.

    Raises:
        DBAError: a name is unknown, or none is given.
    """
    chosen: list[Chosen] = []
    for name in dict.fromkeys(name.strip() for name in names if name.strip()):
        if name in known_tasks() and name not in known_suites():
            chosen.append(_alone(load_task(name)))
            continue
        try:
            suite = load_suite(name)
        except DBAError as error:
            if not name.endswith((".yaml", ".yml")):
                raise DBAError(
                    f"There is no suite and no task named {name!r}.",
                    expected=error.expected,
                    next_step="llamafactory-dba evaluate --list shows them; or name a YAML file of your own",
                ) from error
            if "does not define one suite" not in error.what:
                raise
            chosen.append(_alone(load_task(name)))
            continue
        chosen += [
            Chosen(suite.name, role, suite.task(task), task in suite.optional, suite.domain)
            for task, role in suite.tasks.items()
        ]
    if not chosen:
        raise DBAError("Nothing is to be measured.", expected="a suite or a task", found="none")
    once: dict[str, Chosen] = {}
    for each in chosen:
        once.setdefault(each.task.name, each)
    return tuple(once.values())


def load_all(chosen: Sequence[Chosen], place: Place, limit: int | None) -> Loaded:
    """The questions of every task, before any model is loaded.

    Raises:
        DBAError: data of a task that is not optional is missing, or any is damaged; nothing is left to ask.
    """
    asked, notes = [], []
    for each in chosen:
        try:
            questions = load_questions(each.task, place, limit)
        except MissingData as error:
            if not each.optional:
                raise
            notes.append(f"{each.task.name} was left out, its data is not there: {error.next_step or error.expected}")
            continue
        if questions.left_out:
            reasons = ", ".join(f"{count} {reason}" for reason, count in questions.left_out.items())
            notes.append(f"{each.task.name}: records that no question could be made of: {reasons}")
        asked.append(Asked(each.suite, each.role, each.task, questions, each.domain))
    if not asked:
        raise DBAError(
            "There is no data for any of these tasks.",
            expected="questions of one task or more",
            found="; ".join(notes),
        )
    return Loaded(tuple(asked), tuple(notes))


def limited(version: str, limit: int | None) -> str:
    """A task's version in results: scores of some of its questions are never compared with scores of all."""
    return version if limit is None else f"{version}+limit {limit}"


def _alone(task: Task) -> Chosen:
    for name, suite in built_in().suites.items():
        if task.name in suite.tasks:
            return Chosen(name, suite.tasks[task.name], task, domain=suite.domain)
    return Chosen(ALONE, "loss" if task.output == "perplexity" else "domain", task)
