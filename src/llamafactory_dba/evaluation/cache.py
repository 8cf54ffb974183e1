"""What a model answered, kept per task: a task that is done is not done again, after a kill or in another suite.

One file per model, task and data. Scores are not kept, they are computed from the answers. A file is written whole or
not at all, so that a killed run leaves finished tasks and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DBAError
from ..files import write_file


FORMAT, FORMAT_VERSION = "llamafactory-dba/answers", 1  # raised when the engine asks or reads answers differently
VARIABLE = "LLAMAFACTORY_DBA_CACHE"


@dataclass(frozen=True)
class Key:
    """Everything that decides a task's answers.

    Attributes:
        model: hash of weights, configuration, tokenizer and adapter (`model_hash.hash_model`).
        backend: ``hf`` or ``vllm``.
        template: `prompting`'s name.
        thinking: whether the model might think.
        dtype: of the weights while measuring.
        task: its name.
        task_version: its version.
        data: hash of the questions.
        limit: only so many of them; None: all.
    """

    model: str
    backend: str
    template: str
    thinking: bool
    dtype: str
    task: str
    task_version: str
    data: str
    limit: int | None

    @property
    def hash(self) -> str:
        """SHA-256 of all of it."""
        raw = {"format_version": FORMAT_VERSION, **vars(self)}
        return hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Kept:
    """Answers to a task.

    Attributes:
        answers: one per question, as plain data (`engine.Answers.to_plain`).
        seconds: it took to make them.
        notes: what a reader of the scores must know, such as prompts that did not fit.
    """

    answers: list[Any]
    seconds: float
    notes: list[str] = field(default_factory=list)


def default_folder() -> Path:
    """``LLAMAFACTORY_DBA_CACHE``, or ``llamafactory-dba`` in the user's cache folder (XDG_CACHE_HOME, ~/.cache)."""
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser() / "evaluate"
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "llamafactory-dba" / "evaluate"


def check_folder(folder: Path) -> None:
    """Make the folder, and find out now whether it can be written to.

    Raises:
        DBAError: it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise DBAError(
            "Nothing can be kept in the cache.",
            expected=f"--cache (or {VARIABLE}): a folder that can be written to",
            found=error,
            next_step="choose another one, or --no-cache (an interrupted run then starts from its beginning)",
        ) from error


def place_of(folder: Path, key: Key) -> Path:
    """The file of a key."""
    return folder / key.model[:16] / f"{key.task}-{key.hash[:16]}.json"


def load(folder: Path | None, key: Key) -> Kept | None:
    """What is kept under a key; None if nothing is, or if it is damaged (it is then made again)."""
    if folder is None:
        return None
    try:
        raw = json.loads(place_of(folder, key).read_text(encoding="utf-8"))
        if raw["format"] != FORMAT or raw["key"] != vars(key):
            return None
        return Kept(list(raw["answers"]), float(raw["seconds"]), [str(note) for note in raw["notes"]])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save(folder: Path | None, key: Key, kept: Kept) -> None:
    """Keep answers."""
    if folder is None:
        return
    path = place_of(folder, key)
    raw = {"format": FORMAT, "key": vars(key), "seconds": kept.seconds, "notes": kept.notes, "answers": kept.answers}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, json.dumps(raw, ensure_ascii=False))
    except OSError as error:
        raise DBAError(
            f"The answers to {key.task} cannot be kept; earlier tasks are.",
            found=error,
            next_step="make room or choose another --cache; the same command goes on with the next task",
        ) from error
