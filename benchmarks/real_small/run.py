"""Compare DBA, its parts and the usual alternatives on TFNS, starting from the small base model of build_base.py.

Usage: ``python -m benchmarks.real_small.run --seeds 0 1 2 [--methods ...] [--k0 2 20]``.
Finished runs are kept in the cache and skipped; the JSON is rewritten after every run.
"""

import argparse
import json
import os
import platform
import random
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import psutil
import torch

from . import data, host, methods
from .evaluate import evaluate
from .methods import METHODS, Method
from .paths import DEFAULT_CACHE, RESULTS, data_missing, data_root
from .summary import summarise


def prepare(cache: Path) -> None:
    """Write the finance rows and the general sample beside the base model's data."""
    finance, _ = data.tfns(data_root(), methods.ROWS)
    general = [row for rows in data.general_splits(data_root()).general_train.values() for row in rows]
    sample = random.Random(data.SPLIT_SEED).sample(general, methods.GENERAL_ROWS)
    half = methods.ROWS // 2
    files = {"finance": finance, "general_sample": sample}
    host.write_dataset_info(cache / "data", files | {"finance_half": finance[:half], "general_half": sample[:half]})


class Places(NamedTuple):
    """Folders of one starting point: the base model, its anchor, its runs and the data."""

    base: Path
    anchor: Path
    runs: Path
    data: Path


def places(cache: Path, base: str) -> Places:
    """Return the folders for the starting point ``base`` ("base", or "base_pt": before the instruction stage)."""
    end = "" if base == "base" else f"_{base}"
    return Places(cache / base, cache / f"anchor{end}", cache / f"runs{end}", cache / "data")


def make_anchor(at: Places) -> dict:
    """Run the anchor pass once; return its cost and what the anchor says of itself."""
    folder = at.runs / "anchor"
    record = folder / "cost.json"
    if not record.is_file():
        config = methods.anchor_config(at.base, at.data, at.anchor, folder / "out")
        cost = host.train(folder, config)
        size = sum(f.stat().st_size for f in at.anchor.rglob("*.safetensors"))
        found = {"seconds": cost.seconds, "peak_rss_mib": cost.peak_rss_mib, "anchor_bytes": size}
        record.write_text(json.dumps(found | {"rows": methods.GENERAL_ROWS}, indent=2) + "\n", encoding="utf-8")
    config = json.loads((at.anchor / "anchor_config.json").read_text(encoding="utf-8"))
    halves = [cosine for _, cosine in config["half_cosine"]]  # empty for a pass of a few steps
    described = {"half_cosine": halves[-1] if halves else None, "norm": config["totals"]["norm"]}
    return json.loads(record.read_text(encoding="utf-8")) | described


def run_one(at: Places, name: str, method: Method, seed: int, keep_weights: bool) -> dict:
    """Train and evaluate one method at one seed, unless that was done before; return its record."""
    folder = at.runs / f"{name}_seed{seed}"
    record = folder / "record.json"
    if not record.is_file():
        print(f"{name} seed {seed} ...", flush=True)
        output = folder / "out"
        config = methods.train_config(method, at.base, at.data, at.anchor, output, seed)
        cost = host.train(folder, config)
        found = {"method": name, "seed": seed, "note": method.note, "learning_rate": method.rate, "dba": method.dba}
        found |= {"seconds": cost.seconds, "peak_rss_mib": cost.peak_rss_mib, "dba_log": read_dba_log(output)}
        found["steps"] = json.loads((output / "trainer_state.json").read_text(encoding="utf-8"))["global_step"]
        found["scores"] = evaluate(output)
        record.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        if not keep_weights:
            shutil.rmtree(output)
    return json.loads(record.read_text(encoding="utf-8"))


def read_dba_log(output: Path) -> dict | None:
    """Return the means of what a DBA run logged per step, None for other runs."""
    log = output / "dba_log.jsonl"
    if not log.is_file():
        return None
    steps = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
    keys = [k for k, v in steps[0].items() if isinstance(v, int | float) and k != "step"]
    return {k: sum(s[k] for s in steps) / len(steps) for k in keys} | {"logged_steps": len(steps)}


def base_record(folder: Path) -> dict:
    """Evaluate a starting model once."""
    record = folder / "scores.json"
    if not record.is_file():
        record.write_text(json.dumps(evaluate(folder), indent=2) + "\n", encoding="utf-8")
    return json.loads(record.read_text(encoding="utf-8"))


def machine() -> dict:
    """Return what the numbers were measured on."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
    names = ("torch", "transformers", "llamafactory", "llamafactory-dba", "tokenizers", "scikit-learn")
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in names},
    }


def chosen_methods(args: argparse.Namespace) -> dict[str, Method]:
    """Return the methods asked for; ``--k0`` adds ggb and dba at other magnitudes."""
    chosen = {name: METHODS[name] for name in args.methods}
    for magnitude in args.k0:
        chosen |= dict(methods.with_magnitude(name, magnitude) for name in ("ggb", "dba"))
    return chosen


def run(args: argparse.Namespace) -> None:
    """Do everything that is not done yet and write the JSON."""
    cache = args.cache.resolve()
    if not (cache / "base" / "base.json").is_file():
        raise SystemExit(f"no base model in {cache}: run `python -m benchmarks.real_small.build_base` first")
    prepare(cache)
    chosen, at = chosen_methods(args), places(cache, args.base)
    anchor = make_anchor(at) if any(m.dba is not None for m in chosen.values()) else None
    result = {
        "what": "DBA and alternatives on TFNS finance sentiment from a small base model; see benchmarks/real_small",
        "command": " ".join(["python -m benchmarks.real_small.run", *sys.argv[1:]]),
        "title": args.title,
        "machine": machine() | {"jobs": args.jobs},
        "base_training": json.loads((cache / "base" / "base.json").read_text(encoding="utf-8")),
        "finance_rows": methods.ROWS,
        "batch": methods.BATCH,
        "anchor": anchor,
        "base": base_record(at.base),
        "runs": [],
    }
    judge = base_record(cache / "base")
    todo = [(name, method, seed) for seed in args.seeds for name, method in chosen.items()]
    with ThreadPoolExecutor(args.jobs) as pool:
        for record in pool.map(lambda job: run_one(at, *job, args.keep_weights), todo):
            result["runs"].append(record)
            result |= summarise(result["base"], result["runs"], judge)
            args.output.parent.mkdir(parents=True, exist_ok=True)
            args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    parser.add_argument("--base", choices=["base", "base_pt"], default="base", help="base_pt: pre-trained only")
    parser.add_argument("--output", type=Path, default=RESULTS / "real_small.json")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--k0", type=float, nargs="*", default=[], help="further boost magnitudes for ggb and dba")
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time; spoils the seconds")
    parser.add_argument("--title", default="all methods", help="heading of this result file in docs/real_small.md")
    parser.add_argument("--keep-weights", action="store_true", help="keep every fine-tuned model in the cache")
    args = parser.parse_args()
    if reason := data_missing():
        raise SystemExit(reason)
    run(args)


if __name__ == "__main__":
    main()
