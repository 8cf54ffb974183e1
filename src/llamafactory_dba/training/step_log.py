"""``dba_log.jsonl``: one line per optimizer step, exact across a resume. Needs no torch."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


FILE_NAME = "dba_log.jsonl"


class StepLog:
    """Appends records with a ``step`` to ``<folder>/dba_log.jsonl``; buffered, written out by `flush`.

    Args:
        folder: the run's output folder.
        first_step: records from this step on are dropped from an existing file, since they will be made again (0 for
            a fresh run, the checkpoint's step on resume).
        name: another name for the file.
    """

    def __init__(self, folder: str | os.PathLike[str], first_step: int, name: str = FILE_NAME) -> None:
        self.path = Path(folder) / name
        self._lines: list[str] = []
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept = [line for line in read_lines(self.path) if json.loads(line)["step"] < first_step]
        beside = self.path.with_suffix(".jsonl.new")
        beside.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        os.replace(beside, self.path)

    def add(self, record: Mapping[str, Any]) -> None:
        """Remember one step."""
        self._lines.append(json.dumps(record))

    def flush(self) -> None:
        """Write what is remembered."""
        if self._lines:
            with self.path.open("a", encoding="utf-8") as file:
                file.write("".join(line + "\n" for line in self._lines))
            self._lines = []


def read_lines(path: Path) -> list[str]:
    """Complete lines of the log; a last line cut off by a kill is left out."""
    if not path.exists():
        return []
    lines = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            json.loads(line)
        except ValueError:
            continue
        lines.append(line)
    return lines
