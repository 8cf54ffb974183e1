"""A few rows of a data set of dataset_info.json, as they are in its file. No gradio."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llamafactory_dba.data.reading import read_records
from llamafactory_dba.data.source import Drop
from llamafactory_dba.errors import DBAError

from .anchors import short
from .data_checks import read_info
from .paths import NotAllowed, resolve
from .problems import Problem


PAGE = 2  # rows, as in the host's preview
COUNTED = 100_000  # rows; of a longer file it is said that there are more
SHOWN = 2000  # characters of a text


@dataclass(frozen=True)
class Preview:
    """Rows of one page.

    Attributes:
        rows: as the file has them, long texts cut.
        first: number of the first one, from 1.
        count: rows in the file, at most `COUNTED`.
        problem: what is wrong, or None.
    """

    rows: tuple[Any, ...] = ()
    first: int = 0
    count: int = 0
    problem: Problem | None = None


def names_of(dataset_dir: str | None) -> list[str]:
    """Data sets that an anchor can be made from: those of the folder without preference pairs."""
    try:
        info = read_info(str(resolve(dataset_dir, must_exist=True))) or {}
    except NotAllowed:
        return []
    return [name for name, entry in info.items() if isinstance(entry, dict) and not entry.get("ranking")]


def preview(dataset_dir: str | None, name: str | None, page: int, row: str) -> Preview:
    """A page of a data set; what is wrong with it is told, not raised.

    Args:
        dataset_dir: with dataset_info.json.
        name: of the data set.
        page: from 0; one after the end shows the last.
        row: group of fields that a problem belongs to.
    """
    try:
        folder = resolve(dataset_dir, must_exist=True)
        info = read_info(str(folder))
        entry = (info or {}).get(name or "")
        if not isinstance(entry, dict):
            return Preview(problem=Problem(row, "dba_preview_unknown", {"name": name or "?"}))
        if "file_name" not in entry:
            return Preview(problem=Problem(row, "dba_preview_online", {"name": name}))
        path = resolve(folder / str(entry["file_name"]), must_exist=True)
    except NotAllowed as error:
        return Preview(problem=Problem(row, error.key, error.fields))
    try:
        return _read(path, max(0, page))
    except (DBAError, OSError, ValueError) as error:
        return Preview(problem=Problem(row, "dba_data_broken", {"name": name, "reason": short(error)}))


def _read(path: Path, page: int) -> Preview:
    files = sorted(item for item in path.iterdir() if item.is_file()) if path.is_dir() else [path]
    records = itertools.islice(itertools.chain.from_iterable(read_records(file) for file in files), COUNTED)
    kept: list[Any] = []
    count = 0
    for count, record in enumerate(records, 1):
        if count <= (page + 1) * PAGE:
            kept = [*kept[-(PAGE * 2) :], record]
    place = min(page, max(0, count - 1) // PAGE)
    rows = kept[-(min(count, (page + 1) * PAGE) - place * PAGE) :] if count else []
    return Preview(tuple(_shorten(item) for item in rows), place * PAGE + 1 if count else 0, count)


def _shorten(value: Any) -> Any:
    if isinstance(value, Drop):
        return f"⚠ {value}"
    if isinstance(value, str):
        return value if len(value) <= SHOWN else value[:SHOWN] + "…"
    if isinstance(value, dict):
        return {str(key): _shorten(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shorten(item) for item in value[:50]]
    return value if isinstance(value, int | float | bool | None) else str(value)
