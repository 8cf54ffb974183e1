"""Logs of one JSON object per line, read while another process writes them, and thinned out for a curve.

Only what was appended since the last look is parsed. A last line without its end is left for the next look; a line
that is no JSON, or lacks a number, is passed over; a file that was begun again is read anew.
"""

from __future__ import annotations

import json
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path


Points = list[tuple[float, float]]
Series = dict[str, Points]

POINTS = 1000  # of a curve: more than a screen has columns for one
FOLLOWED = 64  # logs that are kept in memory
END = 200  # bytes before the place where reading goes on, by which a file that was begun again is told


class Follower:
    """One log; the same object may serve any number of pages, since it depends on the file alone.

    Args:
        path: of the log, which need not be there yet.
        fields: names of numbers in its records.
        x: name of the number on the axis to the right.
    """

    def __init__(self, path: str | os.PathLike[str], fields: Sequence[str], *, x: str = "step") -> None:
        self.path, self.fields, self.x = Path(path), tuple(fields), x
        self._series: Series = {name: [] for name in self.fields}
        self._last_record: dict[str, object] = {}
        self._read = 0
        self._rest = self._end = b""
        self._lock = threading.Lock()

    def poll(self) -> Series:
        """All points so far, field → [(x, y)], in the order of the file; the lists must not be changed."""
        with self._lock:
            try:
                with self.path.open("rb") as file:
                    # not by its number: that of a file that was deleted is given to the next one
                    file.seek(self._read - len(self._end))
                    if file.read(len(self._end)) != self._end:
                        self._forget()
                        file.seek(0)
                    fresh = file.read()
            except OSError:
                if not self.path.exists():
                    self._forget()
                fresh = b""
            self._read += len(fresh)
            self._end = (self._end + fresh)[-END:]
            *lines, self._rest = (self._rest + fresh).split(b"\n")
            for line in lines:
                self._add(line)
            return dict(self._series)

    @property
    def last(self) -> Mapping[str, float]:
        """All numbers of the last whole record, whatever their names; empty before there is one."""
        return {name: number for name, value in self._last_record.items() if (number := _number(value)) is not None}

    def _forget(self) -> None:
        self._series = {name: [] for name in self.fields}
        self._last_record, self._read, self._rest, self._end = {}, 0, b"", b""

    def _add(self, line: bytes) -> None:
        try:
            record = json.loads(line)
        except ValueError:
            return
        if not isinstance(record, dict):
            return
        place = _number(record.get(self.x))
        if place is None:
            return
        self._last_record = record
        for name in self.fields:
            value = _number(record.get(name))
            if value is not None:
                self._series[name].append((place, value))


_followers: OrderedDict[tuple[str, tuple[str, ...], str], Follower] = OrderedDict()
_followers_lock = threading.Lock()


def follow(path: str | os.PathLike[str], fields: Sequence[str], *, x: str = "step") -> Follower:
    """The `Follower` of a log: one for all pages that look at it, so that it is parsed once."""
    key = (str(Path(path).absolute()), tuple(fields), x)
    with _followers_lock:
        found = _followers.pop(key, None) or Follower(path, fields, x=x)
        _followers[key] = found
        while len(_followers) > FOLLOWED:
            _followers.popitem(last=False)
        return found


def downsample(points: Sequence[tuple[float, float]], limit: int = POINTS) -> Points:
    """At most ``limit`` of the points, in order: the first, the last, and the lowest and highest of every stretch.

    Args:
        points: as `Follower.poll` gives them.
        limit: 4 or more.
    """
    count = len(points)
    if count <= limit:
        return list(points)
    stretches = (limit - 2) // 2
    inner, height = count - 2, itemgetter(1)
    kept: Points = [points[0]]
    for number in range(stretches):
        stretch = points[1 + number * inner // stretches : 1 + (number + 1) * inner // stretches]
        low, high = min(stretch, key=height), max(stretch, key=height)
        kept += (low,) if low == high else (low, high) if low[0] <= high[0] else (high, low)
    return [*kept, points[-1]]


def _number(value: object) -> float | None:
    """None for what is no finite number; true and false are none either."""
    kind = type(value)
    if kind is float:
        return value if math.isfinite(value) else None  # type: ignore[arg-type, return-value]
    if kind is not int:
        return None
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:
        return None
