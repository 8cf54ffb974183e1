"""``status.json`` of every step: what was done, with which hash; written whole, so that a kill leaves old or new.

    {"format": "llamafactory-dba/compare-status", "format_version": 1, "hash": "…", "state": "done",
     "seconds": 12.3, "error": "", "scores": {…}, "points": […]}

States: ``trained`` (the weights are there, not measured yet), ``done``, ``diverged`` (trained, but of no use; never
trained again), ``failed`` (done again by the next start). A step without a file was not begun or not ended.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..files import write_file


FILE = "status.json"
FORMAT, FORMAT_VERSION = "llamafactory-dba/compare-status", 1
TRAINED, DONE, DIVERGED, FAILED = "trained", "done", "diverged", "failed"
ENDED = (DONE, DIVERGED)


@dataclass(frozen=True)
class Status:
    """Of one step.

    Attributes:
        hash: of what it was asked for.
        state: see the module.
        seconds: of training and measuring together, as seen by the runner.
        error: why it failed or diverged.
        scores: of `measure.scores_of`.
        points: of `measure.measure_points`.
        taken: where it was measured, if not here (`taken.take`); "" here.
    """

    hash: str
    state: str
    seconds: float = 0.0
    error: str = ""
    scores: Mapping[str, Any] = field(default_factory=dict)
    points: tuple[Mapping[str, Any], ...] = ()
    taken: str = ""


def read_status(folder: Path, expected: str) -> Status | None:
    """The status of a step with this hash; None without one, or where it is damaged or of another hash."""
    try:
        raw = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if (raw.pop("format"), raw.pop("format_version")) != (FORMAT, FORMAT_VERSION):
            return None
        status = Status(**{**raw, "points": tuple(raw["points"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return status if status.hash == expected else None


def write_status(folder: Path, status: Status) -> None:
    """Write it, beside first."""
    raw = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(status)}
    write_file(folder / FILE, json.dumps(raw, indent=1, ensure_ascii=False) + "\n")


def find_stale(out: Path, wanted: set[str]) -> list[Path]:
    """Folders of runs, anchors, base scores and mixtures that are not of this state of the suite."""
    found: list[Path] = []
    for pattern in ("runs/*/*/*/*", "anchors/*", "bases/*/*", "data/*"):
        found += [path for path in sorted(out.glob(pattern)) if path.is_dir() and _below(path, out) not in wanted]
    return found


def remove_folders(folders: list[Path], out: Path) -> None:
    """Delete them, and parents that are empty then."""
    for folder in folders:
        shutil.rmtree(folder)
        parent = folder.parent
        while parent != out and not any(parent.iterdir()):
            parent.rmdir()
            parent = parent.parent


def _below(path: Path, out: Path) -> str:
    return path.relative_to(out).as_posix()
