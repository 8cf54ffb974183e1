"""Ctrl-C and SIGTERM during a pass that can save what it has: noted now, obeyed at the end of a step."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Catches the first signal while the ``with`` block runs; a second one does what it always did.

    Elsewhere than in the main thread, where Python allows no handlers, nothing is caught. A signal that was ignored
    before, as in a shell's background job, still is.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        """Start to catch."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        """Put the handlers of before back."""
        self._restore()

    @property
    def exit_status(self) -> int:
        """What a shell reports for a process that this signal has ended."""
        return 128 + self.signal

    def _note(self, number: int, frame: FrameType | None) -> None:
        # no logging here: the signal may have come in the middle of a write to the same stream
        self.signal = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
