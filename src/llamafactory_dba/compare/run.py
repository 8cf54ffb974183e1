"""`llamafactory-dba compare`: a suite from its file to compare.json, table.md and report.html."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import DBAError
from ..files import make_writable, write_file
from .guard import only_runner
from .inventory import Inventory, check_disk, estimate, plan_lines, take_stock
from .output import JSON, REPORT, TABLE, summarise, write_outputs, write_tables
from .plan import Plan, make_plan
from .pool import WORKER, make_slots
from .runner import Runner
from .state import remove_folders, write_status
from .suite import read_suite
from .taken import find_taken
from .wording import Failure, failure_lines


Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What a call made.

    Attributes:
        failures: steps that failed; they are done again by the next call.
        stopped: why nothing more was begun, such as a full disk; "" where all was.
        diverged: how many of the plan's runs diverged.
        missing: how many of the plan's runs are not there yet.
    """

    failures: tuple[Failure, ...] = ()
    stopped: str = ""
    diverged: int = 0
    missing: int = 0


def compare(
    path: Path,
    out: Path | None = None,
    *,
    dry_run: bool = False,
    only: Sequence[str] = (),
    jobs: int | None = None,
    gpus: Sequence[str] | None = None,
    remove_stale: bool = False,
    take: Sequence[Path] = (),
    say: Say = print,
    worker: Sequence[str] = WORKER,
) -> Outcome:
    """Do what is left of a suite, and write tables and page from all that is done.

    Args:
        path: the suite file.
        out: folder of the runs; None: ``runs/compare/NAME``.
        dry_run: say what would be done; nothing is written.
        only: do only runs whose name has one of these in it.
        jobs: runs at the same time; None: one for each group of GPUs, or one.
        gpus: numbers of GPUs, each used by one run at a time.
        remove_stale: delete folders in ``out`` that the suite does not ask for.
        take: compare.json files whose finished runs of this suite are not made again.
        say: called with lines about progress.
        worker: command of the worker processes, for tests.

    Raises:
        DBAError: anything that the user can mend, before anything runs.
    """
    suite = read_suite(path)
    out = out or Path("runs") / "compare" / suite.name
    from ..evaluation.cache import default_folder

    plan = make_plan(suite, memory=None if dry_run else default_folder())
    slots = make_slots(
        out, share=suite.share_process, jobs=jobs, gpus=gpus, gpus_per_run=suite.gpus_per_run, worker=worker
    )
    if dry_run:
        taken, lines = find_taken(plan, out, take)
        inventory = take_stock(plan, out, only, taken)
        for line in [*lines, *_plan(inventory, out, len(slots))]:
            say(line)
        return _outcome(inventory)
    make_writable(out, JSON)
    with only_runner(out):
        taken, lines = find_taken(plan, out, take)
        for folder, status in taken.items():
            (out / folder).mkdir(parents=True, exist_ok=True)
            write_status(out / folder, status)
        for line in lines:
            say(line)
        inventory = take_stock(plan, out, only)
        if remove_stale and inventory.stale:
            remove_folders(list(inventory.stale), out)
            say(f"removed {len(inventory.stale)} stale folders")
            inventory = take_stock(plan, out, only)
        for line in _plan(inventory, out, len(slots), names=False):
            say(line)
        check_disk(estimate(inventory, out, len(slots)), out)
        text, copy = path.read_text(encoding="utf-8"), out / "suite.yaml"
        # another title or reference makes no run anew, but another table
        changed = bool(taken) or not copy.is_file() or copy.read_text(encoding="utf-8") != text
        write_file(copy, text)
        runner = Runner(inventory, out, slots, say, lambda statuses: write_tables(summarise(plan, statuses, ()), out))
        notes: list[str] = []
        try:
            if inventory.todo:
                runner.run()
        except DBAError:  # refused before anything began: there is nothing new to write
            raise
        except BaseException:
            write_outputs(summarise(plan, runner.statuses, runner.failures), plan, out)
            raise
        if inventory.todo or changed or not (out / JSON).is_file():
            notes = write_outputs(summarise(plan, runner.statuses, runner.failures), plan, out)
        for line in [*(f"Note: {note}" for note in notes), *failure_lines(runner.failures)]:
            say(line)
        after = take_stock(plan, out, only)
        files = [str(out / name) for name in (TABLE, JSON, REPORT) if (out / name).is_file()]
        say(f"{after.done} of {after.chosen} runs done; {', '.join(files)}")
        result = _outcome(after)
        return Outcome(tuple(runner.failures), runner.stopped, result.diverged, result.missing)


def _plan(inventory: Inventory, out: Path, jobs: int, names: bool = True) -> list[str]:
    lines = plan_lines(inventory, out, estimate(inventory, out, jobs), jobs)
    if names:
        lines += [f"  {getattr(step, 'name', step.folder)}" for step in inventory.todo]
    return lines


def _outcome(inventory: Inventory) -> Outcome:
    plan: Plan = inventory.plan
    states = [inventory.statuses[run.folder].state for run in plan.runs if run.folder in inventory.statuses]
    ended = sum(state in ("done", "diverged") for state in states)
    return Outcome(diverged=states.count("diverged"), missing=len(plan.runs) - ended)
