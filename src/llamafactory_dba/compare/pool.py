"""Slots that do jobs: each has its GPUs and threads, and either one worker for all its jobs or a process for each."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DBAError


WORKER = (sys.executable, "-m", "llamafactory_dba.compare.worker")
CHILD = (sys.executable, "-m", "llamafactory_dba.compare.child")
END_SECONDS = 20.0


@dataclass(frozen=True)
class Answer:
    """What came of a job: a value, or an error in words."""

    value: Mapping[str, Any] | None
    error: str = ""


@dataclass
class Slot:
    """One place where jobs are done, one after another.

    Attributes:
        out: the output folder.
        number: from 0.
        share: one worker for all jobs; else a process for each.
        gpus: of CUDA_VISIBLE_DEVICES; None: whatever is visible.
        threads: of a CPU worker; None: the libraries' own choice.
        worker: command of the worker, for tests.
    """

    out: Path
    number: int
    share: bool
    gpus: tuple[str, ...] | None = None
    threads: int | None = None
    worker: Sequence[str] = WORKER
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def do(self, job: Mapping[str, Any], timeout: float | None = None) -> Answer:
        """Do a job; never raises for what the job does: death and hanging are answers as well.

        Args:
            job: of `worker.JOBS`, with the path of its ``log``.
            timeout: seconds after which it counts as hanging, and its process is ended.
        """
        if job["kind"] == "train" and not self.share:
            return self._host(job, timeout)
        answer = self._ask(job, timeout)
        if not self.share:
            self.close()
        return answer

    def close(self) -> None:
        """End the worker, if there is one."""
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(OSError):
            process.stdin.close()  # type: ignore[union-attr]
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
        _end(process)
        with contextlib.suppress(OSError):
            process.stdout.close()  # type: ignore[union-attr]

    def environment(self) -> dict[str, str]:
        """Of its processes."""
        path = str(Path(sys.executable).parent) + os.pathsep + os.environ.get("PATH", "")
        found = {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"}
        if self.gpus is not None:
            found["CUDA_VISIBLE_DEVICES"] = ",".join(self.gpus)
        if self.threads is not None:
            found["OMP_NUM_THREADS"] = str(self.threads)
        if self.share:  # tokenised rows, one folder for each worker: it empties it after each run
            cache = str((self.out / ".cache" / f"worker{self.number}").absolute())
            found |= {"DBA_COMPARE_CACHE": cache, "HF_DATASETS_CACHE": cache}
        return found

    def _ask(self, job: Mapping[str, Any], timeout: float | None) -> Answer:
        process = self._started()
        try:
            process.stdin.write((json.dumps(job) + "\n").encode())  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            line = _read_line(process, timeout)
        except TimeoutError:
            self.close()
            return Answer(None, f"it took longer than {timeout:g} s and was ended")
        except OSError:
            line = b""
        if not line.endswith(b"\n"):
            self.close()
            code = process.poll()
            how = f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
            said = [line.strip() for line in tail(self._startup_log(), 1)]
            return Answer(None, ": ".join([f"the worker died ({how})", *said]))
        raw = json.loads(line)
        return Answer(raw["value"]) if raw["ok"] else Answer(None, raw["error"])

    def _host(self, job: Mapping[str, Any], timeout: float | None) -> Answer:
        command = [*CHILD, str(self.out), str(os.getpid()), "train", job["yaml"]]
        with open(job["log"], "ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment(),
                start_new_session=True,
            )
        with self._lock:
            self._process = process
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            return Answer(None, f"it took longer than {timeout:g} s and was ended")
        finally:
            with self._lock:
                self._process = None
            _end(process)
        if code == 0:
            return Answer({})
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        return Answer(None, f"llamafactory-cli ended with {how}: {_last_line(Path(job['log']))}")

    def _startup_log(self) -> Path:
        return self.out / f".worker{self.number}.log"

    def _started(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                with self._startup_log().open("wb") as log:  # a job writes into its own
                    self._process = subprocess.Popen(
                        [*self.worker, str(self.out), str(os.getpid())],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=log,
                        env=self.environment(),
                        start_new_session=True,
                    )
            return self._process


def make_slots(
    out: Path, *, share: bool, jobs: int | None, gpus: Sequence[str] | None, gpus_per_run: int, worker: Sequence[str]
) -> list[Slot]:
    """As many slots as fit.

    Args:
        out: the output folder.
        share: as of `Slot`.
        jobs: how many; None: one for each group of GPUs, or one.
        gpus: numbers of the GPUs to use.
        gpus_per_run: how many a run gets.
        worker: as of `Slot`.
    """
    groups: list[tuple[str, ...] | None] = [None] * (jobs or 1)
    if gpus:
        whole = len(gpus) // gpus_per_run
        if whole == 0:
            raise DBAError(
                "There are fewer GPUs than a run needs.", expected=f"{gpus_per_run} in --gpus", found=", ".join(gpus)
            )
        parts = [tuple(gpus[place * gpus_per_run :][:gpus_per_run]) for place in range(whole)]
        groups = [parts[place % whole] for place in range(jobs or whole)]
    # several CPU workers with all threads each are slower than with one each; a user's own setting counts
    threads = 1 if len(groups) > 1 and not gpus and "OMP_NUM_THREADS" not in os.environ else None
    return [Slot(out, place, share, group, threads, worker) for place, group in enumerate(groups)]


def _read_line(process: subprocess.Popen[bytes], timeout: float | None) -> bytes:
    """One line of a worker's answers; what it has sent so far if it ends before."""
    source = process.stdout
    assert source is not None
    until = None if timeout is None else time.monotonic() + timeout
    line = b""
    while not line.endswith(b"\n"):
        left = None if until is None else until - time.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError
        ready, _, _ = select.select([source], [], [], left)
        if ready:
            part = os.read(source.fileno(), 65536)
            if not part:
                process.wait(END_SECONDS)
                return line
            line += part
    return line


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started: its own session's group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(END_SECONDS)


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in tail(log, 40) if line.strip()]
    named = [line for line in lines if "Error" in line.split(":")[0]]
    return (named or lines or ["its log is empty"])[-1]


def tail(log: Path, lines: int = 15) -> list[str]:
    """The last lines of a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 20_000))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        return []
