"""``dba_gauge.jsonl``: one line per measurement, exact across a resume; and who was best so far."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from ...files import write_file
from ..step_log import read_lines


FILE_NAME = "dba_gauge.jsonl"

Judge = Literal["s", "general_loss"]


class Record(NamedTuple):
    """One measurement: losses and divergence in nats per token, accuracies and s in %; None is "not finite"."""

    step: int
    values: Mapping[str, float | None]
    seconds: float

    def to_json(self) -> str:
        """One line, without its end."""
        return json.dumps({"step": self.step, **self.values, "seconds": self.seconds}, allow_nan=False)


def record(step: int, values: Mapping[str, float], seconds: float) -> Record:
    """With None in place of NaN and infinity, which JSON does not have."""
    finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
    return Record(step, finite, round(seconds, 4))


class GaugeLog:
    """Appends to ``<folder>/dba_gauge.jsonl``, each line at once: a checkpoint of that step follows it.

    Args:
        folder: the run's output folder.
        last_step: later records are dropped from an existing file, since they will be made again; None for a fresh
            run, which drops all of them.
    """

    def __init__(self, folder: str | os.PathLike[str], last_step: int | None) -> None:
        self.path = Path(folder) / FILE_NAME
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = [] if last_step is None else read_lines(self.path)
        kept = [line for line in lines if json.loads(line)["step"] <= (last_step or 0)]
        write_file(self.path, "".join(line + "\n" for line in kept))
        self.records = [_parse(line) for line in kept]

    def add(self, item: Record) -> None:
        """Write one line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(item.to_json() + "\n")


@dataclass
class Progress:
    """The best measurement so far, and how many there were since.

    Args:
        judge: what decides: the highest ``s`` or the lowest ``general_loss``; None if nothing does.
        patience: `dba_gauge_patience`; 0 never stops.
    """

    judge: Judge | None
    patience: int = 0
    best: Record | None = None
    since: int = field(default=0)

    def add(self, item: Record) -> bool:
        """Take a measurement; whether it is the best so far. One that is not finite never is."""
        if self.judge is None:
            return False
        if is_better(self.judge, item.values.get(self.judge), self.best and self.best.values.get(self.judge)):
            self.best, self.since = item, 0
            return True
        self.since += 1
        return False

    def replay(self, items: Sequence[Record]) -> None:
        """Take those of a run that is resumed."""
        for item in items:
            self.add(item)

    @property
    def exhausted(self) -> bool:
        """Whether patience is at its end."""
        return self.patience > 0 and self.since >= self.patience


def is_better(judge: Judge, value: float | None, than: float | None) -> bool:
    """Whether a value is strictly better; a missing one never is, and anything is better than a missing one."""
    if value is None or than is None:
        return value is not None
    return value > than if judge == "s" else value < than


def _parse(line: str) -> Record:
    content = json.loads(line)
    return Record(content.pop("step"), content, content.pop("seconds", 0.0))
