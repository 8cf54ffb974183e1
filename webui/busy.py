"""Runs that are under way and would share their device with one that is about to be started. No gradio."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from . import child, jobs
from .jobs import Job
from .paths import shorten
from .problems import Problem
from .run_logs import read_args


ANCHOR, TRAIN = "anchor", child.KIND  # kinds of jobs that compute; a download does not


def others(row: str, tick: str, *, cpu: bool, kinds: Sequence[str] = (ANCHOR, TRAIN)) -> list[Problem]:
    """One sentence per run that the new one would get in the way of; which of a machine's GPUs is not looked at.

    Args:
        row: where it is shown.
        tick: element to be ticked by somebody who wants both.
        cpu: whether the new run computes on the processor.
        kinds: of runs that are looked for.
    """
    found = []
    for job in jobs.running():
        if job.kind in kinds and uses_cpu(job) == cpu:
            fields = {"folder": shorten(output_of(job)), "label": tick}
            found.append(Problem(row, f"dba_busy_{job.kind}", fields))
    return found


def output_of(job: Job) -> Path:
    """The folder that an anchor or a training is written to."""
    if job.kind == TRAIN:
        return job.folder.parent.resolve()
    return Path(str(job.facts.get("folder") or job.folder))


def uses_cpu(job: Job) -> bool:
    """Whether it computes on the processor: where it was told to, or there is nothing else."""
    from llamafactory.extras.misc import is_accelerator_available

    arguments = read_args(job.folder.parent) if job.kind == TRAIN else jobs.arguments_of(job.folder)
    return arguments.get("use_cpu") is True or not is_accelerator_available()
