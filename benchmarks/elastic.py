"""Elastic restoration against direct fine-tuning, annealing and mixing in the micro world, on CPU.

    python benchmarks/elastic.py          # from the repository root; about a minute per run, 84 runs
    python benchmarks/elastic.py --show   # write the tables of docs/elastic.md again, from the JSON

Two domains (finance, law), both base models, three seeds. Every run is a recipe of examples/micro through the host, in
this process; only what METHODS and the loops below say is changed. Runs that are in the JSON already are not made
again, so an interrupted benchmark goes on. Writes benchmarks/results/elastic.json.
"""

import argparse
import itertools
import json
import statistics
import time
from pathlib import Path
from typing import Any

import yaml
from measure import RESULTS, command, machine, write

from llamafactory_dba.reporting.parts import fill, write_or_check


MODELS = {"micro-base": "examples/micro/models/micro-base", "micro-instruct": "examples/micro/models/micro-instruct"}
EPOCHS = {"finance": 3.0, "law": 8.0}
ANNEALING = {"micro-base": 1.0e-4, "micro-instruct": 3.0e-4}  # the better of 1e-4 and 3e-4 on each base
METHODS: dict[str, dict[str, Any]] = {
    "direct": {"recipe": "direct"},
    "annealing": {"recipe": "annealing"},
    "mixing 1:1": {"recipe": "annealing", "keys": {"learning_rate": 3.0e-4}, "mix": True},
    "elastic, factored": {"recipe": "elastic", "kind": "factored"},
    "elastic, diagonal": {"recipe": "elastic", "kind": "diagonal"},
    "elastic, Kronecker": {"recipe": "elastic", "kind": "kronecker", "keys": {"dba_elastic_strength": 3.0e4}},
    "elastic, Kronecker, rank 16": {"recipe": "elastic", "kind": "kronecker16", "keys": {"dba_elastic_strength": 1e4}},
}
DOC = Path("docs/elastic.md")
KINDS = {
    "factored": {"dba_curvature_kind": "factored"},
    "diagonal": {"dba_curvature_kind": "diagonal"},
    "kronecker": {"dba_curvature_kind": "kronecker"},
    "kronecker16": {"dba_curvature_kind": "kronecker", "dba_curvature_rank": 16},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/elastic"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 1, 2])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--out", type=Path, default=RESULTS / "elastic.json")
    parser.add_argument("--show", action="store_true", help="only print and write the tables, from --out")
    args = parser.parse_args()
    if not args.show:
        for seed, method, (base, domain) in itertools.product(
            args.seeds, args.methods, itertools.product(MODELS, EPOCHS)
        ):
            content = read(args.out)
            if not any(key(run) == (method, base, domain, seed) for run in content["runs"]):
                content["runs"].append(one_run(method, base, domain, seed, args.work))
                write({**content, "summary": summary(content)}, args.out)
    found = tables(json.loads(args.out.read_text(encoding="utf-8")))
    print(found)
    if args.out.resolve() == (RESULTS / "elastic.json").resolve():
        text = fill(DOC.read_text(encoding="utf-8"), {"elastic": found.rstrip("\n")}, str(DOC), gap="")
        write_or_check({DOC: text}, check=False, command=command())


def read(path: Path) -> dict[str, Any]:
    """What has been measured so far."""
    if path.is_file():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    return {
        "benchmark": "elastic restoration in the micro world",
        "command": command(),
        "machine": machine(packages=("llamafactory", "torch", "transformers", "llamafactory-dba")),
        "methods": METHODS,
        "runs": [],
        "anchors": {},
    }


def key(run: dict[str, Any]) -> tuple[Any, ...]:
    return run["method"], run["base"], run["domain"], run["seed"]


def recipe(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load(Path(f"examples/micro/{name}.yaml").read_text(encoding="utf-8")))


def one_run(method: str, base: str, domain: str, seed: int, work: Path) -> dict[str, Any]:
    """Trains and scores once."""
    entry, out = METHODS[method], work / "run"
    config = {
        **recipe(entry["recipe"]),
        "model_name_or_path": MODELS[base],
        "dataset": f"micro_{domain}_train",
        "num_train_epochs": EPOCHS[domain],
        "seed": seed,
        "output_dir": str(out),
        "logging_steps": 1000,
        **entry.get("keys", {}),
    }
    if method == "annealing":
        config["learning_rate"] = ANNEALING[base]
    if entry.get("mix"):
        config |= mixed(domain, work)
    if "kind" in entry:
        config["dba_anchor_path"] = str(anchor(base, entry["kind"], work))
        del config["dba_anchor_dataset"]
    start = time.perf_counter()
    train(config)
    seconds = time.perf_counter() - start
    cost = json.loads((out / "run_record.json").read_text(encoding="utf-8"))["cost"]
    found = {"method": method, "base": base, "domain": domain, "seed": seed, "seconds": round(seconds, 2)}
    log = out / "dba_elastic.jsonl"
    if "kind" in entry:
        found["predicted_kl"] = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])["predicted_kl"]
    print(found | (scores := score(out, domain)), flush=True)
    return {**found, **scores, "cost": cost}


