"""Runs that the board starts: children that outlive browsers and the board, found again by files beside their output.

A job is a folder: ``job.json`` (what was asked, written by the board), ``arguments.yaml`` (what `llamafactory-cli
train` gets), ``process.json`` and ``job.log`` (written by `supervise`, which runs the command). The list of jobs lies
in the host's cache folder. No shell is involved, and nothing that is named like a secret reaches any of these files.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil
import yaml

from llamafactory_dba.errors import DBAError
from llamafactory_dba.files import write_file

from . import supervise
from .job_list import listed, read_json, remember
from .job_log import log, reason_of
from .paths import shorten


State = Literal["running", "done", "failed", "stopped"]
TRAIN = ("llamafactory-cli", "train")
ARGUMENTS = "arguments.yaml"
STARTUP = 15.0  # seconds in which the supervisor must have said that it is there
SMALLEST_DISK = 16 * 2**20  # bytes free without which nothing is started
SECRET_KEY = re.compile(r"(^|_)(token|api_key|secret|password)$")


@dataclass(frozen=True)
class Job:
    """A run that was started from a board.

    Attributes:
        folder: with its files.
        kind: what it is for, such as ``anchor``.
        pid: of its supervisor, 0 if that never started.
        state: ``running``, ``done``, ``failed`` or ``stopped`` (by the board).
        started: seconds since 1970, like ``ended``, which is None while it runs.
        message: key of the message in `locales` that says how it is; its fields are ``reason`` and ``code``.
        reason: the error in the command's own words; "" without.
        code: exit status, negative for a signal; None while it runs or where nobody could note it.
        stopping: how often it was asked to stop.
        facts: what the starter wanted to be kept.
    """

    folder: Path
    kind: str
    pid: int
    state: State
    started: float
    ended: float | None
    message: str
    reason: str = ""
    code: int | None = None
    stopping: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def signature(self) -> tuple[Any, ...]:
        """Changes whenever something about it changes."""
        return (str(self.folder), self.started, self.state, self.stopping, self.ended)


def start(
    arguments: Mapping[str, Any] | None,
    folder: Path,
    kind: str,
    *,
    command: Sequence[str] = TRAIN,
    facts: Mapping[str, Any] | None = None,
    end_with_board: bool = False,
) -> Job:
    """Start a command in a process of its own.

    Args:
        arguments: written as YAML, whose path becomes the command's last argument; None for a command without.
        folder: of the job; made if need be. It is used again for a run that goes on where it stopped.
        kind: see `Job`.
        command: program and arguments; found beside this Python first, then in PATH.
        facts: kept for the page, as JSON; no secrets.
        end_with_board: whether the run is to stop when the board's process ends, in whatever way.

    Raises:
        DBAError: this job is running already, the disk is full, or the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder):
            found = state(folder)
            if found is not None and found.state == "running":
                raise DBAError("This run is under way already.", found=shorten(folder), next_step="stop it first")
            if shutil.disk_usage(folder).free < SMALLEST_DISK:
                raise OSError(28, "No space left on device", shorten(folder))
            content = {"kind": kind, "started": time.time(), "stops": [], "facts": dict(facts or {})}
            content["board"] = _this_process() if end_with_board else None
            content["command"] = [*command, *([_short_path(folder / ARGUMENTS)] if arguments is not None else [])]
            for name in (supervise.PROCESS, supervise.LOG):
                (folder / name).unlink(missing_ok=True)
            if arguments is not None:
                text = yaml.safe_dump(without_secrets(arguments), allow_unicode=True, sort_keys=False)
                write_file(folder / ARGUMENTS, text)
            write_file(folder / supervise.JOB, json.dumps(content))
            remember(folder, kind)
            _launch(folder)
    except OSError as error:
        raise DBAError(
            "The run cannot be started.", found=error.strerror or error, next_step="see to the folder and the disk"
        ) from error
    found = state(folder)
    assert found is not None
    return found


