"""Runs below some folders, as the board's Results panel lists them: what they scored, what they cost, what is broken.

Plain files, no gradio, no torch. A run is a folder with results.json, run_record.json, or the log of a training.
Nothing here raises for what a file holds: a half written or damaged file makes a row that says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from llamafactory_dba.errors import DBAError
from llamafactory_dba.evaluation import frontier, results
from llamafactory_dba.evaluation.results import Cost, Results
from llamafactory_dba.evaluation.summary import Summary, summarise
from llamafactory_dba.reporting.page.curves import HOST_LOG, STEP_LOG
from llamafactory_dba.reporting.page.entries import BASE, Entry
from llamafactory_dba.reporting.page.sweep import read_sweep
from llamafactory_dba.training import record

from .run_logs import read_args, seconds_of


MEASURED, TRAINED, UNFINISHED, BROKEN = "measured", "trained", "unfinished", "broken"
FINISHED = "train_results.json"  # what the host writes when a training has come to its end
ANCHOR = "anchor_config.json"
MARKS = (results.FILE, record.FILE, HOST_LOG, STEP_LOG)
SKIPPED = frozenset({"node_modules", "site-packages", "__pycache__"})
FOLDERS = 20_000  # how many are looked into: the current directory may be someone's home


@dataclass(frozen=True)
class Run:
    """One run folder.

    Attributes:
        folder: resolved.
        name: what it calls itself, or the folder's name.
        state: ``measured`` (there are scores), ``trained``, ``unfinished`` (running, stopped or killed) or ``broken``.
        method: ``dba``, ``full``, … ; ``base`` for the base model itself; "" where nothing says it.
        domain: "" where it is not known.
        results: None where nothing was measured.
        summary: S_D, S_G, S and the differences from the base model; None as `results`.
        cost: None in it is "not measured".
        settings: the arguments that shape the result.
        seed: of the training.
        base_results: the file with the base model's scores; None without.
        problem: why the run is broken, or why it is not compared with its base model; "" where all is well.
        changed: of the youngest of its files, seconds since 1970.
    """

    folder: Path
    name: str
    state: str
    method: str = ""
    domain: str = ""
    base_model: str = ""
    results: Results | None = None
    summary: Summary | None = None
    cost: Cost = field(default_factory=Cost)
    settings: Mapping[str, Any] | None = None
    seed: int | None = None
    base_results: Path | None = None
    problem: str = ""
    changed: float = 0.0

    @property
    def is_base(self) -> bool:
        """Whether it is the base model that others are compared with."""
        return self.method == BASE

    def entry(self) -> Entry:
        """As the report's figures take it.

        Raises:
            ValueError: it has no scores.
        """
        if self.results is None or self.summary is None:
            raise ValueError(f"{self.folder} has no scores")
        return Entry(self.folder / results.FILE, self.results, self.summary)


@dataclass(frozen=True)
class Listing:
    """What was found; ``cut_short``: there were more folders than are looked into."""

    runs: tuple[Run, ...] = ()
    frontiers: tuple[Path, ...] = ()
    cut_short: bool = False

    def find(self, folder: str) -> Run | None:
        """The run of a folder, by the text that `Path` makes of it."""
        return next((run for run in self.runs if str(run.folder) == folder), None)

    @property
    def domains(self) -> tuple[str, ...]:
        """Of the runs with scores, sorted."""
        return tuple(sorted({run.domain for run in self.runs if run.results is not None and run.domain}))


def find_runs(roots: Iterable[Path], *, limit: int = FOLDERS) -> Listing:
    """All runs below some folders, each once; hidden folders, checkpoints and installed packages are not entered.

    Args:
        roots: folders; one that is not there has no runs.
        limit: so many folders are looked into.
    """
    marked: dict[Path, set[str]] = {}
    cut_short = False
    for count, (folder, names) in enumerate(_walk(roots)):
        if count >= limit:
            cut_short = True
            break
        if found := names & {*MARKS, frontier.FILE}:
            marked.setdefault(folder, found | ({FINISHED, ANCHOR} & names))
    frontiers = tuple(sorted(folder / frontier.FILE for folder, names in marked.items() if frontier.FILE in names))
    runs = [
        run
        for folder, names in sorted(marked.items())
        if ANCHOR not in names and (run := _run(folder, names)) is not None
    ]
    scored = {run.folder: run.results for run in runs if run.results is not None}
    compared = [_with_base(run, scored) for run in runs]
    # the points of a frontier are no runs, but for a base model that others name
    inner = {file for path in frontiers for file in read_sweep(path, [])[1]}
    inner -= {run.base_results for run in compared if run.base_results and run.folder / results.FILE not in inner}
    return Listing(tuple(run for run in compared if run.folder / results.FILE not in inner), frontiers, cut_short)


def _walk(roots: Iterable[Path]) -> Iterator[tuple[Path, set[str]]]:
    """Folders with the names of their files; links to folders are not followed, so there is no way out or round."""
    seen: set[Path] = set()
    for root in roots:
        for here, folders, files in os.walk(root.resolve()):
            path = Path(here)
            folders[:] = sorted(
                name
                for name in folders
                if name[0] != "." and name not in SKIPPED and not name.startswith("checkpoint-")
            )
            if path in seen:
                folders.clear()
                continue
            seen.add(path)
            yield path, set(files)


def _run(folder: Path, names: set[str]) -> Run | None:
    """None where results.json is of another format and nothing else says that this is a run."""
    changed = max((_time(folder / name) for name in names), default=0.0)
    run = Run(folder, folder.name, UNFINISHED, changed=changed)
    problems = []
    if record.FILE in names:
        try:
            run = _with_record(run, record.read_record(folder))
        except DBAError as error:
            problems.append(_short(error))
    elif names & {HOST_LOG, STEP_LOG}:
        run = _from_logs(run, finished=FINISHED in names)
    if results.FILE in names:
        try:
            raw = results.read_raw(folder / results.FILE)
            if results.is_results(raw):
                run = _with_results(run, results.parse_results(raw, folder / results.FILE))
            elif not names & {record.FILE, HOST_LOG, STEP_LOG}:
                return None
        except DBAError as error:
            problems.append(_short(error))
    elif not names & set(MARKS):
        return None  # a frontier only
    return replace(run, state=BROKEN, problem=problems[0]) if problems else run


def _with_record(run: Run, found: record.RunRecord | None) -> Run:
    if found is None:
        return run
    return replace(
        run,
        state=TRAINED if found.finished else UNFINISHED,
        method=found.method,
        base_model=found.base_model,
        cost=Cost(**found.cost),
        settings=found.settings,
        seed=found.seed,
    )


def _from_logs(run: Run, *, finished: bool) -> Run:
    settings = read_args(run.folder)
    method = "dba" if settings.get("use_dba") else str(settings.get("finetuning_type", ""))
    return replace(
        run,
        state=TRAINED if finished else UNFINISHED,
        method=method,
        base_model=str(settings.get("model_name_or_path", "")),
        cost=Cost(wall_seconds=seconds_of(run.folder / HOST_LOG)),
        settings=settings,
        seed=settings["seed"] if isinstance(settings.get("seed"), int) else None,
    )


def _with_results(run: Run, found: Results) -> Run:
    unknown = {name: getattr(run.cost, name) for name in record.COST_KEYS if getattr(found.cost, name) is None}
    return replace(
        run,
        name=found.run.name or run.name,
        state=MEASURED,
        method=found.run.method,
        domain=found.run.domain,
        base_model=found.run.base_model or run.base_model,
        results=found,
        summary=summarise(found),
        cost=replace(found.cost, **unknown),
        settings=found.run.settings or run.settings,
        seed=found.run.seed if found.run.seed is not None else run.seed,
    )


def _with_base(run: Run, scored: Mapping[Path, Results]) -> Run:
    """With the differences from the base model, where it was measured and does compare."""
    if run.results is None or run.is_base or run.results.base is None:
        return run
    place = (run.folder / run.results.base).resolve()
    place = place.parent if place.name == results.FILE else place
    named = [folder for folder, item in scored.items() if item.run.name == run.results.base]
    try:
        if place not in scored and (place / results.FILE).is_file():
            before = results.read_results(place)  # outside of the folders that were looked into, as reports have it
        else:
            place = place if place in scored else named[0] if len(named) == 1 else place
            if place not in scored:
                return replace(run, problem=f"base: {run.results.base}?")
            before = scored[place]
        return replace(run, summary=summarise(run.results, before), base_results=place / results.FILE)
    except DBAError as error:
        return replace(run, problem=_short(error))


def _short(error: DBAError) -> str:
    """On one line, without the next step, which is for one who has written the file."""
    found = "" if error.found is None else f" ({error.found})"
    return f"{error.what}{found}".replace("\n", " ")


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def in_order(runs: Sequence[Run], order: str) -> list[Run]:
    """Sorted by ``score`` (domain by domain, the base models, then the best S), ``newest``, ``cheapest`` or ``name``.

    What lacks the number comes after all that have it.
    """

    def key(run: Run) -> tuple[Any, ...]:
        if order == "newest":
            return (-run.changed, str(run.folder))
        if order == "cheapest":
            cost = run.cost.wall_seconds
            return (cost is None, cost or 0.0, str(run.folder))
        if order == "name":
            return (run.name, str(run.folder))
        s = run.summary.s if run.summary is not None else None
        return (run.results is None, run.domain, not run.is_base, s is None, -(s or 0.0), str(run.folder))

    return sorted(runs, key=key)
