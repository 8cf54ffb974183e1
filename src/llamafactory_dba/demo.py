"""``make demo``: anchor, direct fine-tuning, annealing alone, DBA and `elastic` on one micro-world domain, on CPU.

Every run is the stock ``llamafactory-cli train`` on a recipe of ``examples/micro``; only the model, the domain, the
seed and the output folder are overridden. Run it from the repository root.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from llamafactory_dba.data.micro.domains import CHANCE, DOMAINS
from llamafactory_dba.errors import DBAError


RECIPES = Path("examples/micro")
METHODS = {
    "direct": "direct fine-tuning",
    "annealing": "annealing alone",
    "dba": "DBA",
    "elastic": "elastic (not of the paper)",
}
ANCHORED = ("dba", "elastic")
"""Methods that read the anchor, which one pass over the general data makes for both."""
EPOCHS = {"finance": 3, "medicine": 12, "law": 8, "news": 8}
"""Epochs of every method on a domain: what direct fine-tuning needs to learn it (3 in the recipes, for finance)."""

SCHEMA = "llamafactory-dba/demo/1"


@dataclass(frozen=True)
class RunCost:
    """What one child process cost, seen from outside: the program from start to exit."""

    seconds: float
    peak_memory_bytes: int


def train(recipe: Path, overrides: Sequence[str], log: Path) -> RunCost:
    """Run ``llamafactory-cli train`` on a recipe and watch its memory.

    Args:
        recipe: The YAML file.
        overrides: ``key=value`` arguments behind it.
        log: File that gets the run's output.

    Returns:
        Wall-clock seconds and the largest resident memory of the process and its children together.
    """
    bin_folder = str(Path(sys.executable).parent)  # the host starts its own children by bare name
    environment = {**os.environ, "PATH": bin_folder + os.pathsep + os.environ.get("PATH", "")}
    environment.setdefault("OMP_NUM_THREADS", "1")  # so small a model is fastest on one thread
    command = [sys.executable, "-m", "llamafactory.cli", "train", str(recipe), *overrides]
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    with log.open("w", encoding="utf-8") as file:
        child = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)
        peak = [0]
        watcher = threading.Thread(target=_watch, args=(child.pid, peak), daemon=True)
        watcher.start()
        code = child.wait()
        watcher.join()

    if code != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        raise DBAError(
            f"the run of {recipe} failed",
            expected="exit status 0",
            found=code,
            next_step="\n".join([str(log), *lines]),
        )

    return RunCost(time.perf_counter() - start, peak[0])


def _watch(pid: int, peak: list[int]) -> None:
    """Keep the largest resident memory of a process tree in ``peak[0]`` until the process ends."""
    try:
        process = psutil.Process(pid)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            total = process.memory_info().rss
            for child in process.children(recursive=True):
                try:
                    total += child.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            peak[0] = max(peak[0], total)
            time.sleep(0.1)
    except psutil.NoSuchProcess:
        return


def evaluate(model: Path, domain: str, output: Path) -> dict[str, Any]:
    """Score a model in a process of its own, so that its memory is not ours; returns the JSON it wrote."""
    command = [sys.executable, "-m", "llamafactory_dba.evaluation.micro", str(model), "--domains", domain]
    environment = {**os.environ, "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run([*command, "--json", str(output)], env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise DBAError(f"evaluation of {model} failed", found=done.returncode, next_step=done.stderr[-2000:])

    scores: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    return scores


def as_record(name: str, scores: dict[str, Any], domain: str, base: dict[str, Any] | None) -> dict[str, Any]:
    """One line of the results: scores of a model and, where there is a base, the differences from it."""
    from llamafactory_dba.evaluation.scores import joint_score

    s_d, s_g = scores["domains"][domain]["accuracy"], scores["s_g"]
    record: dict[str, Any] = {
        "name": name,
        "s_d": s_d,
        "general": {skill: task["accuracy"] for skill, task in scores["general"].items()},
        "s_g": s_g,
        "s": joint_score(s_d, s_g),
        "n_domain": scores["domains"][domain]["total"],
        "n_per_skill": {skill: task["total"] for skill, task in scores["general"].items()},
        "unparsed_domain": scores["domains"][domain]["unparsed"],
        "unparsed_general": sum(task["unparsed"] for task in scores["general"].values()),
    }
    if base is not None:
        record["delta"] = {key: record[key] - base[key] for key in ("s_d", "s_g", "s")}
    return record


def save_results(
    out: Path,
    method: str,
    base: str,
    domain: str,
    seed: int | None = None,
    cost: RunCost | None = None,
    **about: Any,
) -> Path:
    """Write ``out/METHOD/results.json`` for `llamafactory-dba report` from ``out/METHOD.json``; returns its path.

    Its cost is what run_record.json says, and ``program_seconds`` what was seen from outside.
    """
    from llamafactory_dba.anchor.fingerprint import fingerprint_folder
    from llamafactory_dba.evaluation.micro_results import micro_results, training_cost
    from llamafactory_dba.evaluation.results import Run, write_results
    from llamafactory_dba.training.record import read_record

    folder, model = out / method, RECIPES / "models" / base
    record = read_record(folder)
    outside: dict[str, Any] = {}
    if cost is not None:
        outside = {"program_seconds": cost.seconds, "peak_host_bytes": cost.peak_memory_bytes}
    if record is not None:
        about |= {"machine": record.machine, "versions": record.versions, "data": record.data}
    run = Run(
        name=METHODS.get(method, f"base ({base})"),
        method=method,
        domain=domain,
        base_model=str(model),
        base_fingerprint=fingerprint_folder(model).total,
        seed=seed,
        settings={} if record is None else record.settings,
    )
    scores = json.loads((out / f"{method}.json").read_text(encoding="utf-8"))
    results = micro_results(
        scores, run, base="../base" if method in METHODS else None, cost=training_cost(folder, **outside), **about
    )
    return write_results(results, folder)


def run_demo(base: str, domain: str, seed: int, out: Path) -> dict[str, Any]:
    """Train and evaluate everything; returns the results, which are also in ``out/results.json``."""
    from llamafactory_dba.anchor.config import WEIGHTS
    from llamafactory_dba.anchor.curvature import CURVATURE

    model = RECIPES / "models" / base
    if not (model / "config.json").is_file():
        raise DBAError(f"no model in {model}", next_step="run this from the repository root")
    started = time.perf_counter()
    common = [f"model_name_or_path={model}", f"seed={seed}", "overwrite_output_dir=true"]
    anchor = out / "anchor"

    _say("anchor: mean gradient and curvature of the general data")
    anchor_cost = train(RECIPES / "anchor_curvature.yaml", [*common, f"output_dir={anchor}"], out / "anchor.log")
    _say("base model: scores")
    base_record = as_record(f"base ({base})", evaluate(model, domain, out / "base.json"), domain, None)
    records = [base_record]
    machine = {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()}
    versions = {name: version(name) for name in ("llamafactory-dba", "llamafactory", "torch", "transformers")}
    about: dict[str, Any] = {"machine": machine, "versions": versions}
    save_results(out, "base", base, domain, **about)
    for method, title in METHODS.items():
        _say(f"{title}: train and score")
        overrides = [*common, f"dataset=micro_{domain}_train", f"output_dir={out / method}"]
        overrides.append(f"num_train_epochs={EPOCHS[domain]}")
        if method in ANCHORED:
            overrides.append(f"dba_anchor_path={anchor}")
        cost = train(RECIPES / f"{method}.yaml", overrides, out / f"{method}.log")
        record = as_record(title, evaluate(out / method, domain, out / f"{method}.json"), domain, base_record)
        record.update(seconds=cost.seconds, peak_memory_bytes=cost.peak_memory_bytes)
        if method in ANCHORED:
            record["anchor_bytes"] = (anchor / (WEIGHTS if method == "dba" else CURVATURE)).stat().st_size
        records.append(record)
        save_results(out, method, base, domain, seed=seed, cost=cost, **about)

    results: dict[str, Any] = {
        "schema": SCHEMA,
        "base": base,
        "domain": domain,
        "domain_chance": CHANCE[domain],
        "epochs": EPOCHS[domain],
        "seed": seed,
        "records": records,
        "anchor": {
            "seconds": anchor_cost.seconds,
            "peak_memory_bytes": anchor_cost.peak_memory_bytes,
            "bytes": sum(path.stat().st_size for path in anchor.glob("*.safetensors")),
        },
        "seconds_total": time.perf_counter() - started,
        **about,
    }
    (out / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return results


def _say(text: str) -> None:
    print(f"[demo] {text}", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m llamafactory_dba.demo", description=__doc__)
    parser.add_argument("--domain", choices=list(DOMAINS), default="finance")
    parser.add_argument("--base", choices=("micro-instruct", "micro-base"), default="micro-instruct")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--out", type=Path, default=Path("runs/demo"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    results = run_demo(args.base, args.domain, args.seed, args.out)

    from llamafactory_dba.reporting.demo import plot, table

    text = table(results)
    (args.out / "table.md").write_text(text, encoding="utf-8")
    plot(results, args.out / "plot.png")
    print(
        f"\n{text}\n[demo] {args.out}: results.json, table.md, plot.png, the logs and the models; "
        f"see also: llamafactory-dba report {args.out}"
    )


if __name__ == "__main__":
    main()
