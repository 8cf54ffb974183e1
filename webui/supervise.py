"""Runs one command for the board, outlives the board, and notes how it ended: ``python supervise.py JOB_FOLDER``.

Started by `jobs` in a session of its own. Standard library only, and run by its path, so that it is there in some ten
milliseconds and takes little memory. What the command prints goes to ``job.log`` without secrets and without the
intermediate states of progress bars. ``process.json`` has its full size from the start and is written in place, so
that the end can be noted on a full disk, too.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


JOB, PROCESS, LOG = "job.json", "process.json", "job.log"
SIZE = 4096  # bytes of process.json
TAIL = 1500  # characters of output kept in it
LOG_LIMIT = 5_000_000  # bytes; a run that prints more goes on, and only its end is kept in process.json
PENDING = 65_536  # bytes of a line
GRACE = 120.0  # seconds for a run whose board has gone, before it is killed
NO_SPACE = "No space left on device"
SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_?KEY|CREDENTIAL", re.IGNORECASE)
SECRET_TEXT = re.compile(r"\b(?:hf|sk|ms|ghp|api_org)[_-][A-Za-z0-9_-]{16,}|(?<=Bearer )\S+", re.ASCII)
HIDDEN = "[hidden]"
BAR = re.compile(r"^[^|]{0,80}\d+%\|[^|]*\|[^\]]*\](?=\[)")  # tqdm's, where a message was written after it


def secrets_of(environment: dict[str, str]) -> list[str]:
    """Values of variables that are named like secrets, the longest first; short ones would hide ordinary words."""
    found = {value for name, value in environment.items() if SECRET_NAME.search(name) and len(value) >= 8}
    # a path to a token file, or a switch such as TOKENIZERS_PARALLELISM=false, is none
    return sorted((value for value in found if not value.startswith("/")), key=len, reverse=True)


def hide(text: str, secrets: list[str]) -> str:
    """The text without secrets: those given, and whatever looks like a token."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return SECRET_TEXT.sub(HIDDEN, text)


class Output:
    """What the command prints: complete lines go to the log, the last of them are remembered.

    Args:
        path: of the log; appended to.
        secrets: never written.
    """

    def __init__(self, path: Path, secrets: list[str]) -> None:
        self.path, self.secrets = path, secrets
        self.tail, self.disk_full = "", False
        self._pending = b""

    def add(self, data: bytes) -> None:
        """Take more of it in."""
        *lines, rest = (self._pending + data).split(b"\n")
        # of a progress bar, which goes back to the beginning of its line, the last state
        self._pending = rest.rsplit(b"\r", 1)[-1][-PENDING:] if not rest.endswith(b"\r") else rest[-PENDING:]
        for line in lines:
            self._write(line.rstrip(b"\r").rsplit(b"\r", 1)[-1])

    def end(self) -> None:
        """Write a last line that has no end."""
        rest, self._pending = self._pending.strip(b"\r").rsplit(b"\r", 1)[-1], b""
        if rest:
            self._write(rest)

    def _write(self, line: bytes) -> None:
        text = hide(BAR.sub("", line.decode("utf-8", errors="replace")), self.secrets) + "\n"
        self.tail = (self.tail + text)[-TAIL:]
        self.disk_full = self.disk_full or NO_SPACE in text
        try:
            if not self.path.exists() or self.path.stat().st_size < LOG_LIMIT:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(text)
        except OSError as error:  # the command goes on all the same
            self.disk_full = self.disk_full or error.errno == errno.ENOSPC


def note(path: Path, content: dict[str, Any]) -> None:
    """Overwrite the file in place, always with the same number of bytes."""
    content = dict(content)
    text = json.dumps(content, ensure_ascii=False).encode()
    while len(text) > SIZE:
        content["tail"] = content["tail"][100:]
        text = json.dumps(content, ensure_ascii=False).encode()
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        os.pwrite(handle, text.ljust(SIZE), 0)
    finally:
        os.close(handle)


def start_time(pid: int) -> str:
    """Tells a process from a later one with the same number; "" where there is none, or it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        return ""


def _die_with_us() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: nobody would note how the command ends


def main(folder: Path) -> int:
    """Run the command of ``job.json``; returns its exit status."""
    # handlers, unlike SIG_IGN, are not inherited: the command gets the signals of the group, this process goes on
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    job = json.loads((folder / JOB).read_text(encoding="utf-8"))
    output = Output(folder / LOG, secrets_of(dict(os.environ)))
    known: dict[str, Any] = {"pid": os.getpid(), "started": start_time(os.getpid()), "code": None, "tail": ""}
    note(folder / PROCESS, known)
    try:
        child = subprocess.Popen(
            job["command"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=_die_with_us,
        )
    except OSError as error:
        output.add(f"{error}\n".encode())
        note(folder / PROCESS, {**known, "code": 127, "ended": time.time(), "tail": output.tail})
        return 127
    assert child.stdout is not None
    note(folder / PROCESS, {**known, "child": child.pid})
    code = _follow(child, child.stdout.fileno(), output, job.get("board"))
    output.end()
    ended = {"code": code, "ended": time.time(), "tail": output.tail, "disk_full": output.disk_full}
    note(folder / PROCESS, {**known, "child": child.pid, **ended})
    return code


def _follow(child: subprocess.Popen[bytes], pipe: int, output: Output, board: dict[str, Any] | None) -> int:
    """Read until the command has ended; where it is to end with the board, see to that."""
    open_, asked = True, 0.0
    while True:
        if open_ and select.select([pipe], [], [], 0.5)[0]:
            data = os.read(pipe, 65_536)
            open_ = bool(data)
            output.add(data)
        elif (code := child.poll()) is not None:  # without waiting for the pipe: a grandchild may hold it open
            return code
        elif not open_:
            time.sleep(0.1)
        if board is not None and start_time(board["pid"]) != board["started"]:
            if not asked:
                asked = time.monotonic()
                child.send_signal(signal.SIGINT)
            elif time.monotonic() - asked > GRACE:
                child.kill()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
