"""What of a plan is done, what is left, and what that will take: disk and time. Reads only."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..errors import DBAError
from ..sentences import describe_names
from .plan import AnchorPlan, BasePlan, Plan, RunPlan
from .sources import model_bytes
from .state import ENDED, Status, find_stale, read_status


Step = AnchorPlan | BasePlan | RunPlan
LOGS_BYTES = 2 << 20  # of one run: logs, records, results
OPTIMIZER_FACTOR = 6  # a checkpoint: weights and two moments in float32, against weights in bf16
GIB = 1 << 30


@dataclass(frozen=True)
class Inventory:
    """The state of a plan.

    Attributes:
        plan: all of it.
        statuses: folder → status of every step that has one.
        todo: steps that are to be done now, anchors and base scores first.
        done: how many of the chosen runs are done.
        chosen: how many runs ``--only`` lets through.
        stale: folders that the suite does not ask for.
    """

    plan: Plan
    statuses: Mapping[str, Status]
    todo: tuple[Step, ...]
    done: int
    chosen: int
    stale: tuple[Path, ...]

    @property
    def runs(self) -> tuple[RunPlan, ...]:
        """Those of ``todo`` that train; points between weights are made with the training they belong to."""
        return tuple(step for step in self.todo if isinstance(step, RunPlan) and not step.of)


@dataclass(frozen=True)
class Estimate:
    """What is left to do takes; None: not known."""

    seconds: float | None
    bytes_needed: int | None
    bytes_free: int


def take_stock(
    plan: Plan, out: Path, only: Sequence[str] = (), besides: Mapping[str, Status] | None = None
) -> Inventory:
    """Compare a plan with what is in the output folder, and ``besides``: folder → status.

    Raises:
        DBAError: ``only`` fits no run.
    """
    runs = [run for run in plan.runs if not only or any(_fits(run, pattern) for pattern in only)]
    if not runs:
        raise DBAError(
            "No run is of that name.",
            expected=f"--only: part of a name such as {plan.runs[0].name}" if plan.runs else "a method that can run",
            found=", ".join(only) or "none",
        )
    by_folder = {run.folder: run for run in plan.runs}
    # weights are deleted after measuring, so points are made with their training, and never without
    family = {run.of or run.folder for run in runs}
    runs = [run for run in plan.runs if (run.of or run.folder) in family]
    statuses: dict[str, Status] = dict(besides or {})
    steps: list[Step] = [*plan.anchors, *plan.bases, *by_folder.values()]
    for step in steps:
        found = read_status(out / step.folder, step.hash)
        if found is not None:
            statuses[step.folder] = found

    def ended(step: Step) -> bool:
        return step.folder in statuses and statuses[step.folder].state in ENDED

    open_families = {run.of or run.folder for run in runs if not ended(run)}
    left = [run for run in runs if (run.of or run.folder) in open_families]
    left.sort(key=lambda run: plan.suite.seeds.index(run.seed) if run.seed in plan.suite.seeds else -1)
    anchors = {run.anchor.folder for run in left if run.anchor is not None}
    bases = {(run.base, run.domain) for run in runs}
    first: list[Step] = [anchor for anchor in plan.anchors if anchor.folder in anchors and not ended(anchor)]
    first += [base for base in plan.bases if (base.base, base.domain) in bases and not ended(base)]
    wanted = {step.folder for step in steps} | {run.mix.folder for run in plan.runs if run.mix is not None}
    stale = tuple(find_stale(out, wanted)) if out.is_dir() else ()
    return Inventory(plan, statuses, (*first, *left), sum(map(ended, runs)), len(runs), stale)


def _fits(run: RunPlan, pattern: str) -> bool:
    return fnmatchcase(run.name, f"*{pattern.replace('[', '[[]')}*")


def forecast(plan: Plan, statuses: Mapping[str, Status]) -> Callable[[RunPlan], float | None]:
    """How long a run will take: as runs of its kind took here, else by its steps; None where nothing is known.

    What was taken over from another call comes last: that was another machine, or one that had more to do.
    """
    here, elsewhere, guess = _Times(), _Times(), plan.suite.estimate
    for run in plan.runs:
        status = statuses.get(run.folder)
        if status is not None and not run.of and status.state in ENDED:
            (elsewhere if status.taken else here).add(run, status.seconds)

    def seconds(run: RunPlan) -> float | None:
        if run.of:
            return 0.0  # counted with its training
        if (found := here.of(run)) is not None:
            return found
        if guess.seconds_per_step is not None and run.steps:
            return guess.seconds_per_run + guess.seconds_per_step * run.steps
        return elsewhere.of(run)

    return seconds


@dataclass
class _Times:
    """Seconds that runs took: by kind, and per step."""

    kinds: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)
    rates: list[float] = field(default_factory=list)

    def add(self, run: RunPlan, seconds: float) -> None:
        self.kinds.setdefault(_kind(run), []).append(seconds)
        if run.steps:
            self.rates.append(seconds / run.steps)

    def of(self, run: RunPlan) -> float | None:
        """A run's, from others of its kind, else from its steps."""
        if found := self.kinds.get(_kind(run)):
            return sum(found) / len(found)
        return run.steps * sum(self.rates) / len(self.rates) if self.rates and run.steps else None


