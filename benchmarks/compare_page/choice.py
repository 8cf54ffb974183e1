"""Which value of each swept key a method of a comparison takes: the one with the best mean S.

The mean is over all (base, domain) of the suite, each with the same weight and itself a mean over seeds. A value that
lacks a cell, because it was not run, failed or diverged there, is shown and cannot be chosen: a mean over fewer cells
is of something else. Swept keys are varied one at a time around the method's own settings, so where two of them move
away from these, their combination was not tried; that is said.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from llamafactory_dba.arguments import DBAArguments
from llamafactory_dba.compare.suite import SAMPLES, Suite
from llamafactory_dba.errors import DBAError


SCORES = ("s_d", "s_g", "s")


@dataclass(frozen=True)
class Candidate:
    """One value of a key for one method.

    Attributes:
        label: as in compare.json.
        value: of the key; other keys are the method's own.
        own: whether this is the method as the suite names it.
        s_d: mean domain score over cells in %; None without any.
        s_g: likewise, general.
        s: likewise, both.
        cells: "base/domain" → mean S in %, of the cells that have one.
        wanted: number of cells that the suite has.
        diverged: runs that diverged.
        missing: runs that were not done.
    """

    label: str
    value: Any
    own: bool
    s_d: float | None
    s_g: float | None
    s: float | None
    cells: dict[str, float]
    wanted: int
    diverged: int
    missing: int

    @property
    def whole(self) -> bool:
        """Every cell has a score, and none lost a run."""
        return len(self.cells) == self.wanted and not self.diverged and not self.missing


@dataclass(frozen=True)
class Axis:
    """The grid of one key for one method, in rising order.

    Attributes:
        key: what was swept.
        grid: all values.
        chosen: the value with the best mean S of those with all cells; None as long as there is none.
        end: ``low`` or ``high`` where that is the end of the grid, otherwise ``""``.
        ahead: its S above the second best in % points; None where there is no second.
    """

    key: str
    grid: tuple[Candidate, ...]
    chosen: Any = None
    end: str = ""
    ahead: float | None = None

    def end_of(self, value: Any) -> str:
        """``low`` or ``high`` where a value lies at that end of the grid, otherwise ``""``."""
        if len(self.grid) < 2 or not all(is_number(item.value) for item in self.grid):
            return ""
        return {self.grid[0].value: "low", self.grid[-1].value: "high"}.get(value, "")


@dataclass(frozen=True)
class Choice:
    """What a method takes.

    Attributes:
        method: name in the suite.
        axes: one for each swept key.
        label: of the best of all its candidates; None as long as no candidate is whole.
        keys: the swept keys with the values of that candidate.
        s: its mean S in %.
        untried: keys that are each best away from the method's own value, so that their combination was not run.
    """

    method: str
    axes: tuple[Axis, ...]
    label: str | None
    keys: dict[str, Any] = field(default_factory=dict)
    s: float | None = None
    untried: tuple[str, ...] = ()


def choose(found: Mapping[str, Any], suite: Suite) -> list[Choice]:
    """The choice of every method that was swept, in the suite's order.

    Args:
        found: content of compare.json.
        suite: the suite that it is of.

    Raises:
        DBAError: a method's own value of a swept key differs between bases or domains.
    """
    wanted = len(suite.bases) * len(suite.domains)
    choices = []
    for method in suite.methods:
        keys = list(dict.fromkeys(sweep.key for sweep in suite.sweeps.values() if method in sweep.methods))
        if not keys or method in found["left_out"]:
            continue
        own = _candidate(found, method, None, None, wanted)
        by_key = {}
        for key in keys:
            others = dict.fromkeys(
                v for s in suite.sweeps.values() if (method in s.methods and s.key == key) for v in s.values
            )
            value = own_value(suite, method, key)
            grid = [_candidate(found, method, key, each, wanted) for each in others if each != value]
            by_key[key] = _axis(key, [*grid, replace(own, value=value)])
        choices.append(_choice(method, by_key))
    return choices


def own_value(suite: Suite, method: str, key: str) -> Any:
    """What a method has for a key where nothing is swept; of general rows, all.

    Raises:
        DBAError: it differs between bases or domains, or is the host's own default.
    """
    if key == SAMPLES:
        return "all"
    mine, name = suite.methods[method], key.removeprefix("anchor.")
    start: dict[str, Any] = {item.name: item.default for item in fields(DBAArguments)}
    found = []
    for base in suite.bases.values():
        for domain in suite.domains.values():
            parts = (base.anchor, mine.anchor) if name != key else (suite.common, base.keys, domain.keys, mine.keys)
            merged = ChainMap(*(dict(part) for part in reversed(parts)), start)
            if merged.get(name) not in found:
                found.append(merged.get(name))
    if len(found) != 1 or found[0] is None:
        raise DBAError(
            f"{method}'s own value of {key} is not one value.",
            expected="one, named in the suite for all bases and domains",
            found=found,
        )
    return found[0]


def _candidate(found: Mapping[str, Any], method: str, key: str | None, value: Any, wanted: int) -> Candidate:
    setting = {} if key is None else {key: value}
    cells = [cell for cell in found["cells"] if cell["method"] == method and cell["setting"] == setting]
    scored = [cell for cell in cells if cell["s"] is not None]
    means = {
        score: math.fsum(cell[score]["mean"] for cell in scored) / len(scored) if scored else None for score in SCORES
    }
    return Candidate(
        label=cells[0]["label"] if cells else f"{method} [{key}={value}]" if key else method,
        value=value,
        own=key is None,
        **means,
        cells={f"{cell['base']}/{cell['domain']}": cell["s"]["mean"] for cell in scored},
        wanted=wanted,
        diverged=sum(cell["diverged"] for cell in cells),
        missing=sum(cell["missing"] for cell in cells),
    )


def _axis(key: str, candidates: Sequence[Candidate]) -> Axis:
    grid = tuple(sorted(candidates, key=lambda item: float(item.value) if is_number(item.value) else math.inf))
    best = sorted((item for item in grid if item.whole), key=lambda item: -(item.s or 0.0))
    if not best:
        return Axis(key, grid)
    ahead = (best[0].s or 0.0) - (best[1].s or 0.0) if len(best) > 1 else None
    return Axis(key, grid, best[0].value, Axis(key, grid).end_of(best[0].value), ahead)


def _choice(method: str, axes: Mapping[str, Axis]) -> Choice:
    pool = [(item.s or 0.0, axis, item) for axis in axes.values() for item in axis.grid if item.whole]
    if not pool:
        return Choice(method, tuple(axes.values()), None)
    s, axis, best = max(pool, key=lambda entry: entry[0])
    own = {key: item.value for key, other in axes.items() for item in other.grid if item.own}
    moved = tuple(key for key, other in axes.items() if other.chosen is not None and other.chosen != own[key])
    keys = own | {axis.key: best.value}
    return Choice(method, tuple(axes.values()), best.label, keys, s, moved if len(moved) > 1 else ())


def is_number(value: Any) -> bool:
    """Not a truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)
