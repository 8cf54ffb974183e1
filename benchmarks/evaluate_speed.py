"""Time of `llamafactory-dba evaluate micro` on a CPU, beside the light evaluator's (evaluation/micro.py).

Goal: one model on the micro suite in under 60 s on 2 cores. Both are whole programs, run by turns, without a cache:
imports, loading, asking, scoring. The ratio is of the two times of each pair; its median is reported, with all pairs.
Writes benchmarks/results/evaluate_speed.json.

    python benchmarks/evaluate_speed.py [--model FOLDER] [--pairs 5] [--limit N] [--out FILE]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measure import RESULTS, command, machine, write


GOAL = 60.0
LIGHT = [sys.executable, "-m", "llamafactory_dba.evaluation.micro"]
FULL = [sys.executable, "-m", "llamafactory_dba.cli", "evaluate", "micro", "--no-cache", "--device", "cpu"]


def seconds(arguments: Sequence[str]) -> float:
    """Wall-clock of a program from start to exit."""
    start = time.perf_counter()
    subprocess.run(arguments, check=True, capture_output=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    return time.perf_counter() - start


def run_pair(model: Path, limit: int | None, folder: Path) -> dict[str, Any]:
    """Both programs once; whether their scores are the same."""
    most = [] if limit is None else ["--limit", str(limit)]
    light = seconds([*LIGHT, str(model), "--json", str(folder / "light.json"), *most])
    full = seconds([*FULL, "--model", str(model), "--out", str(folder / "full"), *most])
    theirs = json.loads((folder / "light.json").read_text(encoding="utf-8"))
    ours = json.loads((folder / "full" / "results.json").read_text(encoding="utf-8"))
    accuracy = {name: task["accuracy"] for group in ("general", "domains") for name, task in theirs[group].items()}
    found = {task["task"].removeprefix("micro_"): task["value"] for task in ours["tasks"]}
    return {
        "light_seconds": light,
        "evaluate_seconds": full,
        "of_that_asking": ours["run"]["settings"]["evaluation"]["seconds"],
        "ratio": full / light,
        "same_scores": accuracy == found,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("examples/micro/models/micro-instruct"))
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--limit", type=int, help="questions per task; a figure with it is no result")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/evaluate_speed.json")
    args = parser.parse_args()
    pairs = []
    for number in range(args.pairs):
        with tempfile.TemporaryDirectory() as folder:
            pairs.append(run_pair(args.model, args.limit, Path(folder)))
        pair = pairs[-1]
        print(f"pair {number + 1}: light {pair['light_seconds']:.1f} s, evaluate {pair['evaluate_seconds']:.1f} s")
    result = {
        "command": command(),
        "what": "one model on the micro suite, 10 tasks with 1,400 questions; whole programs by turns, no cache",
        "model": args.model.as_posix() if not args.model.is_absolute() else args.model.name,
        "threads": os.environ.get("OMP_NUM_THREADS", "not set"),
        "limit": args.limit,
        "goal_seconds": GOAL,
        "evaluate_seconds_median": statistics.median(pair["evaluate_seconds"] for pair in pairs),
        "ratio_median": statistics.median(pair["ratio"] for pair in pairs),
        "same_scores": all(pair["same_scores"] for pair in pairs),
        "pairs": pairs,
        "machine": machine(packages=("llamafactory-dba", "lm_eval", "torch", "transformers")),
    }
    write(result, args.out or RESULTS / "evaluate_speed.json")
    print(f"median {result['evaluate_seconds_median']:.1f} s, {result['ratio_median']:.2f} times the light evaluator")


if __name__ == "__main__":
    main()
