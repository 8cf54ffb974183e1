"""What a job has printed, and the error in it. No gradio."""

from __future__ import annotations

import os
import re
from pathlib import Path

from . import supervise


# the line of a traceback that says what happened; torchrun's own come after it and say nothing
ERROR_LINE = re.compile(r"^(\[rank\d+\]: ?)?(?!subprocess\.|torch\.distributed\.elastic)[\w.]*(Error|Exception)\b.*")


def log(folder: Path, characters: int = 20_000) -> str:
    """The end of what the command printed, without secrets; "" before there is anything."""
    try:
        with (folder / supervise.LOG).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 4 * characters))
            text = file.read().decode("utf-8", errors="replace")[-characters:]
    except OSError:
        return ""
    return supervise.hide(text, supervise.secrets_of(dict(os.environ)))


def reason_of(text: str, lines: int = 12) -> str:
    """The error at the end of a log in its own words; its last lines where no line looks like one."""
    every = text.rstrip().splitlines()
    for place in range(len(every) - 1, -1, -1):
        if ERROR_LINE.match(every[place]):
            first = re.sub(r"^(\[rank\d+\]: ?)?(llamafactory_dba\.errors\.\w+: )?", "", every[place])
            following = every[place + 1 : place + lines]
            end = next((n for n, line in enumerate(following) if line and not line.startswith((" ", "["))), lines)
            return "\n".join([first, *following[:end]]).rstrip()
    return "\n".join(every[-lines:])
