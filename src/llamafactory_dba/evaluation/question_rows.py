"""Rows for a task, wherever they are (prepared, raw, on a hub, a user's own file): one prompt and one answer each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Literal

from ..data.catalogue import find
from ..data.drafts import wrong_columns
from ..data.fetch import Found, Inputs, find_inputs
from ..data.origin import DATASET_INFO, read_dataset_info
from ..data.rows import FORMS, Entry, empty, entry_of, parse, parse_prepared
from ..data.sets import DataSet, resolve
from ..data.source import Drop, Hub, Record, Row, Source
from ..errors import DBAError
from .definitions import Task


TRAPS = ("encrypted", "needs", "gated", "answers are hidden", "no public answers")  # notes on getting the data
UNUSABLE = (KeyError, TypeError, ValueError, IndexError, AttributeError)  # of a converter given an odd record


class MissingData(DBAError):
    """The data of a task is not there: an optional task may be left out, any other is an error."""


@dataclass(frozen=True)
class Place:
    """Where data is looked for.

    Attributes:
        data: a folder, with a dataset_info.json or raw files, or both; None: no folder.
        hub: where from what is not there is downloaded; None: nowhere.
    """

    data: Path | None = Path("data")
    hub: Literal["huggingface", "modelscope"] | None = "huggingface"


@dataclass(frozen=True)
class TaskRow:
    """One prompt and its answer.

    Attributes:
        prompt: the user's turn, as training has it; "" of plain text.
        answer: of plain text it is all there is.
        row: all columns of the converted row.
        record: the raw one, where it was converted here.
        group: such as the subject; "" if there is none.
    """

    prompt: str
    answer: str
    row: Row
    record: Record | None = None
    group: str = ""


@dataclass
class TaskRows:
    """The rows, one after another; ``left_out`` is filled while they are read."""

    rows: Iterator[TaskRow]
    where: str
    left_out: Counter[str]


def task_rows(task: Task, place: Place) -> TaskRows:
    """The rows of a task's data, before its `Task.select`. Raises as `questions.load_questions`."""
    left_out: Counter[str] = Counter()
    if task.source:
        parts = [_of_source(task, find(name), place, left_out) for name in task.source]
    else:
        parts = [_of_dataset(task, place, left_out)]
    grouped = len(parts) > 1
    rows = (
        replace(row, group=row.group or name) if grouped else row
        for name, (part, _) in zip(task.source or ("",), parts, strict=True)
        for row in part
    )
    return TaskRows(rows, "; ".join(where for _, where in parts), left_out)


def _of_source(task: Task, source: Source, place: Place, left_out: Counter[str]) -> tuple[Iterator[TaskRow], str]:
    """From the prepared file, the raw files, or the hub."""
    name = source.descriptor_name(task.split)
    prepared = _prepared(place, name)
    if prepared is not None:
        return _parsed(task, prepared, left_out), f"{name} of {DATASET_INFO}"
    source = _only_needed(task, source)
    wanted = source.divide.of if source.divide is not None else (task.split,)
    looked: list[str] = []
    inputs: Inputs | None = None
    if place.data is not None:
        inputs = _raw_files(source, place.data) if place.data.is_dir() else None
        looked.append(
            f"not in {place.data}" if inputs is None else f"in {place.data}: {', '.join(inputs.streams)} alone"
        )
    if place.hub is not None and not _complete(inputs, wanted):
        try:
            inputs = find_inputs(source, place.hub)
            looked.append(f"not on {place.hub}")
        except DBAError as error:
            looked.append(error.what)
    if inputs is None or not _complete(inputs, wanted):
        raise _missing(task, source, place, looked)
    origin = inputs.origin
    files = ", ".join(dict.fromkeys(file.split("!")[0] for _, file, _ in inputs.files[:3]))
    where = f"{origin['place']} " + (f"{origin['id']} at {origin['revision']}" if "id" in origin else f"({files})")
    return _converted(task, source, inputs, left_out), where