def _launch(folder: Path) -> None:
    here = str(Path(sys.executable).parent)
    path = here + os.pathsep + os.environ.get("PATH", "")
    process = subprocess.Popen(
        [sys.executable, "-S", str(Path(supervise.__file__).resolve()), str(folder)],
        env={**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    threading.Thread(target=process.wait, daemon=True).start()  # so that it leaves no zombie
    deadline = time.monotonic() + STARTUP
    while time.monotonic() < deadline and process.poll() is None and not (folder / supervise.PROCESS).exists():
        time.sleep(0.02)


def state(folder: Path) -> Job | None:
    """How a job is; None where there is none. Never raises for what its files hold."""
    asked, process = read_json(folder / supervise.JOB), read_json(folder / supervise.PROCESS)
    if asked is None or "kind" not in asked:
        return None
    process = process or {}
    pid, code, stops = int(process.get("pid", 0)), process.get("code"), len(asked.get("stops", ()))
    started, ended = float(asked.get("started", 0)), process.get("ended")
    reason, now = "", "failed"
    if code is None and _alive(process):
        now, key = "running", "dba_job_stopping" if stops else "dba_job_running"
    elif not process and time.time() - started < STARTUP:
        now, key = "running", "dba_job_running"
    elif code == 0:
        now, key = "done", "dba_job_done"
    elif stops:
        now, key = "stopped", "dba_job_stopped"
    elif code is None:
        key, reason = "dba_job_lost", reason_of(log(folder))
    elif process.get("disk_full"):
        key, reason = "dba_job_disk_full", reason_of(process.get("tail", ""))
    else:
        key = "dba_job_killed" if code < 0 or code in (137, 143) else "dba_job_failed"
        reason = reason_of(log(folder) or process.get("tail", ""))
    end = None if now == "running" else float(ended) if ended else _changed(folder)
    facts = asked.get("facts") or {}
    return Job(folder, str(asked["kind"]), pid, now, started, end, key, reason, code, stops, facts)  # type: ignore[arg-type]


def stop(folder: Path) -> Job | None:
    """Ask a run to stop, as Ctrl-C does, so that it can save what it has; asked again, it is killed at once."""
    found = state(folder)
    if found is None or found.state != "running" or not found.pid:
        return found
    with _lock(folder), contextlib.suppress(OSError):  # a full disk must not keep anybody from stopping
        asked = read_json(folder / supervise.JOB) or {}
        write_file(folder / supervise.JOB, json.dumps({**asked, "stops": [*asked.get("stops", ()), time.time()]}))
    try:
        supervisor = psutil.Process(found.pid)
        if found.stopping:
            for process in [*supervisor.children(recursive=True)[::-1]]:
                _send(process, signal.SIGKILL)
        else:
            for process in [worker for child in supervisor.children() for worker in _workers(child)]:
                _send(process, signal.SIGINT)
    except psutil.Error:
        pass
    return state(folder)


def running(kind: str | None = None) -> list[Job]:
    """Jobs of this board, or of one before it, that are under way."""
    return [job for job in known(kind) if job.state == "running"]


def known(kind: str | None = None) -> list[Job]:
    """All jobs of the list whose folders are there, those started last first."""
    found = [job for folder in listed(kind) if (job := state(folder)) is not None]
    return sorted(found, key=lambda job: -job.started)


def latest(kind: str) -> Job | None:
    """The one that was started last; without looking at all of them."""
    return next((job for folder in listed(kind) if (job := state(folder)) is not None), None)


def arguments_of(folder: Path) -> dict[str, Any]:
    """What the run of a job was given; empty where that cannot be read."""
    try:
        content = yaml.safe_load((folder / ARGUMENTS).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def without_secrets(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments without those that are named like tokens, keys and passwords: they belong into the environment."""
    return {key: value for key, value in arguments.items() if not SECRET_KEY.search(key)}


def _workers(process: psutil.Process) -> list[psutil.Process]:
    """The processes that compute. Signals to torchrun and its launcher would kill these before they have saved."""
    children = process.children()
    program = process.cmdline()[:3]
    if any(Path(word).stem == "torchrun" for word in program[:2]) or "torch.distributed.run" in program:
        return children
    launched = [worker for child in children for worker in _workers(child) if worker != child]
    return launched or [process]


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.Error):
        process.send_signal(number)


def _alive(process: Mapping[str, Any]) -> bool:
    return bool(process) and supervise.start_time(int(process["pid"])) == process.get("started") != ""


def _this_process() -> dict[str, Any]:
    return {"pid": os.getpid(), "started": supervise.start_time(os.getpid())}


def _short_path(path: Path) -> str:
    """Relative where it can be: the host hands it to torchrun in one line that is cut at every space."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _changed(folder: Path) -> float:
    times = [path.stat().st_mtime for name in (supervise.LOG, supervise.PROCESS) if (path := folder / name).exists()]
    return max(times, default=0.0)


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """One at a time, among all boards of this machine."""
    with (folder / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
