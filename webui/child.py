"""The training that the host's Start button begins, in a process that browsers and the board may leave alone.

The host starts its child with a pipe that only an open page empties, in the board's own process group: the child
stands still once the pipe is full, and ends with the board. A training with DBA is started by `jobs` instead; what the
host holds is a `Child`, which behaves like its ``Popen``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

import yaml

from . import job_log, jobs
from .locales import message


KIND = "train"
FOLDER = "board"  # in the output folder: how the run was started and how it ended
PASSED = ("LLAMABOARD_ENABLED", "LLAMABOARD_WORKDIR", "FORCE_TORCHRUN")  # what the host sets for its child
POLL = 0.2  # seconds


class Child:
    """A job as the host's runner sees it.

    Args:
        folder: of the job.
        lang: of the page, for what is said when it fails.
    """

    def __init__(self, folder: Path, lang: str = "en") -> None:
        self.folder, self.lang = folder, lang
        self.returncode: int | None = None

    @property
    def pid(self) -> int:
        """Of the process that watches the training; 0 if there is none."""
        job = jobs.state(self.folder)
        return job.pid if job is not None else 0

    def communicate(self, timeout: float) -> tuple[None, str]:
        """Wait for the end, as `subprocess.Popen.communicate` does.

        Args:
            timeout: seconds.

        Returns:
            Nothing, and in place of stderr what happened and the end of what was printed.

        Raises:
            TimeoutExpired: it is still running.
        """
        deadline = time.monotonic() + timeout
        while (job := jobs.state(self.folder)) is not None and job.state == "running":
            if time.monotonic() >= deadline:
                raise TimeoutExpired([KIND], timeout)
            time.sleep(POLL)
        if job is None:
            self.returncode = 1
            return None, f"{self.folder} is gone."
        # -1 is what the host's loop takes for "still running"
        self.returncode = 128 + 1 if job.code == -1 else 1 if job.code is None else job.code
        if job.state == "done":
            return None, ""
        said = message(job.message, self.lang, reason=job.reason, code=job.code)
        return None, f"{said}\n\n{job_log.log(self.folder)}"

    def stop(self) -> None:
        """Ask it to end; a second time ends it at once."""
        jobs.stop(self.folder)


def uses_dba(recipe: str | os.PathLike[str]) -> bool:
    """Whether a training's YAML switches DBA on."""
    try:
        content = yaml.safe_load(Path(recipe).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return False
    return isinstance(content, dict) and content.get("use_dba") is True


def start(
    command: Sequence[str], environment: Mapping[str, str], facts: Mapping[str, Any], *, end_with_board: bool
) -> Child:
    """Start the host's command.

    Args:
        command: program and arguments; the last is the recipe, in the output folder.
        environment: what the host would have given its child.
        facts: what a board that is started later needs to show the run: ``lang`` and the form's names.
        end_with_board: whether the run is to end when the board does.

    Raises:
        DBAError: it is running already, or the disk is full.
    """
    folder = Path(command[-1]).parent / FOLDER
    passed = [f"{name}={environment[name]}" for name in PASSED if name in environment]
    jobs.start(None, folder, KIND, command=["env", *passed, *command], facts=facts, end_with_board=end_with_board)
    return Child(folder, str(facts.get("lang") or "en"))
