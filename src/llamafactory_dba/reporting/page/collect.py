"""Find the results files below some folders, pair every run with its base model, and group them by domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ...errors import DBAError
from ...evaluation.results import FILE, LOSS, Results, is_results, parse_results, read_raw, read_results
from ...evaluation.summary import TaskKey, check_versions, key_of, summarise
from .curves import read_curves
from .entries import BASE, Entry, Group, Report, make_series
from .layers import LAYER_LOG, read_layers
from .sweep import Sweep, read_sweep, sweep_files


POINTS, FEWEST_POINTS, ALL_POINTS = 400, 25, 10_000  # per curve, and over all runs: what keeps a page small
MAPS = 4  # runs of a domain with a heat map


def collect(folders: Sequence[Path]) -> Report:
    """Read all results files below ``folders``, and the logs and frontiers beside them.

    Raises:
        DBAError: a folder is missing, there is no results file, one is damaged, or task versions are mixed.
    """
    found, notes = _find(folders)
    sweeps, inner = _sweeps(folders, found, notes)
    outer = {path: item for path, item in found.items() if path not in inner}
    bases = {path: _base_path(path, item, found, notes) for path, item in outer.items()}
    for path in dict.fromkeys(place for place in bases.values() if place is not None):
        if path not in found:  # outside the folders, but named by a run within them
            found[path] = outer[path] = read_results(path)
    check_versions({str(path): item for path, item in found.items()})
    points = max(FEWEST_POINTS, min(POINTS, ALL_POINTS // len(found)))
    used = set(bases.values())
    runs = {path: item for path, item in outer.items() if path not in used and item.run.method != BASE}
    alone = [path for path in outer if path not in used and path not in runs]
    domains = {item.run.domain for item in runs.values()} | {found[path].run.domain for path in alone}
    groups = []
    for domain in sorted(domains | {sweep.domain for sweep in sweeps}):
        mine = [path for path, item in runs.items() if item.run.domain == domain]
        before = [place for path in mine if (place := bases[path]) is not None]
        before += [path for path in alone if found[path].run.domain == domain]
        keys = {key_of(task) for path in mine for task in runs[path].tasks}
        base_entries: list[Entry] = []
        for path in dict.fromkeys(before):
            shown = _only(found[path], keys) if mine else found[path]
            if shown is not None and not any(_same(shown, entry.results) for entry in base_entries):
                base_entries.append(Entry(path, shown, summarise(shown)))
        entries = []
        for path in mine:
            place = bases[path]
            summary = summarise(runs[path], None if place is None else found[place])
            entries.append(Entry(path, runs[path], summary, read_curves(path.parent, points)))
        _note_logs(entries, notes)
        entries = _with_layers(entries, notes)
        here = tuple(sweep for sweep in sweeps if sweep.domain == domain)
        scored = {frozenset(key_of(t) for t in e.results.tasks if t.role != LOSS) for e in entries}
        notes += [
            f"{sweep.path}: the tasks of this frontier differ from those of the runs, so their S do not compare."
            for sweep in here
            if entries and sweep.tasks and scored != {sweep.tasks}
        ]
        groups.append(Group(domain, tuple(base_entries), tuple(entries), make_series(entries), here))
        if len({frozenset(key_of(t) for t in e.results.tasks if t.role == "general") for e in entries}) > 1:
            notes.append(f"{domain or 'runs'}: the general tasks differ between runs, so their S_G do not compare.")
    return Report(tuple(groups), tuple(notes))


def _sweeps(folders: Sequence[Path], found: Mapping[Path, Results], notes: list[str]) -> tuple[list[Sweep], set[Path]]:
    """Frontiers with their domains, and the results files that are points of one and no runs of their own."""
    sweeps: list[Sweep] = []
    inner: set[Path] = set()
    for path in dict.fromkeys(file.resolve() for folder in folders for file in sweep_files(folder)):
        sweep, files = read_sweep(path, notes)
        inner |= {file for file in files if file in found}
        if sweep is not None:
            domains = sorted({found[file].run.domain for file in files if file in found})
            if not domains:
                notes.append(f"{path}: the results of its points are not there, so its domain is not known.")
            tasks = frozenset(
                key_of(t) for file in files if file in found for t in found[file].tasks if t.role != LOSS
            )
            run = found.get((sweep.tuned / FILE).resolve()) if sweep.tuned is not None else None
            label = run.run.name if run is not None else sweep.label
            sweeps.append(replace(sweep, label=label, domain=domains[-1] if domains else "", tasks=tasks))
    # a base model that others name stays one, wherever it lies
    named = {(path.parent / item.base).resolve() for path, item in found.items() if item.base and path not in inner}
    return sweeps, {file for file in inner if file not in named and file.parent not in named}


def _note_logs(entries: Sequence[Entry], notes: list[str]) -> None:
    for entry in entries:
        curves = entry.curves
        if curves.diverged is not None:
            notes.append(
                f"{entry.label}: loss or gradient norm is no number (NaN or infinite) from step "
                f"{curves.diverged:g} to the end. The run diverged; its curves stop there."
            )
        notes += [f"{entry.label}: {n} damaged lines of {file} were left out." for file, n in curves.damaged.items()]


def _with_layers(entries: Sequence[Entry], notes: list[str]) -> list[Entry]:
    """The first run of each of the first series gets its heat map: so much is read, and a page stays small."""
    shown: list[Entry] = []
    more = 0
    for series in make_series(entries):
        logged = next((e for e in series.entries if (e.path.parent / LAYER_LOG).is_file()), None)
        if logged is None:
            continue
        more += sum((e.path.parent / LAYER_LOG).is_file() for e in series.entries) - 1
        if len(shown) == MAPS:
            more += 1
            continue
        damaged: dict[str, int] = {}
        found = read_layers(logged.path.parent, damaged)
        notes += [f"{logged.label}: {n} damaged lines of {file} were left out." for file, n in damaged.items()]
        if found is not None:
            shown.append(replace(logged, layers=found))
    if more:
        notes.append(
            f"Heat maps are drawn for one run of a series and at most {MAPS} a domain; {more} more were logged."
        )
    by_path = {entry.path: entry for entry in shown}
    return [by_path.get(entry.path, entry) for entry in entries]


def _find(folders: Sequence[Path]) -> tuple[dict[Path, Results], list[str]]:
    found: dict[Path, Results] = {}
    notes = []
    for folder in folders:
        if not folder.exists():
            raise DBAError("The folder is not there.", expected="a folder with results", found=folder)
        for path in sorted(folder.rglob(FILE)) if folder.is_dir() else [folder]:
            if path.resolve() in found:
                continue
            raw = read_raw(path)
            if is_results(raw):
                found[path.resolve()] = parse_results(raw, path)
            else:
                notes.append(f"{path} is of another format and was left out.")
    if not found:
        raise DBAError(
            "There is nothing to report.",
            expected=f"{FILE} files of `llamafactory-dba evaluate` or `make demo`",
            found=f"none below {', '.join(map(str, folders))}",
        )
    return found, notes


def _base_path(path: Path, results: Results, found: Mapping[Path, Results], notes: list[str]) -> Path | None:
    if results.run.method == BASE:
        return None
    label = f"{results.run.name} ({path.parent.name})"
    if results.base is None:
        notes.append(f"{label}: the base model was not measured, so there is no difference from it.")
        return None
    place = (path.parent / results.base).resolve()
    place = place / FILE if place.is_dir() else place
    if place.is_file():
        return place
    named = [where for where, item in found.items() if item.run.name == results.base]
    if len(named) == 1:
        return named[0]
    notes.append(f"{label}: the base results {results.base!r} were not found, so there is no difference from them.")
    return None


def _same(first: Results, second: Results) -> bool:
    """Whether one base model was measured twice with the same scores, as beside each of its runs."""
    prints = {first.run.base_fingerprint, second.run.base_fingerprint}
    if len(prints) > 1 or not all(prints):
        return False
    scores = [{(key_of(t), t.task_version, t.n): t.value for t in each.tasks} for each in (first, second)]
    return scores[0] == scores[1]


def _only(results: Results, keys: set[TaskKey]) -> Results | None:
    """The base model's scores on the tasks of these runs; it may have been measured on every domain."""
    tasks = tuple(task for task in results.tasks if key_of(task) in keys)
    if not tasks:
        return None
    return Results(**{name: getattr(results, name) for name in results.__dataclass_fields__} | {"tasks": tasks})
