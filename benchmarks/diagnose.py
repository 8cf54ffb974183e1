"""Why the paper's method loses general skill in the micro world: one cause at a time, each with a control.

    python benchmarks/diagnose.py              # from the repository root; goes on where it was interrupted
    python benchmarks/diagnose.py --bases micro-instruct --experiments rows      # a part of it
    python benchmarks/diagnose.py --domains finance law --seeds 1 2              # more of it
    python scripts/update_diagnoses.py         # docs/diagnoses.md from the JSON

Every run is a recipe of examples/micro through the host, in this process, with what RUNS says changed and a control of
diagnose_hooks.py around the paper's step hook. EXPERIMENTS says which runs answer which question; docs/diagnoses.md
has the questions. A run takes 15 s of one core, the whole about 12 minutes with the anchors. Runs that are in the JSON
already are not made again. Writes benchmarks/results/diagnose.json.
"""

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from diagnose_forecast import Forecast, predicted_turn
from diagnose_hooks import Watch, Wish, controlled
from diagnose_measure import Rows, domain_tokens, movement, score, split
from elastic import MODELS, recipe
from measure import RESULTS, command, machine, write


RESULT = RESULTS / "diagnose.json"
EPOCHS = {"finance": 3.0, "law": 3.0}
KINDS = ["factored", "kronecker"]  # of curvature
EVERY, OFTEN = 28, 8  # steps between measurements of the general loss; where they end the boost


WISH = Wish()


class Run(NamedTuple):
    """``recipe`` of examples/micro with ``keys`` changed; ``rate_of``: times the mean factor of that run's DC."""

    recipe: str
    keys: Mapping[str, Any] = MappingProxyType({})
    wish: Wish = WISH
    rate_of: str = ""


