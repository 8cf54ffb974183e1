"""How long `llamafactory-dba report` takes on many runs, and how large its page is.

Usage: ``python benchmarks/report_speed.py [--runs 200] [--steps 1000]``. Writes made-up results and logs into a
temporary folder and runs the command in a process of its own.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import RESULTS, command, machine, write

from llamafactory_dba.evaluation.intervals import wilson
from llamafactory_dba.evaluation.results import Results, Run, TaskResult, write_results


KINDS = (*(f"self_attn.{x}_proj" for x in "qkvo"), *(f"mlp.{x}_proj" for x in ("gate", "up", "down")))


def make_task(name: str, role: str, samples: int, share: float, generator: random.Random) -> TaskResult:
    values = tuple(int(generator.random() < share) for _ in range(samples))
    right = sum(values)
    return TaskResult(
        "made", name, "1", role, "accuracy", 100 * right / samples, samples, 0, wilson(right, samples), values
    )


def make_run(folder: Path, name: str, method: str, args: argparse.Namespace, generator: random.Random) -> None:
    tasks = [make_task("domain", "domain", args.samples, generator.uniform(0.2, 0.9), generator)]
    for place in range(args.tasks - 1):
        tasks.append(make_task(f"general{place}", "general", args.samples, generator.uniform(0.3, 0.8), generator))
    number = int(folder.name.split("_")[-1])
    # five seeds of every setting
    settings = {"setting": number // 20}
    run = Run(name, method, domain="made", base_model="made/model", seed=number // 4 % 5, settings=settings)
    write_results(Results(run, tuple(tasks), base=None if method == "base" else "../run_0"), folder)
    if method != "base":
        keys = ("gamma", "similarity", "correction", "domain_grad_norm")
        own = [{"step": step, **{key: generator.random() for key in keys}} for step in range(args.steps)]
        host = [{"current_steps": step, "loss": generator.random()} for step in range(10, args.steps, 10)]
        gauge_keys = ("general_loss", "general_accuracy", "domain_loss", "domain_accuracy", "s", "forward_kl")
        gauge = [
            {"step": step, **{key: generator.random() for key in gauge_keys}} for step in range(0, args.steps, 50)
        ]
        names = [f"model.layers.{layer}.{kind}.weight" for kind in KINDS for layer in range(args.layers)]
        layers = [
            {"step": step, "similarity": {name: round(generator.gauss(0, 0.1), 6) for name in names}}
            for step in range(0, args.steps, max(1, args.steps // 100))
        ]
        files = {"dba_log.jsonl": own, "trainer_log.jsonl": host, "dba_gauge.jsonl": gauge, "dba_layers.jsonl": layers}
        for file, rows in files.items():
            (folder / file).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--layers", type=int, default=36)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--output", type=Path, default=RESULTS / "report_speed.json")
    args = parser.parse_args()
    generator = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        make_run(root / "run_0", "base", "base", args, generator)
        for place in range(1, args.runs + 1):
            method = ("direct", "replay", "annealing", "dba")[place % 4]
            make_run(root / f"run_{place}", f"{method}_{place}", method, args, generator)
        page = root / "report.html"
        start = time.perf_counter()
        words = ["report", str(root), "--out", str(page), "--markdown", str(root / "report.md")]
        subprocess.run([sys.executable, "-m", "llamafactory_dba.cli", *words], check=True)
        result = {
            "what": "llamafactory-dba report, HTML and Markdown, program start included",
            "command": command(),
            "machine": machine(),
            **{key: getattr(args, key) for key in ("runs", "steps", "tasks", "samples", "layers")},
            "seconds": time.perf_counter() - start,
            "page_bytes": page.stat().st_size,
            "markdown_bytes": (root / "report.md").stat().st_size,
        }
    write(result, args.output)
    print(f"{result['seconds']:.1f} s, {result['page_bytes'] / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
