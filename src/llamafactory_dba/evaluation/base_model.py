"""The base model of a run: as the user names it, or as the run's record does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..anchor.fingerprint import find_model, fingerprint_folder
from ..errors import DBAError
from ..training.record import RunRecord
from .measure import ModelSpec
from .model_hash import ModelFiles, find_files
from .results import FILE, Results, read_results


HOW = "evaluation"  # key of Run.settings with how the model was measured
NO_BASE = "none"


@dataclass(frozen=True)
class Base:
    """The base model: finished results, or a model to measure; with its fingerprint."""

    results: Path | None = None
    spec: ModelSpec | None = None
    files: ModelFiles | None = None
    fingerprint: str = ""
    note: str = ""


def find_base(base: str | None, spec: ModelSpec, files: ModelFiles, record: RunRecord | None) -> Base:
    """The base model as the user names it, or as the run does."""
    expected = record.base_fingerprint if record is not None else ""
    if base == NO_BASE:
        return Base(fingerprint=expected)
    if base is None:
        if spec.adapter is not None:
            base = spec.model
        elif record is None:
            return Base()
        elif record.base_model and find_model(record.base_model) is not None:
            base = record.base_model
        else:
            return Base(
                fingerprint=expected,
                note=f"no difference from the base model: {record.base_model or 'it'} was not found from here; "
                "name it with --base",
            )
    given = Path(base).expanduser()
    if given.is_file() or ((given / FILE).is_file() and not (given / "config.json").is_file()):
        path = given if given.is_file() else given / FILE
        found = read_results(path).run.base_fingerprint
        _same_base(expected, found, base)
        return Base(results=path, fingerprint=found or expected)
    base_files = find_files(base)
    found = fingerprint_folder(base_files.folder).total
    _same_base(expected, found, base)
    if base_files.folder.resolve() == files.folder.resolve() and spec.adapter is None:
        return Base(fingerprint=found)  # the model is its own base model
    return Base(spec=replace(spec, model=base, adapter=None), files=base_files, fingerprint=found)


def _same_base(expected: str, found: str, base: str) -> None:
    if expected and found and expected != found:
        raise DBAError(
            "The run started from another base model.",
            expected=f"the one with the fingerprint {expected[:16]}, as the run's record says",
            found=f"{base}, fingerprint {found[:16]}",
            next_step="name the model that the run started from",
        )


def differently(base: Results, ours: Mapping[str, Any]) -> list[str]:
    """A note where finished results of the base model were made in another way."""
    theirs = base.run.settings.get(HOW)
    if not isinstance(theirs, Mapping):
        return ["the base results do not say how they were made (template, dtype)"]
    keys = [key for key in ("backend", "template", "thinking", "dtype") if theirs.get(key) != ours[key]]
    return [f"the base model was measured with another {key}: {theirs.get(key)}, not {ours[key]}" for key in keys]