# GGB at annealing's rate; DBA and DC at a tenth of it, since DC makes that the same again where it is a factor of 10.
GGB = {"dba_use_correction": False, "learning_rate": 1.0e-4}
DC = {"dba_boost_magnitude": 0.0}
RUNS = {
    "direct": Run("direct"),
    "annealing": Run("annealing"),
    "ggb": Run("dba", GGB, Wish(split=True)),
    "dba": Run("dba"),
    "ggb, scaled": Run("dba", GGB, Wish(edit="scaled")),
    "ggb, non-zero": Run("dba", GGB, Wish(edit="nonzero")),
    "ggb, loud": Run("dba", GGB, Wish(edit="loud")),
    "ggb, capped": Run("dba", GGB, Wish(edit="capped")),
    "direct, rows held": Run("direct", wish=Wish(hold="rows")),
    "ggb, rows held": Run("dba", GGB, Wish(hold="rows")),
    "dba, rows held": Run("dba", wish=Wish(hold="rows")),
    "dc": Run("dba", DC),
    "annealing at dc's mean rate": Run("annealing", rate_of="dc"),
    "ggb at dba's mean rate": Run("dba", GGB, rate_of="dba"),
    "ggb, flipped": Run("dba", GGB, Wish(content="flipped")),
    "ggb, random signs": Run("dba", GGB, Wish(content="signs")),
    "ggb, random": Run("dba", GGB, Wish(content="normal")),
    "ggb, stop by factored": Run("dba", GGB, Wish(stop="factored")),
    "ggb, stop by Kronecker": Run("dba", GGB, Wish(stop="kronecker")),
    "ggb, stop by measurement": Run("dba", GGB, Wish(stop="measured")),
    "direct, embeddings held": Run("direct", wish=Wish(hold="embeddings")),
    "annealing, embeddings held": Run("annealing", wish=Wish(hold="embeddings")),
    "ggb, embeddings held": Run("dba", GGB, Wish(hold="embeddings")),
    "dba, embeddings held": Run("dba", wish=Wish(hold="embeddings")),
}
EXPERIMENTS = {
    "push": ["annealing", "ggb", "ggb, scaled", "ggb, non-zero", "ggb, loud", "ggb, capped"],
    "rows": ["direct", "ggb", "dba", "direct, rows held", "ggb, rows held", "dba, rows held"],
    "factor": ["dc", "annealing at dc's mean rate", "dba", "ggb at dba's mean rate"],
    "content": ["annealing", "ggb", "ggb, flipped", "ggb, random signs", "ggb, random"],
    "stop": ["annealing", "ggb", "ggb, stop by factored", "ggb, stop by Kronecker", "ggb, stop by measurement"],
    "embeddings": [
        *("direct", "direct, embeddings held", "annealing", "annealing, embeddings held"),
        *("ggb", "ggb, embeddings held", "dba", "dba, embeddings held"),
    ],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/diagnose"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--domains", nargs="+", default=["finance"], choices=list(EPOCHS))
    parser.add_argument("--bases", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--experiments", nargs="+", default=list(EXPERIMENTS), choices=list(EXPERIMENTS))
    parser.add_argument("--runs", nargs="+", choices=list(RUNS), help="only these of the experiments' runs")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    names = list(dict.fromkeys(name for part in args.experiments for name in EXPERIMENTS[part]))
    names = [name for name in names if name in (args.runs or names)]
    for seed, domain, base, name in itertools.product(args.seeds, args.domains, args.bases, names):
        content = read(args.out)
        if base not in content["bases"]:
            content["bases"][base] = base_facts(base, args.work)
        if find(content["runs"], name, base, domain, seed) is None:
            make_anchors(base, args.work)  # of an earlier call in another folder there are none
            run = one_run(name, base, domain, seed, args.work, content["runs"])
            content["pairs"] += pairs(run, content["runs"], args.work)
            content["runs"].append(run)
            write(content, args.out)


def read(path: Path) -> dict[str, Any]:
    """What has been measured so far."""
    if path.is_file():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    return {
        "benchmark": "failures of the paper's method in the micro world, one cause at a time",
        "command": command(),
        "machine": machine(packages=("llamafactory", "torch", "transformers", "llamafactory-dba")),
        "experiments": EXPERIMENTS,
        "bases": {},
        "runs": [],
        "pairs": [],
    }


def find(runs: list[dict[str, Any]], name: str, base: str, domain: str, seed: int) -> dict[str, Any] | None:
    """The run in question, if it is there."""
    wanted = {"run": name, "base": base, "domain": domain, "seed": seed}
    return next((run for run in runs if wanted.items() <= run.items()), None)


def base_facts(base: str, work: Path) -> dict[str, Any]:
    """The anchor of a base model, with its curvature, and how good the model is on the general questions."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    seconds, folders = make_anchors(base, work), anchor_folders(base, work)
    model = AutoModelForCausalLM.from_pretrained(MODELS[base], dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(MODELS[base])
    config = json.loads((folders["factored"] / "anchor_config.json").read_text(encoding="utf-8"))
    return {
        "general": Rows(tokenizer).losses(model)._asdict(),
        "s_g": score(model, tokenizer, "finance")["s_g"],
        "half_cosine": config["half_cosine"][-1][1],
        "anchor_cpu_seconds": round(seconds, 1),
    }


def make_anchors(base: str, work: Path) -> float:
    """Those that are missing; seconds of processor time."""
    start = time.process_time()
    for kind, folder in anchor_folders(base, work).items():
        if not (folder / "anchor_config.json").is_file():
            places = {"model_name_or_path": MODELS[base], "output_dir": str(folder)}
            train({**recipe("anchor_curvature"), "dba_curvature_kind": kind, **places})
    return time.process_time() - start


def anchor_folders(base: str, work: Path) -> dict[str, Path]:
    """By kind of curvature."""
    return {kind: work / f"anchor-{base}-{kind}" for kind in KINDS}


def one_run(name: str, base: str, domain: str, seed: int, work: Path, earlier: list[dict[str, Any]]) -> dict[str, Any]:
    """Trains and scores once."""
    from transformers import AutoTokenizer

    run, out, begin = RUNS[name], work / "run", time.process_time()
    config = {
        **recipe(run.recipe),
        "model_name_or_path": MODELS[base],
        "dataset": f"micro_{domain}_train",
        "num_train_epochs": EPOCHS[domain],
        "seed": seed,
        "output_dir": str(out),
        "logging_steps": 1000,
        "disable_gradient_checkpointing": True,
        "dba_record": False,
        **run.keys,
    }
    if run.rate_of:
        source = find(earlier, run.rate_of, base, domain, seed)
        if source is None:
            raise SystemExit(f"{name!r} needs {run.rate_of!r} of the same base, domain and seed first")
        config["learning_rate"] = recipe("dba")["learning_rate"] * source["mean_factor"]
    if config.get("use_dba"):
        config["dba_anchor_path"] = str(anchor_folders(base, work)["factored"])
        del config["dba_anchor_dataset"]
    tokenizer = AutoTokenizer.from_pretrained(MODELS[base])
    rows, shown = Rows(tokenizer), domain_tokens(tokenizer, domain)
    followed = name == "ggb" or run.wish.stop in KINDS
    found: dict[str, Any] = {"run": name, "base": base, "domain": domain, "seed": seed}
    if run.wish.stop in KINDS:
        whole = find(earlier, "ggb", base, domain, seed)
        if whole is not None and predicted_turn(whole["predicted"], KINDS.index(run.wish.stop)) is None:
            # nothing would be stopped, and the run be that one bit for bit
            same = ("s_d", "s_g", "s", "general", "steps", "path", "mean_factor", "movement")
            return found | {key: whole[key] for key in same} | {"same_as": "ggb", "turned": None, "cpu_seconds": 0.0}

    watch = Watch(
        run.wish,
        ~shown,
        Forecast(anchor_folders(base, work)) if followed else None,
        lambda model: rows.losses(model).trained,
        OFTEN if run.wish.stop == "measured" else EVERY,
    )
    with controlled(watch, seed):
        train(config, watch)
    found.update(steps=watch.steps, **score(watch.model, tokenizer, domain))
    found["general"] = rows.losses(watch.model)._asdict()
    found.update(factors(out, watch.rates) if watch.control else {"path": watch.rates, "mean_factor": 1.0})
    found["movement"] = movement(watch.changes(), shown, rows.tokens, found["path"])
    if followed:
        found["predicted"] = watch.predicted
    found |= {"measured": watch.measured, "expanded": watch.expanded}
    found["turned"] = watch.turned if watch.wish.stop else None
    if watch.wish.split:
        found["split"] = split(watch, rows, shown)
    updates = work / "updates" / f"{name}-{base}-{domain}-{seed}.pt"
    updates.parent.mkdir(parents=True, exist_ok=True)
    torch.save(torch.cat([change.reshape(-1) for change in watch.changes().values()]), updates)
    found["cpu_seconds"] = round(time.process_time() - begin, 1)
    print({key: found[key] for key in ("run", "base", "domain", "seed", "s_d", "s_g", "general", "cpu_seconds")})
    return found


def train(config: dict[str, Any], *callbacks: Any) -> None:
    from llamafactory.train.tuner import run_exp

    run_exp(config, list(callbacks))


def factors(folder: Path, rates: float) -> dict[str, Any]:
    """DC's factor: its mean with the learning rates as weights, and its spread; the sum of all rates as applied."""
    lines = [json.loads(line) for line in (folder / "dba_log.jsonl").read_text(encoding="utf-8").splitlines()]
    path = sum(line["learning_rate"] * line["correction"] for line in lines)
    values = [line["correction"] for line in lines]
    return {
        "path": path,
        "mean_factor": path / rates,
        "factor_std": statistics.pstdev(values),
        "factor_range": [min(values), max(values)],
        "similarity": statistics.fmean(line["similarity"] for line in lines),
    }


def pairs(run: dict[str, Any], runs: list[dict[str, Any]], work: Path) -> list[dict[str, Any]]:
    """How alike a run's change of the weights and those of earlier ones are: its control, or itself, another seed.

    Nothing where an earlier change is not in the work folder any more.
    """
    others = [find(runs, RUNS[run["run"]].rate_of, run["base"], run["domain"], run["seed"])]
    if run["run"] in ("dc", "dba"):
        others.append(next((o for o in runs if all(o[k] == run[k] for k in ("run", "base", "domain"))), None))
    found = []
    for other in filter(None, others):
        first, second = (update(item, work) for item in (run, other))
        if first is not None and second is not None:
            found.append(
                {key: run[key] for key in ("run", "base", "domain", "seed")}
                | {"with": other["run"], "with_seed": other["seed"]}
                | {"cosine": float(first @ second / first.norm() / second.norm())}
                | {"length_ratio": float(first.norm() / second.norm())}
            )
    return found


def update(run: dict[str, Any], work: Path) -> torch.Tensor | None:
    """The run's change of all weights as one vector."""
    path = work / "updates" / f"{run['run']}-{run['base']}-{run['domain']}-{run['seed']}.pt"
    return torch.load(path).double() if path.is_file() else None


if __name__ == "__main__":
    main()
