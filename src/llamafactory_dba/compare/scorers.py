"""A model folder → its results.json, by one of three evaluators. Nothing here imports torch at the top."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import DBAError
from .suite import nearest


LIGHT_DOMAINS = ("finance", "medicine", "law", "news")
LIGHT = tuple(f"micro_{name}" for name in ("general", *LIGHT_DOMAINS))


@dataclass(frozen=True)
class Ask:
    """How a model is measured, as the runner says it.

    Attributes:
        names: of suites.
        mode: ``full``, ``light`` or ``MODULE:FUNCTION``.
        options: of `suite.EVALUATION`.
        template: LLaMA-Factory's name.
        base: model that the run started from.
    """

    names: tuple[str, ...]
    mode: str
    options: Mapping[str, Any]
    template: str
    base: str


def check_light(name: str) -> None:
    """Raise a DBAError unless the light evaluator knows a suite."""
    if name not in LIGHT:
        raise DBAError(f"`evaluate: light` measures the micro world only, not `{name}`{nearest(name, LIGHT)}")


def check_custom(mode: str) -> None:
    """Raise a DBAError unless the module of ``MODULE:FUNCTION`` can be found from the working folder."""
    module, _, function = mode.partition(":")
    sys.path.insert(0, "")
    try:
        found = find_spec(module)
    except (ImportError, ValueError):
        found = None
    finally:
        sys.path.remove("")
    if found is None or not function.isidentifier():
        raise DBAError(
            "The evaluator cannot be found.",
            expected="`evaluate: MODULE:FUNCTION`, importable from the folder where compare is started",
            found=mode,
        )


def score_model(ask: Ask, model: str, out: Path, run: Any, base_results: Path | None) -> Any:
    """Results of one model, written into ``out``."""
    if ask.mode == "light":
        return _light(ask, model, out, run, base_results)
    if ":" in ask.mode:
        return _custom(ask, model, out, run, base_results)
    from ..evaluation.cache import default_folder
    from ..evaluation.measure import ModelSpec
    from ..evaluation.questions import Place
    from ..evaluation.results import write_results
    from ..evaluation.run import evaluate
    from ..evaluation.run_results import About

    options = ask.options
    hub = options.get("hub", "none")
    out.mkdir(parents=True, exist_ok=True)
    outcome = evaluate(
        ask.names,
        ModelSpec(
            model,
            template=ask.template or "auto",
            dtype=str(options.get("dtype", "auto")),
            device=options.get("device"),
            batch_size=str(options.get("batch_size", "auto")),
        ),
        place=Place(Path(options.get("data", "data")), None if hub == "none" else hub),
        out=out,
        base="none" if base_results is None else str(base_results / "results.json"),
        cache=Path(options["cache"]) if "cache" in options else default_folder(),
        limit=options.get("limit"),
        about=About(run.name, run.method, run.domain, run.seed),
        say=lambda line: print(line, flush=True),
    )
    found = outcome.results
    settings = {**found.run.settings, **run.settings}
    found = replace(
        found,
        run=replace(run, settings=settings, base_fingerprint=run.base_fingerprint or found.run.base_fingerprint),
        **_training(out),
    )
    write_results(found, out)
    return found


def _light(ask: Ask, model: str, out: Path, run: Any, base_results: Path | None) -> Any:
    from ..evaluation.micro import evaluate
    from ..evaluation.micro_results import micro_results, training_cost
    from ..evaluation.results import write_results

    domains = [name.removeprefix("micro_") for name in ask.names if name != "micro_general"]
    data = Path(ask.options.get("data", "data")) / "micro"
    scores = evaluate(model, data, domains, ask.options.get("limit"), ask.options.get("device")).to_json()
    relative = None if base_results is None else Path(os.path.relpath(base_results, out)).as_posix()
    results = micro_results(scores, run, base=relative, cost=training_cost(out), **_training(out))
    write_results(results, out)
    return results


def _custom(ask: Ask, model: str, out: Path, run: Any, base_results: Path | None) -> Any:
    """Scores by a function of the user's own: folder of a model → tuple of `TaskResult`."""
    from ..evaluation.micro_results import training_cost
    from ..evaluation.results import Results, write_results

    module, _, function = ask.mode.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    tasks = tuple(getattr(import_module(module), function)(Path(model)))
    relative = None if base_results is None else Path(os.path.relpath(base_results, out)).as_posix()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    results = Results(run, tasks, base=relative, cost=training_cost(out), created=now, **_training(out))
    write_results(results, out)
    return results


def _training(out: Path) -> dict[str, Any]:
    """Machine, versions and data of the training, where it left a record."""
    from ..training.record import read_record

    record = read_record(out)
    if record is None:
        return {}
    return {"machine": record.machine, "versions": record.versions, "data": record.data}