def _complete(inputs: Inputs | None, splits: tuple[str, ...]) -> bool:
    return inputs is not None and set(splits) <= set(inputs.streams)


def _prepared(place: Place, name: str) -> DataSet | None:
    """By its name in dataset_info.json; None for an entry of the shipped list whose file was never made."""
    if place.data is None:
        return None
    content = read_dataset_info(place.data).get(name)
    file_name = content.get("file_name") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(file_name, str) or not (place.data / file_name).is_file():
        return None
    return DataSet(name, place.data / file_name, entry_of(content), described=True, content=content)


def _only_needed(task: Task, source: Source) -> Source:
    """The source with the files of one split alone, so that no other is looked for, downloaded or read."""
    splits = source.divide.of if source.divide is not None else (task.split,)
    local = {split: task.file or source.local[split] for split in splits if split in source.local}

    def narrow(hub: Hub | None) -> Hub | None:
        theirs = {split: hub.splits[split] for split in splits if split in hub.splits} if hub is not None else {}
        return replace(hub, splits=theirs) if hub is not None and theirs else None

    return replace(source, local=local, huggingface=narrow(source.huggingface), modelscope=narrow(source.modelscope))


def _raw_files(source: Source, folder: Path) -> Inputs | None:
    """Of a folder named as the source if there is one: names such as test.json are those of other corpora, too."""
    own = folder / source.name
    for place in (own, folder) if own.is_dir() else (folder,):
        try:
            return find_inputs(source, "local", place)
        except DBAError as error:
            if "There is no raw file" not in error.what and "cannot be read from local" not in error.what:
                raise
    return None


def _converted(task: Task, source: Source, inputs: Inputs, left_out: Counter[str]) -> Iterator[TaskRow]:
    shapes = (source.columns, *source.other_columns)
    for number, found in enumerate(_stream(task, source, inputs)):
        record = found.record
        if isinstance(record, Drop):
            left_out[record.reason] += 1
            continue
        if not any(all(column in record for column in shape) for shape in shapes):
            if not number:
                raise wrong_columns(source, found, record)
            left_out["columns are missing"] += 1
            continue
        try:
            rows = source.convert(record, task.split)
        except Drop as drop:
            left_out[drop.reason] += 1
            continue
        except DBAError as error:
            what = f"{found.file}, record {found.number}: {error.what}"
            raise DBAError(what, expected=error.expected, found=error.found, next_step=error.next_step) from error
        except UNUSABLE:
            left_out["not of the expected form"] += 1
            continue
        for row in rows:
            parsed = parse_prepared(row, source.form)
            if reason := parsed.problem or empty(parsed, text=source.form == "text"):
                # LawBench has references that are empty on purpose: the right answer is "none"
                if reason != "empty answer" or task.scorer != "lawbench":
                    left_out[reason] += 1
                    continue
            yield _row(task, row, FORMS[source.form], f"{found.file}, record {found.number}", record)


def _stream(task: Task, source: Source, inputs: Inputs) -> Iterator[Found]:
    if source.divide is None:
        yield from inputs.streams[task.split]()
        return
    every = list(chain.from_iterable(inputs.streams[split]() for split in source.divide.of))
    for place in source.divide.places(len(every))[task.split]:
        yield every[place]