def _kind(run: RunPlan) -> tuple[str, str, str]:
    return run.base, run.domain, run.label


def estimate(inventory: Inventory, out: Path, jobs: int) -> Estimate:
    """Time and disk for what is left."""
    seconds_of = forecast(inventory.plan, inventory.statuses)
    times = [seconds_of(run) for run in inventory.runs]
    seconds = None if None in times else sum(time for time in times if time is not None) / max(1, jobs)
    return Estimate(seconds, bytes_needed(inventory, jobs), free_bytes(out))


def bytes_needed(inventory: Inventory, jobs: int) -> int | None:
    """Upper bound on the disk that is needed at the same time; None where a base model's size is not known."""
    suite = inventory.plan.suite
    runs = inventory.runs
    if not inventory.todo:
        return 0
    largest, kept = 0, 0
    for name, base in suite.bases.items():
        size = model_bytes(base.model)
        if size is None:
            return None
        mine = [run for run in runs if run.base == name]
        each = max((_run_bytes(run.keys, 2 * size) for run in mine), default=0)  # saved in float32 at most
        largest = max(largest, each)
        kept += len(mine) * 2 * size if suite.keep_models else 0
        kept += sum(size for step in inventory.todo if isinstance(step, AnchorPlan) and step.base == name)
    return kept + jobs * largest + LOGS_BYTES * len(inventory.todo)


def _run_bytes(keys: Mapping[str, Any], size: int) -> int:
    """Of one run while it is there: final weights, a merged or interpolated copy, checkpoints."""
    checkpoints = 0
    if str(keys.get("save_strategy", "steps")) != "no":
        checkpoints = (int(keys.get("save_total_limit") or 1) + 1) * (
            size if keys.get("save_only_model") else OPTIMIZER_FACTOR * size
        )
    return 2 * size + checkpoints


def free_bytes(out: Path) -> int:
    """Of the disk that the output folder is, or will be, on."""
    place = out.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def check_disk(found: Estimate, out: Path) -> None:
    """Raise a DBAError where the disk has too little room."""
    if found.bytes_needed is not None and found.bytes_needed > found.bytes_free:
        raise DBAError(
            "The disk is too full for this suite.",
            expected=f"about {found.bytes_needed / GIB:.2f} GiB",
            found=f"{found.bytes_free / GIB:.2f} GiB free at {out}",
            next_step="choose another --out, run less at a time (--only, --jobs), or leave `keep_models` out",
        )


def plan_lines(inventory: Inventory, out: Path, found: Estimate, jobs: int) -> list[str]:
    """The plan in words, for ``--dry-run`` and the start of a run."""
    plan, suite = inventory.plan, inventory.plan.suite
    trainings = len(inventory.runs)
    points = sum(len(step.alphas) for step in inventory.todo if isinstance(step, RunPlan) and step.of)
    anchors = sum(isinstance(step, AnchorPlan) for step in inventory.todo)
    bases = sum(isinstance(step, BasePlan) for step in inventory.todo)
    ended = [status for folder, status in inventory.statuses.items() if folder.startswith("runs/")]
    diverged = sum(status.state == "diverged" for status in ended)
    lines = [
        f"{suite.name} {suite.version}: {len(suite.methods) - len(plan.left_out)} methods x "
        f"{len(suite.domains)} domains x {len(suite.bases)} bases x {len(suite.seeds)} seeds, "
        f"{len(suite.sweeps)} sweeps: {len(plan.runs)} runs, "
        f"{inventory.chosen} chosen, {inventory.done} done" + (f" ({diverged} diverged)" if diverged else ""),
        f"to do: {trainings} trainings, {points} points between weights, {anchors} anchors, "
        f"{bases} base models to score",
        f"time: {duration(found.seconds)} with {jobs} at a time"
        + ("" if found.seconds is not None else " (no run is done yet, and the suite has no `estimate`)"),
        f"disk: {size(found.bytes_needed)} needed, {size(found.bytes_free)} free at {out}",
    ]
    lines += [f"left out: {name}: {why}" for name, why in plan.left_out.items()]
    if inventory.stale:
        some = describe_names([path.relative_to(out).as_posix() for path in inventory.stale])
        lines.append(f"stale (not of this suite, in no table; --remove-stale deletes): {some}")
    return lines


def duration(seconds: float | None) -> str:
    """In words."""
    if seconds is None:
        return "not known"
    if seconds < 90:
        return f"about {seconds:.0f} s"
    if seconds < 5400:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.1f} h"


def size(count: int | None) -> str:
    """In words."""
    if count is None:
        return "not known (a base model is not on this machine yet)"
    return f"{count / GIB:.2f} GiB" if count >= GIB // 10 else f"{count / (1 << 20):.0f} MiB"
