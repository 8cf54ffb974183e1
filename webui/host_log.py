"""The host's look at a training's logs, which a line that is no JSON must not end.

The host parses every line of ``trainer_log.jsonl`` whenever it looks. One that is being written is whole at the next
look; one that a crash or a full disk has cut stays, and the page would neither go on nor ever see the end of the run.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llamafactory.extras.constants import RUNNING_LOG, TRAINER_LOG


READ = ("current_steps", "total_steps", "percentage", "elapsed_time", "remaining_time")  # by the host, of every line


def patient(look: Callable[[str, Any, bool], Any]) -> Callable[[str, Any, bool], Any]:
    """The host's ``get_trainer_info`` that passes over what it cannot read."""

    def get_trainer_info(lang: str, output_path: Any, do_train: bool) -> Any:
        try:
            return look(lang, output_path, do_train)
        except (ValueError, KeyError, TypeError):
            with tempfile.TemporaryDirectory(prefix="dba-log-") as folder:
                for name, readable in ((RUNNING_LOG, str), (TRAINER_LOG, whole_lines)):
                    if (path := Path(output_path, name)).is_file():
                        text = readable(path.read_text(encoding="utf-8", errors="replace"))
                        Path(folder, name).write_text(text, encoding="utf-8")
                return look(lang, folder, do_train)

    return get_trainer_info


def whole_lines(text: str) -> str:
    """The lines of a log that the host can read."""
    return "".join(f"{line}\n" for line in text.split("\n") if _is_whole(line))


def _is_whole(line: str) -> bool:
    try:
        record = json.loads(line)
    except ValueError:
        return False
    return isinstance(record, dict) and all(name in record for name in READ)
