"""`llamafactory-dba evaluate`: a model and its base model measured on the same tasks, and their results.json written.

What is known of the training comes from its output folder (`training.record`); what the user says goes before it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import DBAError
from ..files import make_writable, write_file
from ..training.record import read_record
from .base_model import HOW, differently, find_base
from .cache import check_folder
from .measure import Measurement, ModelSpec, Say, check_spec, measure, prompting_of
from .model_hash import ModelFiles, find_files
from .questions import Place
from .results import FILE, Results, Run, read_results
from .run_results import (
    BASE,
    About,
    Merged,
    base_folder,
    how_measured,
    merge,
    results_of,
    run_of,
    write_merged,
)
from .selection import choose, load_all
from .summary import Summary, summarise


@dataclass(frozen=True)
class Outcome:
    """What a run of the command made.

    Attributes:
        results: of the model.
        base: of its base model; None where it was not measured.
        summary: of the two.
        path: of results.json.
        base_path: of the base model's.
        measurement: of the model, with all answers.
        notes: what a reader of the scores must know.
    """

    results: Results
    base: Results | None
    summary: Summary
    path: Path
    base_path: Path | None
    measurement: Measurement
    notes: tuple[str, ...]


def evaluate(
    names: Sequence[str],
    spec: ModelSpec,
    *,
    place: Place | None = None,
    out: Path | None = None,
    base: str | None = None,
    cache: Path | None = None,
    limit: int | None = None,
    about: About | None = None,
    say: Say = lambda line: None,
) -> Outcome:
    """Measure a model on suites and tasks, and its base model too where it is known.

    Args:
        names: of suites, tasks or YAML files.
        spec: the model.
        place: where data is looked for.
        out: folder for results.json; None: the model's own, or the adapter's.
        base: folder or hub id of the base model, or a results.json of it; ``none``: without; None: what the run's
            record names, and for an adapter the model under it.
        cache: folder in which answers are kept, so that a killed run goes on; None: nothing is kept.
        limit: only so many questions of each task; such scores have a task version of their own.
        about: what the user says of the run.
        say: called with lines about progress.

    Returns:
        Everything; results.json of both models are written.

    Raises:
        DBAError: anything that the user can mend; all that can be found out before the model loads is found before.
    """
    check_spec(spec)
    chosen = choose(names)
    if cache is not None:
        check_folder(cache)
    files = find_files(spec.model, spec.adapter)
    out = _out_folder(out, spec, files)
    make_writable(out, FILE)
    record = read_record(files.run_folder)
    before = find_base(base, spec, files, record)
    if before.results is not None:
        read_results(before.results)
    prompting_of(spec, files)  # its errors belong before the data's, which may have to be fetched
    if before.spec is not None and before.files is not None:
        prompting_of(before.spec, before.files)
    loaded = load_all(chosen, place or Place(), limit)
    notes = list(loaded.notes) + ([before.note] if before.note else [])

    say(f"{files.name}{f' with {spec.adapter}' if spec.adapter else ''}:")
    found = measure(spec, loaded.asked, folder=cache, limit=limit, files=files, say=say)
    run = run_of(found, files, record, before, about or About())
    notes += [f"{done.asked.task.name}: {note}" for done in found.done for note in done.notes]

    theirs: Merged | None = None
    base_results, base_path = None, None
    if before.results is not None:
        base_results, base_path = read_results(before.results), before.results
        notes += differently(base_results, how_measured(found))
    elif before.spec is not None:
        say(f"{before.spec.model} (the base model):")
        measured = measure(before.spec, loaded.asked, folder=cache, limit=limit, files=before.files, say=say)
        base_run = Run(
            name=f"base ({Path(before.spec.model).name})",
            method=BASE,
            domain=run.domain,
            base_model=before.spec.model,
            base_fingerprint=before.fingerprint,
            settings={HOW: how_measured(measured)},
        )
        base_path = base_folder(out, measured) / FILE
        theirs = merge(results_of(measured, base_run, None), base_path.parent)
        base_results = theirs.results
    ours = results_of(found, run, record)
    if base_path is not None:
        place_of_base = base_path.parent if base_path.name == FILE else base_path
        ours = replace(ours, base=Path(os.path.relpath(place_of_base, out)).as_posix())
    together = merge(ours, out)
    summary = summarise(together.results, base_results)  # refuses what cannot be compared, before anything is written
    notes += [*(theirs.notes if theirs else []), *together.notes, *_not_measured(summary, base_results)]
    if theirs is not None and base_path is not None:
        write_merged(theirs, base_path.parent)
    path = write_merged(together, out)
    return Outcome(together.results, base_results, summary, path, base_path, found, tuple(notes))


def save_answers(found: Measurement, folder: Path) -> list[Path]:
    """Write every question with the model's answer, one JSON line each, one file per task; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for done in found.done:
        path = folder / f"{done.asked.task.name}.jsonl"
        scores = done.measured[0].per_sample or (None,) * len(done.answers)
        lines = []
        for place, (question, answer) in enumerate(zip(done.asked.questions.questions, done.answers, strict=True)):
            row: dict[str, Any] = {"prompt": question.prompt, "reference": question.reference, **answer}
            if question.group:
                row["group"] = question.group
            if len(scores) == len(done.answers) and scores[place] is not None:
                row["score"] = scores[place]
            lines.append(json.dumps(row, ensure_ascii=False))
        write_file(path, "\n".join(lines) + "\n")
        paths.append(path)
    return paths


def _not_measured(summary: Summary, base: Results | None) -> list[str]:
    missing = [change.score.task for change in summary.tasks if change.base is None]
    return [f"not measured on the base model: {', '.join(missing)}"] if base is not None and missing else []


def _out_folder(out: Path | None, spec: ModelSpec, files: ModelFiles) -> Path:
    if out is not None:
        return out
    given = Path(spec.adapter or spec.model).expanduser()
    if given.is_dir():
        return given
    raise DBAError(
        "It is not known where the results go.", expected="--out FOLDER, for a model of the hub", found=files.name
    )
