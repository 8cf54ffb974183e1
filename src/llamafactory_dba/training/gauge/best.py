"""``<output_dir>/best``: the weights of the best S, whole at any moment, ready to load."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from ...errors import DBAError
from .log import Record


FOLDER = "best"
FILE_NAME = "gauge.json"


def keep(folder: Path, item: Record, save: Callable[[str], None]) -> None:
    """Write the model beside the best one so far, then put it in its place.

    Args:
        folder: ``<output_dir>/best``; the old one is there until the new one is complete.
        item: the measurement of these weights.
        save: writes model and tokenizer into a folder.
    """
    fresh, old = folder.with_name(FOLDER + ".new"), folder.with_name(FOLDER + ".old")
    shutil.rmtree(fresh, ignore_errors=True)
    save(str(fresh))
    content = {"step": item.step, **item.values}
    (fresh / FILE_NAME).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def read(folder: Path) -> Record | None:
    """What is kept there; a run that was killed while it changed folders finds the old one again.

    Raises:
        DBAError: the note beside the weights cannot be read.
    """
    old = folder.with_name(FOLDER + ".old")
    if not folder.exists() and (old / FILE_NAME).is_file():
        old.rename(folder)
    path = folder / FILE_NAME
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Record(int(content.pop("step")), content, 0.0)
    except (ValueError, KeyError, AttributeError) as error:
        raise DBAError(
            "The note on the best weights so far cannot be read.",
            expected="a JSON object with `step` and the values measured",
            found=f"{path}: {error}",
            next_step="move that folder away; the run keeps the best from here on",
        ) from error


def remove(folder: Path) -> None:
    """Of another run, in a folder that this one may overwrite."""
    for name in (FOLDER, FOLDER + ".old", FOLDER + ".new"):
        shutil.rmtree(folder.with_name(name), ignore_errors=True)