def mixed(domain: str, work: Path) -> dict[str, Any]:
    """As many general rows as domain rows, in one data set of their own."""
    data = work / "data"
    data.mkdir(parents=True, exist_ok=True)
    rows = {
        name: Path(f"data/micro/{name}_train.jsonl").read_text("utf-8").splitlines() for name in (domain, "general")
    }
    # the general rows are in random order already
    text = "\n".join(rows[domain] + rows["general"][: len(rows[domain])]) + "\n"
    (data / f"{domain}_mixed.jsonl").write_text(text, encoding="utf-8")
    known = json.loads(Path("data/dataset_info.json").read_text("utf-8"))[f"micro_{domain}_train"]
    info = {"mixed": {**known, "file_name": f"{domain}_mixed.jsonl"}}
    (data / "dataset_info.json").write_text(json.dumps(info), "utf-8")
    return {"dataset_dir": str(data), "dataset": "mixed"}


def anchor(base: str, kind: str, work: Path) -> Path:
    """The anchor with this kind of curvature, made once."""
    folder = work / f"anchor-{base}-{kind}"
    if not (folder / "anchor_config.json").is_file():
        train(
            {
                **recipe("anchor_curvature"),
                "model_name_or_path": MODELS[base],
                "output_dir": str(folder),
                **KINDS[kind],
            }
        )
    return folder


def train(config: dict[str, Any]) -> None:
    import torch  # noqa: F401  importing it is what activates the extension
    from llamafactory.train.tuner import run_exp

    run_exp(config)


def score(folder: Path, domain: str) -> dict[str, float]:
    """Accuracies in percent on the whole test files."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from llamafactory_dba.evaluation import micro
    from llamafactory_dba.evaluation.scores import joint_score

    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    rows = [row for name in ("general", domain) for row in micro.read_rows(f"data/micro/{name}_test.jsonl")]
    found = micro.score_answers(rows, micro.generate_answers(model, tokenizer, [row.prompt for row in rows]))
    general = statistics.fmean(value.accuracy for name, value in found.items() if name != domain)
    return {"s_d": found[domain].accuracy, "s_g": general, "s": joint_score(found[domain].accuracy, general)}


def summary(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Means over seeds, per method and base: over both domains where all their seeds are there."""
    rows = []
    for base, method in itertools.product(MODELS, METHODS):
        runs = [run for run in content["runs"] if (run["method"], run["base"]) == (method, base)]
        seeds = [
            seed
            for seed in sorted({run["seed"] for run in runs})
            if {run["domain"] for run in runs if run["seed"] == seed} == set(EPOCHS)
        ]
        if not seeds:
            continue
        means = [statistics.fmean(run["s"] for run in runs if run["seed"] == seed) for seed in seeds]
        row = {"base": base, "method": method, "n": len(seeds), "s": statistics.fmean(means)}
        row["s_std"] = statistics.stdev(means) if len(means) > 1 else None
        for domain in EPOCHS:
            for name in ("s_d", "s_g"):
                values = [run[name] for run in runs if run["domain"] == domain and run["seed"] in seeds]
                row[f"{domain}_{name}"] = statistics.fmean(values)
        rows.append(row)
    return rows


def tables(content: dict[str, Any]) -> str:
    """For docs/elastic.md."""
    lines = []
    for base in MODELS:
        lines += [
            f"{base}:",
            "",
            "| method | finance S_D | S_G | law S_D | S_G | mean S | n |",
            "|---|---|---|---|---|---|---|",
        ]
        for row in content["summary"]:
            if row["base"] == base:
                spread = "" if row["s_std"] is None else f" ± {row['s_std']:.1f}"
                cells = [f"{row[f'{domain}_{name}']:.1f}" for domain in EPOCHS for name in ("s_d", "s_g")]
                lines.append(f"| {row['method']} | {' | '.join(cells)} | {row['s']:.1f}{spread} | {row['n']} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
