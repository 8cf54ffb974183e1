"""Every point between a base model and a fine-tuned one, scored: the free alternative to any method (WiSE-FT).

Writes ``frontier.json`` and one results.json per point. A point that is there already, of the same two models and the
same request, is not made again, so that a killed sweep goes on where it was.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import DBAError
from ..files import make_writable, write_file
from .interpolate import check_alpha, check_same, interpolate, tensors_of
from .results import FILE as RESULTS_FILE
from .results import Results, Run, read_results, write_results
from .summary import check_versions, summarise


FILE = "frontier.json"
FORMAT, FORMAT_VERSION = "llamafactory-dba/frontier", 1
METHOD = "wise-ft"
POINTS = tuple(step / 10 for step in range(11))
Scorer = Callable[[Path, float], Results]


@dataclass(frozen=True)
class Point:
    """One model between the two. Scores in %, None where a kind of task was not measured."""

    alpha: float
    results: str
    s_d: float | None
    s_g: float | None
    s: float | None


@dataclass(frozen=True)
class Frontier:
    """All points, by rising alpha; ``request`` is what they were made from and scored on."""

    base: str
    tuned: str
    points: tuple[Point, ...]
    request: Mapping[str, Any]

    @property
    def best(self) -> Point | None:
        """The point of the highest S, the lower alpha of two; chosen on these very tasks, so an upper bound."""
        scored = [point for point in self.points if point.s is not None]
        return max(scored, key=lambda point: point.s or 0.0, default=None)


def sweep(
    base: Path,
    tuned: Path,
    out: Path,
    score: Scorer,
    *,
    alphas: Iterable[float] = POINTS,
    request: Mapping[str, Any] | None = None,
    keep_models: bool = False,
    on_point: Callable[[Point], None] = lambda point: None,
) -> Frontier:
    """Score the models at every alpha.

    Args:
        base: folder of the base model.
        tuned: folder of the fine-tuned model with full weights.
        out: folder for everything; made if need be.
        score: evaluates a model folder at an alpha. At 0 and 1 it gets ``base`` and ``tuned`` themselves.
        alphas: 0 to 1.
        request: what decides the scores, as plain data (hashes of the models, tasks, limits): points of another
            request are refused, not mixed in.
        keep_models: keep the weights of every point (each is as large as the model).
        on_point: called after each point, also for those that were there already.

    Raises:
        DBAError: the models do not belong together, an alpha is outside 0 to 1, or ``out`` holds another sweep.
    """
    wanted = sorted(set(alphas))
    for alpha in wanted:
        check_alpha(alpha)
    if not wanted:
        raise DBAError("There is no point to score.", expected="--alphas: one number or more", found="none")
    check_same(tensors_of(base), tensors_of(tuned), base, tuned)
    make_writable(out, FILE)
    request = dict(request or {})
    old = _old(out, request)
    points: list[Point] = []
    found: dict[str, Results] = {}
    for alpha in wanted:
        folder = out / point_name(alpha)
        if alpha in old and (folder / RESULTS_FILE).is_file():
            results = read_results(folder)
        else:
            results = _measure(base, tuned, alpha, folder, score, keep_models)
        found[str(folder)] = results
        check_versions(found)
        summary = summarise(results)
        points.append(Point(alpha, f"{folder.name}/{RESULTS_FILE}", summary.s_d, summary.s_g, summary.s))
        # a point of an earlier sweep with other alphas stays, so that one can be refined
        everything = {**old, **{point.alpha: point for point in points}}
        frontier = Frontier(str(base), str(tuned), tuple(everything[key] for key in sorted(everything)), request)
        write_file(out / FILE, to_json(frontier))
        on_point(points[-1])
    return frontier


def point_name(alpha: float) -> str:
    """Folder of a point: ``alpha_0.50``, with more digits only where they are needed."""
    return f"alpha_{alpha:.2f}" if round(alpha, 2) == alpha else f"alpha_{alpha:g}"


def to_json(frontier: Frontier) -> str:
    """Text of frontier.json."""
    raw = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "base": frontier.base,
        "tuned": frontier.tuned,
        "request": frontier.request,
        "points": [vars(point) for point in frontier.points],
    }
    return json.dumps(raw, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_frontier(path: Path) -> Frontier:
    """Read ``frontier.json``, the file or the folder it is in.

    Raises:
        DBAError: it is missing, damaged, or of another format or version.
    """
    path = path / FILE if path.is_dir() else path
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["format"] != FORMAT or raw["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format {raw['format']} {raw['format_version']}")
        points = tuple(Point(**item) for item in raw["points"])
        return Frontier(raw["base"], raw["tuned"], points, raw["request"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DBAError(
            "This is no frontier file of this version.",
            expected=f"{FORMAT} {FORMAT_VERSION}",
            found=f"{path}: {error}",
            next_step="run `llamafactory-dba frontier` again, into a new folder",
        ) from error


def _measure(base: Path, tuned: Path, alpha: float, folder: Path, score: Scorer, keep: bool) -> Results:
    if alpha in (0.0, 1.0):
        results = score(tuned if alpha else base, alpha)
    else:
        model = folder / "model"
        shutil.rmtree(model, ignore_errors=True)  # of a killed sweep: whole or not, it is made again
        folder.mkdir(exist_ok=True)
        interpolate(base, tuned, alpha, model)
        try:
            results = score(model, alpha)
        finally:
            if not keep:
                shutil.rmtree(model, ignore_errors=True)
    run = results.run
    results = replace(
        results,
        # the base point stands beside all others; it is the model that differences are taken from
        base=None if alpha == 0 else f"../{point_name(0.0)}",
        run=Run(
            name="base" if alpha == 0 else f"WiSE-FT, alpha {alpha:g}",
            method="base" if alpha == 0 else METHOD,
            domain=run.domain,
            base_model=str(base),
            base_fingerprint=run.base_fingerprint,
            seed=run.seed,
            settings={**run.settings, "alpha": alpha},
        ),
    )
    write_results(results, folder)
    return results


def _old(out: Path, request: Mapping[str, Any]) -> dict[float, Point]:
    """Points of an earlier sweep of the same request."""
    if not (out / FILE).is_file():
        return {}
    frontier = read_frontier(out)
    if dict(frontier.request) != json.loads(json.dumps(request)):
        changed = sorted(key for key in {*frontier.request, *request} if frontier.request.get(key) != request.get(key))
        raise DBAError(
            "There is another frontier in this folder.",
            expected="the same models and tasks",
            found=f"{out}: differs in {', '.join(changed)}",
            next_step="choose another --out",
        )
    return {point.alpha: point for point in frontier.points}


def table(frontier: Frontier) -> Sequence[str]:
    """The points as text, a line each."""

    def number(value: float | None) -> str:
        return "     –" if value is None else f"{value:6.1f}"

    lines = ["alpha     S_D    S_G      S"]
    lines += [f"{p.alpha:5.2f}  {number(p.s_d)} {number(p.s_g)} {number(p.s)}" for p in frontier.points]
    return lines
