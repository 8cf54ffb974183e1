"""The questions of a task, in training's own prompt form, from local files or a hub.

They are looked for in this order: the task's corpus as `data prepare` left it in the data folder (named in its
dataset_info.json), the corpus' raw files anywhere below that folder, the hub. Nothing is left out silently: records
that no question can be made of are counted.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..data.choices import LETTERS, read_choice_prompt
from ..data.source import Record
from ..errors import DBAError
from .definitions import Task
from .question_rows import MissingData, Place, TaskRow, task_rows


@dataclass(frozen=True)
class Question:
    """One question, or one text for a perplexity.

    Attributes:
        prompt: what the user says: training's own prompt; of a ``likelihood`` task the plain text before a choice,
            for which no chat template is meant; "" for a perplexity.
        reference: the right answer as the data has it; for a perplexity the text itself.
        choices: of multiple choice: their texts; of a ``likelihood`` task the continuations of the prompt, with the
            space before them.
        right: place of the right choice; None where there are no choices or several are right.
        group: such as the subject; "" if there is none.
        extra: what the scorer needs beside it.
    """

    prompt: str
    reference: str
    choices: tuple[str, ...] = ()
    right: int | None = None
    group: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class QuestionSet:
    """The questions of a task.

    Attributes:
        questions: in the order of the data; at least one.
        data_hash: SHA-256 of the questions as they are asked, in hex digits: the same for the same questions, whatever
            files they are from.
        where: where they are from, one line without paths of this machine.
        left_out: reason → records that no question could be made of.
    """

    questions: tuple[Question, ...]
    data_hash: str
    where: str
    left_out: Mapping[str, int] = field(default_factory=dict)


def load_questions(task: Task, place: Place | None = None, limit: int | None = None) -> QuestionSet:
    """Read the questions of a task.

    Args:
        task: what is asked.
        place: where data is; by default the folder ``data``, then the Hugging Face hub.
        limit: at most so many: the first ones, in turn from every group.

    Raises:
        MissingData: the data is neither local nor on the hub; a DBAError that says where to get it.
        DBAError: a package is missing; the data is damaged, not of this task, without answers, or has several turns;
            no question is left.
    """
    if limit is not None and limit < 1:
        raise DBAError("No questions are asked for.", expected="a limit of 1 or more", found=limit)
    _check_packages(task)
    found = task_rows(task, place or Place())
    questions: list[Question] = []
    for row in found.rows:
        if all(str(row.row.get(column)) == value for column, value in task.select.items()):
            questions.append(_question(task, row))
    if not questions:
        raise _none_left(task, found.where, found.left_out)
    if limit is not None:
        questions = in_turn(questions, limit)
    return QuestionSet(tuple(questions), _hash(questions), found.where, dict(found.left_out))


def _check_packages(task: Task) -> None:
    """Before hours of generation, not after them."""
    if task.metric == "rouge_l" and importlib.util.find_spec("jieba") is None:
        raise DBAError(
            f"{task.name} is scored on Chinese words, which needs jieba.",
            found="not installed",
            next_step="pip install 'llamafactory-dba[eval]'",
        )


def in_turn(questions: Sequence[Question], limit: int) -> list[Question]:
    """At most so many questions, the first ones of every group in turn, in the order of the data."""
    seen: Counter[str] = Counter()
    rank = []
    for place, question in enumerate(questions):
        rank.append((seen[question.group], place))
        seen[question.group] += 1
    return [questions[place] for place in sorted(place for _, place in sorted(rank)[:limit])]


def _question(task: Task, found: TaskRow) -> Question:
    if task.output == "perplexity":
        return Question("", found.answer, group=found.group)
    if task.output == "likelihood":
        return _likelihood(task, found)
    prompt = f"{found.prompt}\n{task.ask}" if task.ask else found.prompt
    choices: tuple[str, ...] = ()
    right = None
    if task.scorer == "choice" and (asked := read_choice_prompt(found.prompt)) is not None:
        choices = asked.choices
        place = LETTERS.find(found.answer) if len(found.answer) == 1 else -1
        right = place if 0 <= place < len(choices) and not asked.several else None
    if task.scorer == "choice" and not choices and "choices" not in task.options:
        raise DBAError(
            f"{task.name}: a prompt is not in the form of multiple choice.",
            expected="choices on lines that begin with A., B., … and a request for the letter (data/choices.py)",
            found=repr(found.prompt[-200:]),
            next_step="prepare the corpus with `data prepare`, or give the number of choices: options: {choices: 4}",
        )
    extra = {"question": found.row.get("input") or found.prompt} if task.scorer == "lawbench" else {}
    return Question(prompt, found.answer, choices, right, found.group, extra)


def _likelihood(task: Task, found: TaskRow) -> Question:
    """Plain text and its continuations: from the raw columns where they are there, else from the prompt."""
    options = task.options
    columns = options.get("fields") or {}
    raw = found.record
    if raw is not None and columns and all(name in raw for name in (columns["question"], *columns["choices"])):
        question, choices, right = _raw(columns, raw)
    else:
        asked = read_choice_prompt(found.prompt)
        if asked is None or asked.several or len(found.answer) != 1:
            raise DBAError(
                f"{task.name}: a row is no multiple choice with one right answer.",
                expected="a prompt as `data prepare` makes it, and one letter",
                found=repr(found.prompt[-200:]),
            )
        question, choices, right = asked.question, list(asked.choices), LETTERS.find(found.answer)
    if not 0 <= right < len(choices):
        raise DBAError(f"{task.name}: the right answer is no choice.", found=found.answer)
    template = str(options.get("prompt", "Question: {question}\nAnswer:"))
    lettered = "\n".join(f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False))
    given = [*LETTERS[: len(choices)]] if "{choices}" in template else choices
    # the question last: it may have braces of its own
    prompt = template.replace("{choices}", lettered) if "{choices}" in template else template
    prompt = prompt.replace("{question}", question, 1)
    delimiter = str(options.get("delimiter", " "))
    continuations = tuple(delimiter + choice for choice in given)
    return Question(prompt, given[right], continuations, right, found.group)


def _raw(columns: Mapping[str, Any], record: Record) -> tuple[str, list[str], int]:
    choices = [str(record[name]) for name in columns["choices"]]
    right = columns["right"]  # a column with a number, or one of the choices' columns
    place = columns["choices"].index(right) if right in columns["choices"] else int(record[right])
    return str(record[columns["question"]]), choices, place


def _hash(questions: Iterable[Question]) -> str:
    total = hashlib.sha256()
    for question in questions:
        line = json.dumps(asdict(question), ensure_ascii=True, sort_keys=True)
        total.update(line.encode() + b"\n")
    return total.hexdigest()


def _none_left(task: Task, where: str, left_out: Mapping[str, int]) -> DBAError:
    reasons = "; ".join(f"{count:,} {reason}" for reason, count in left_out.items())
    selected = ", ".join(f"{column} = {value}" for column, value in task.select.items())
    hidden = any("hidden" in reason for reason in left_out)
    return DBAError(
        f"There is no question for {task.name} in {where}.",
        expected="one question or more" + (f" with {selected}" if selected else ""),
        found=f"records left out: {reasons}" if reasons else "no such row",
        next_step="this split has no answers: use one that has them, or the file that the answers are in"
        if hidden
        else "look at that file",
    )


__all__ = ["MissingData", "Place", "Question", "QuestionSet", "in_turn", "load_questions"]
