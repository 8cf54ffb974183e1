"""What the host leaves beside a training: its arguments and the time that its log counts. Never raises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


ARGUMENTS = "training_args.yaml"  # written by the board
SECRETS = ("token", "api_key", "password", "secret")
TAIL = 4096  # bytes from the end of a log that hold its last whole line


def read_args(folder: Path) -> dict[str, Any]:
    """The arguments that the board started a training with, without anything that looks like a secret; {} without."""
    import yaml

    try:
        raw = yaml.safe_load((folder / ARGUMENTS).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    if not isinstance(raw, dict):
        return {}
    return {str(key): value for key, value in raw.items() if not any(part in str(key).lower() for part in SECRETS)}


def seconds_of(log: Path) -> float | None:
    """Wall-clock of a training by the last line of the host's log (``"elapsed_time": "1 day, 0:12:31"``)."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            elapsed = json.loads(line)["elapsed_time"]
            days, _, clock = str(elapsed).rpartition("day")
            hours, minutes, seconds = clock.lstrip("s, ").split(":")
            return 86400.0 * int(days or 0) + 3600 * int(hours) + 60 * int(minutes) + float(seconds)
        except (ValueError, KeyError, TypeError):
            continue  # cut off, or of another kind
    return None
