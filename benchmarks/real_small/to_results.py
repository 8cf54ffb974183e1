"""Write the runs of this benchmark as results.json files, so that ``llamafactory-dba report`` shows them.

Usage: ``python -m benchmarks.real_small.to_results OUT``, then ``llamafactory-dba report OUT``. Every result file
becomes a folder with the base model and one folder a run. Nothing is measured again, so what was not kept is missing:
without per-sample values there is no paired test, and the report says so. The general sets that do not count for S_G
(the base model is not above chance on them, see README.md) have no accuracy there, only their answer loss; their
accuracies are in docs/real_small.md.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llamafactory_dba.evaluation.results import Cost, Interval, Results, Run, TaskResult, write_results

from .paths import RESULTS


SUITE, VERSION = "real_small", "1"
F1_INTERVAL = "percentile bootstrap, 300 draws, seed 0"  # scoring.f1_metrics
SHARE_INTERVAL = "Wilson"  # scoring.accuracy_metrics


def tasks(scores: Mapping[str, Any], counted: list[str]) -> tuple[TaskResult, ...]:
    """The scores of one model; text losses have as many samples as tokens were predicted."""
    finance = scores["finance"]
    found = [_share("tfns", "domain", "weighted_f1", finance, F1_INTERVAL)]
    found += [_share(name, "general", "accuracy", scores["general"][name], SHARE_INTERVAL) for name in counted]
    losses = {"tfns": (finance["answer_loss"], finance["n"])}
    losses |= {name: (score["answer_loss"], score["n"]) for name, score in scores["general"].items()}
    found += [
        TaskResult(SUITE, name, VERSION, "loss", "answer_loss_nats", value, n) for name, (value, n) in losses.items()
    ]
    found += [
        TaskResult(SUITE, name, VERSION, "loss", "text_loss_nats_per_token", score["loss"], score["tokens"])
        for name, score in scores["text"].items()
    ]
    return tuple(found)


def convert(result: Mapping[str, Any], out: Path) -> list[Path]:
    """Write one result file's base model and runs below ``out``; returns the written files."""
    versions = {"python": result["machine"]["python"], **result["machine"]["versions"]}
    machine = {name: value for name, value in result["machine"].items() if name not in ("python", "versions")}
    about = {"machine": machine, "versions": {name: str(value) for name, value in versions.items()}}
    started = "real_small base_pt" if "--base base_pt" in result["command"] else "real_small base"
    domain = f"finance (TFNS): {result['title']}"
    counted = result["counted_sets"]
    base = Run("base model", "base", domain, started)
    written = [write_results(Results(base, tasks(result["base"], counted), **about), out / "base")]
    anchor = result.get("anchor") or {}
    for record in result["runs"]:
        settings = {"learning_rate": record["learning_rate"], "steps": record["steps"], **(record["dba"] or {})}
        name = f"{record['method']}_seed{record['seed']}"
        run = Run(name, record["method"], domain, started, seed=record["seed"], settings=settings)
        cost = Cost(
            program_seconds=record["seconds"],
            peak_host_bytes=round(record["peak_rss_mib"] * 2**20),
            trainable_parameters=result["base_training"]["parameters"],
            anchor_bytes_on_disk=anchor.get("anchor_bytes") if record["dba"] is not None else None,
        )
        found = Results(run, tasks(record["scores"], counted), base="../base", cost=cost, **about)
        written.append(write_results(found, out / name))
    return written


def _share(name: str, role: str, metric: str, score: Mapping[str, Any], method: str) -> TaskResult:
    low, high = score[f"{metric}_ci95"]
    return TaskResult(SUITE, name, VERSION, role, metric, score[metric], score["n"], 0, Interval(low, high, method))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder for the results.json files")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder with real_small*.json")
    args = parser.parse_args()
    files = sorted(args.results.glob("real_small*.json"))
    if not files:
        raise SystemExit(f"no real_small*.json in {args.results}: run `python -m benchmarks.real_small.run` first")
    for file in files:
        written = convert(json.loads(file.read_text(encoding="utf-8")), args.out / file.stem)
        print(f"{args.out / file.stem}: {len(written)} models")


if __name__ == "__main__":
    main()
