"""What keeps the processes of a killed runner from writing on: each ends itself when its parent is gone.

A runner holds ``OUT/.lock``. Its children hold ``OUT/.children`` together, so that the next runner can wait until the
last of them has ended.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ..errors import DBAError


LOCK, CHILDREN = ".lock", ".children"
WAIT_SECONDS = 30.0
_held: list[IO[str]] = []  # a lock lives as long as its file is open


def _flock(file: IO[str], how: str) -> bool:
    """Whether the lock could be taken; where the platform has none (Windows), always."""
    try:
        import fcntl
    except ImportError:
        return True
    kinds = {"own": fcntl.LOCK_EX | fcntl.LOCK_NB, "share": fcntl.LOCK_SH, "free": fcntl.LOCK_UN}
    try:
        fcntl.flock(file, kinds[how])
    except BlockingIOError:
        return False
    return True


@contextmanager
def only_runner(out: Path) -> Iterator[None]:
    """Hold the folder; wait for the children of a runner that was killed.

    Raises:
        DBAError: another runner is at work there, or such children do not end.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK).open("a+", encoding="utf-8") as lock:
        if not _flock(lock, "own"):
            lock.seek(0)
            raise DBAError(
                "Another `compare` is at work in this folder.",
                expected="one at a time",
                found=f"{out} ({lock.read().strip() or 'no process named'})",
                next_step="wait for it, stop it, or choose another --out",
            )
        lock.truncate(0)
        lock.write(f"process {os.getpid()}\n")
        lock.flush()
        with (out / CHILDREN).open("a+", encoding="utf-8") as children:
            until = time.monotonic() + WAIT_SECONDS
            while not _flock(children, "own"):
                if time.monotonic() > until:
                    raise DBAError(
                        "Processes of an earlier `compare` in this folder do not end.",
                        found=str(out),
                        next_step="end them (they are `llamafactory_dba.compare` processes), then start again",
                    )
                time.sleep(0.2)
            _flock(children, "free")
        yield


def end_with_parent(out: Path, parent: int) -> None:
    """In a child: hold the children's lock, and end with the whole process group once ``parent`` is gone.

    Args:
        out: the output folder.
        parent: process id of the runner.
    """
    file = (out / CHILDREN).open("a+", encoding="utf-8")
    _flock(file, "share")
    _held.append(file)
    if os.getppid() != parent:
        os._exit(1)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        if os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """SIGTERM ends the run as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
