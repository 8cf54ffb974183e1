"""A process that takes one job after another: ``python -m llamafactory_dba.compare.worker OUT PARENT``.

A job is a JSON line on standard input, its answer a JSON line on standard output; what the job itself prints goes to
the log that it names. One interpreter for many runs: importing the host takes longer than a run of the micro world.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .guard import end_with_parent


Job = Mapping[str, Any]


def main() -> None:
    """Serve until standard input ends."""
    end_with_parent(Path(sys.argv[1]), int(sys.argv[2]))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    for line in sys.stdin:
        job = json.loads(line)
        answer = _do(job)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _do(job: Job) -> dict[str, Any]:
    with open(job["log"], "a", encoding="utf-8") as log:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            return {"ok": True, "value": JOBS[job["kind"]](job)}
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit of the host too: the worker goes on with the next job
            traceback.print_exc()
            return {"ok": False, "error": f"{type(error).__name__}: {error}"}
        finally:
            sys.stdout.flush()
            sys.stderr.flush()


def _train(job: Job) -> dict[str, Any]:
    """What `llamafactory-cli train FILE.yaml` does, here."""
    import yaml
    from accelerate.state import AcceleratorState, PartialState
    from llamafactory.train.tuner import run_exp

    # left over from the run before; a fresh process has none of it
    AcceleratorState._reset_state()
    PartialState._reset_state()
    try:
        run_exp(yaml.safe_load(Path(job["yaml"]).read_text(encoding="utf-8")))
    finally:
        _tidy()
    return {}


def _tidy() -> None:
    """Memory, and tokenised rows in the worker's own cache, which the next run makes anew."""
    gc.collect()
    if torch := sys.modules.get("torch"):
        torch.cuda.empty_cache()
    own = os.environ.get("DBA_COMPARE_CACHE")
    if own:
        shutil.rmtree(own, ignore_errors=True)


def _measure(job: Job) -> dict[str, Any]:
    from .measure import measure_base, measure_points, measure_run
    from .scorers import Ask

    _quiet()
    ask = Ask(**{**job["ask"], "names": tuple(job["ask"]["names"])})
    out = Path(job["out"])
    if job["kind"] == "base":
        return measure_base(ask, out, job["about"]["name"], job["about"]["domain"])
    base = Path(job["base_results"])
    found = measure_run(ask, out, base, job["about"])
    points = {}
    for item in job["frontiers"] if "diverged" not in found else ():
        points[item["folder"]] = measure_points(ask, out, base, Path(item["folder"]), item["alphas"], item["about"])
    _tidy()
    return {**found, "points": points}


def _quiet() -> None:
    for name, value in (("TRANSFORMERS_VERBOSITY", "error"), ("HF_HUB_DISABLE_PROGRESS_BARS", "1")):
        os.environ.setdefault(name, value)


def _check(job: Job) -> dict[str, Any]:
    from .host_check import check_configs

    return {"problems": check_configs(job["configs"])}


JOBS: dict[str, Callable[[Job], dict[str, Any]]] = {
    "train": _train,
    "base": _measure,
    "measure": _measure,
    "check": _check,
}

if __name__ == "__main__":
    main()
