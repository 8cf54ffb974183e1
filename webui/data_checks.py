"""Whether data sets that the form names are there and can be read, as far as their files tell. No gradio."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .problems import Problem


INFO = "dataset_info.json"
ELSEWHERE = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")
WHOLE_FILE = 32 * 2**20  # bytes up to which a .json file is parsed whole
FIRST_LINES = 20  # of a .jsonl file


def data_problems(row: str, label: str, dataset_dir: str, names: Sequence[str] | None) -> list[Problem]:
    """One sentence per data set that a training would stumble over.

    Args:
        row: where the problem is shown.
        label: element whose label names the field; empty for the Train tab's own data sets.
        dataset_dir: the host's folder; ``ONLINE`` and ``REMOTE:…`` cannot be looked into.
        names: as in dataset_info.json.
    """
    if not names or dataset_dir == "ONLINE" or dataset_dir.startswith("REMOTE:"):
        return []
    info = read_info(dataset_dir)
    if info is None:
        return [Problem(row, "dba_data_no_info", {"path": f"{dataset_dir}/{INFO}"})]
    found = []
    for name in names:
        entry = info.get(name)
        if not isinstance(entry, dict):
            found.append(Problem(row, "dba_data_unknown", {"name": name, "path": f"{dataset_dir}/{INFO}"}))
        elif "file_name" in entry and not any(key in entry for key in ELSEWHERE):
            if (reason := broken(Path(dataset_dir) / str(entry["file_name"]))) is not None:
                found.append(Problem(row, "dba_data_broken", {"name": name, "reason": reason}))
    return found


def read_info(dataset_dir: str) -> dict[str, Any] | None:
    """dataset_info.json; None if it is not there or cannot be read."""
    try:
        content = json.loads((Path(dataset_dir) / INFO).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def broken(path: Path) -> Problem | None:
    """Why a data file cannot be read; None if nothing speaks against it. Only files of JSON are looked into."""
    try:
        if path.is_dir():
            return None if any(path.iterdir()) else Problem("", "dba_file_empty", {"path": path})
        if not path.exists():
            return Problem("", "dba_file_missing", {"path": path})
        if path.stat().st_size == 0:
            return Problem("", "dba_file_empty", {"path": path})
        if path.suffix == ".jsonl":
            return _broken_lines(path)
        if path.suffix == ".json" and path.stat().st_size <= WHOLE_FILE:
            return _broken_json(path)
    except (OSError, UnicodeDecodeError) as error:
        return Problem("", text=f"{path}: {error}")
    return None


def _broken_lines(path: Path) -> Problem | None:
    with path.open(encoding="utf-8") as file:
        for number, line in zip(range(1, FIRST_LINES + 1), file, strict=False):
            try:
                json.loads(line)
            except ValueError as error:
                if line.strip():
                    return Problem("", "dba_file_line", {"path": path, "number": number, "error": error})
    return None


def _broken_json(path: Path) -> Problem | None:
    """The host also takes a .json file with an object per line."""
    text = path.read_text(encoding="utf-8")
    try:
        json.loads(text)
    except ValueError as error:
        if (lines := _broken_lines(path)) is not None:
            return Problem("", text=f"{path}: {error}") if text.lstrip().startswith("[") else lines
    return None