def _of_dataset(task: Task, place: Place, left_out: Counter[str]) -> tuple[Iterator[TaskRow], str]:
    """From a name in dataset_info.json, or a file below the data folder."""
    folder = place.data
    name = task.dataset or task.file
    dataset = None
    if task.dataset:
        dataset = _prepared(place, name)
    elif folder is not None and (folder / name).is_file():
        dataset = resolve([str(folder / name)], folder)[0]
    if dataset is None:
        there = folder is not None and folder.is_dir()
        listed = there and task.dataset and name in read_dataset_info(folder or Path())
        raise MissingData(
            f"The data of {task.name} is not there.",
            expected=f"{name} in the {DATASET_INFO} of a data folder, with its file"
            if task.dataset
            else f"a file {name}",
            found=f"its file is not in {folder}" if listed else f"not in {folder}" if there else f"no folder {folder}",
            next_step=" ".join(task.notes) or "name the folder that has it with --data",
        )
    if dataset.entry is None:
        raise DBAError(
            f"The rows of {name} are of no form that can be asked.",
            expected="alpaca or sharegpt columns, or a text column for a perplexity",
            next_step="describe its columns in dataset_info.json",
        )
    return _parsed(task, dataset, left_out), f"{dataset.name} of {DATASET_INFO}" if task.dataset else dataset.name


def _parsed(task: Task, dataset: DataSet, left_out: Counter[str]) -> Iterator[TaskRow]:
    entry = dataset.entry
    assert entry is not None
    for number, record in dataset.records():
        if isinstance(record, Drop):
            left_out[record.reason] += 1
            continue
        parsed = parse(record, entry, optional=True)
        if reason := parsed.problem or empty(parsed, text=entry.is_text):
            if reason != "empty answer" or task.scorer != "lawbench":
                left_out[reason] += 1
                continue
        yield _row(task, dict(record), entry, f"{dataset.name}, row {number}")


def _row(task: Task, row: Row, entry: Entry, place: str, record: Record | None = None) -> TaskRow:
    """One question of a row.

    Raises:
        DBAError: it has a system prompt or earlier turns, or is text where a question is expected, or the reverse.
    """
    if entry.is_text != (task.output == "perplexity"):
        raise DBAError(
            f"The data of {task.name} is {'plain text' if entry.is_text else 'questions'}.",
            expected="plain text, one document a row" if task.output == "perplexity" else "prompts with answers",
            found=place,
        )
    parsed = parse(row, entry, optional=True)
    group = str(row.get("subject") or row.get("category") or "")  # the latter of News QA
    if entry.is_text:
        return TaskRow("", parsed.answer, row, record, group)
    if entry.formatting == "alpaca":
        asked = [row.get(entry.columns.get(name, "")) for name in ("prompt", "query")]
        before = [row.get(entry.columns.get(name, "")) for name in ("system", "history")]
        # as the host joins them (llamafactory/data/converter.py)
        prompt, extra = "\n".join(part for part in asked if part), any(before)
    else:
        prompt, extra = parsed.prompt[-1], len(parsed.prompt) > 1
    if extra:
        raise DBAError(
            f"{task.name} asks one question at a time, but a row has a system prompt or earlier turns.",
            expected="one prompt and one answer",
            found=place,
            next_step="take a corpus of single questions, or make a question of the last turn yourself",
        )
    return TaskRow(prompt, parsed.answer, row, record, group)


def _missing(task: Task, source: Source, place: Place, looked: list[str]) -> MissingData:
    folder = place.data if place.data is not None else Path("data")
    local = ", ".join(source.local.values())
    hubs = {"huggingface": source.huggingface, "modelscope": source.modelscope}
    there = [f"{where} ({each.id})" for where, each in hubs.items() if each is not None]
    ways = []
    if there:
        ways.append(
            f"`llamafactory-dba data prepare {source.name} --out {folder}` downloads it from {' or '.join(there)}"
        )
    if local:
        ways.append(f"put {local} ({source.homepage}) into {folder / source.name} and name {folder} with --data")
    notes = [note for note in source.notes if any(word in note.lower() for word in TRAPS)]
    return MissingData(
        f"The data of {task.name} is not there: {source.title}, split {task.split}.",
        expected=f"{source.descriptor_name(task.split)} in {DATASET_INFO}" + (f", or {local}" if local else ""),
        found="; ".join(looked) or "neither a data folder nor a hub to look in",
        next_step=f"{', or '.join(ways)}." + "".join(f" {note}" for note in notes),
    )
