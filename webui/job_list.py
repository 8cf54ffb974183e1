"""The list of the board's jobs, in the host's cache folder: one small file each."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llamafactory_dba.files import write_file


LIST = Path("llamaboard_cache") / "dba_jobs"  # the host's cache folder
KEPT = 100  # jobs in the list; their folders stay


def remember(folder: Path, kind: str) -> None:
    """Put a job at the top of the list.

    Raises:
        OSError: it cannot be written.
    """
    LIST.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]
    write_file(LIST / f"{name}.json", json.dumps({"folder": str(folder.absolute()), "kind": kind}))
    for path in _entries()[KEPT:]:
        path.unlink(missing_ok=True)


def _entries() -> list[Path]:
    """Files of the list, the youngest first: one is written whenever its job is started."""
    times = {}
    for path in LIST.glob("*.json") if LIST.is_dir() else ():
        with contextlib.suppress(OSError):  # another board may be clearing up
            times[path] = path.stat().st_mtime_ns
    return sorted(times, key=lambda path: -times[path])


def listed(kind: str | None) -> Iterator[Path]:
    """Folders of the jobs of a kind, or of all, those started last first."""
    for path in _entries():
        entry = read_json(path)
        if entry and isinstance(entry.get("folder"), str) and kind in (None, entry.get("kind")):
            yield Path(entry["folder"])


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object from a file; None where there is none, or half of one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
