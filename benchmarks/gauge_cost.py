"""What the gauge costs, and what it is good for: the micro world, on CPU.

    python benchmarks/gauge_cost.py          # from the repository root; about ten minutes on a busy core
    python benchmarks/gauge_cost.py --show   # figure and table of docs/gauge.md again, from the JSON

For each seed examples/micro/gauge.yaml runs three times: with the gauge off, on (with the best weights kept), and on
with patience as well. Off and on follow each other, so that a change of the machine's load touches both, and their
final weights are compared bit for bit. The cost of a measurement is the median over one run's lines, that of a step
the rest of the same run's time by its steps. The final, the best and the early-stopped weights are then scored by
evaluation.micro on its test files, of which the gauge has seen nothing: it measures general_train, which these runs do
not train on, and a split of the domain's training rows. Writes benchmarks/results/gauge_cost.json.
"""

import argparse
import hashlib
import json
import statistics
import subprocess
from pathlib import Path
from typing import Any

import yaml
from measure import RESULTS, command, machine, write

from llamafactory_dba.evaluation.micro import evaluate
from llamafactory_dba.evaluation.scores import joint_score


RECIPE = Path("examples/micro/gauge.yaml")
FIGURE = Path("docs/figures/gauge.svg")
PATIENCE = 4
VARIANTS = {
    "off": {"dba_gauge_steps": 0, "dba_gauge_dataset": None, "dba_gauge_keep_best": False},
    "on": {},
    "patience": {"dba_gauge_patience": PATIENCE},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/gauge_cost"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 1, 2])
    parser.add_argument("--out", type=Path, default=RESULTS / "gauge_cost.json")
    parser.add_argument("--show", action="store_true", help="only draw the figure and print the table, from --out")
    args = parser.parse_args()
    if not args.show:
        recipe = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
        content = {
            "benchmark": "cost and use of the live gauge",
            "command": command(),
            "machine": machine(packages=("llamafactory", "torch", "transformers", "llamafactory-dba")),
            "recipe": str(RECIPE),
            "samples": recipe["dba_gauge_samples"],
            "every": recipe["dba_gauge_steps"],
            "patience": PATIENCE,
            "base": score(recipe["model_name_or_path"]),
            "seeds": {str(seed): one_seed(recipe, seed, args.work / str(seed)) for seed in args.seeds},
        }
        write({**content, "summary": summary(content["seeds"])}, args.out)
    content = json.loads(args.out.read_text(encoding="utf-8"))
    plot(content, FIGURE)
    print(table(content))


def one_seed(recipe: dict[str, Any], seed: int, work: Path) -> dict[str, Any]:
    """The three runs of a seed and what they cost."""
    runs = {name: train({**recipe, **changes, "seed": seed}, work / name) for name, changes in VARIANTS.items()}
    lines = [json.loads(line) for line in (work / "on" / "dba_gauge.jsonl").read_text("utf-8").splitlines()]
    inside = sum(line["seconds"] for line in lines)
    each = statistics.median(line["seconds"] for line in lines)
    step = (runs["on"]["train_runtime"] - inside) / runs["on"]["global_step"]
    return {
        "same_final_weights_on_and_off": digest(work / "on") == digest(work / "off"),
        "steps": runs["on"]["global_step"],
        "seconds": {
            "run_off": runs["off"]["train_runtime"],
            "run_on": runs["on"]["train_runtime"],
            "measurements": inside,
            "measurement": each,
            "step": step,
        },
        "measurement_in_steps": each / step,
        "stopped_at": runs["patience"]["global_step"],
        "best_at": json.loads((work / "on" / "best" / "gauge.json").read_text("utf-8"))["step"],
        "lines": lines,
        "test": {
            "final": score(work / "on"),
            "best": score(work / "on" / "best"),
            "stopped": score(work / "patience"),
            "stopped_best": score(work / "patience" / "best"),
        },
    }


def train(recipe: dict[str, Any], out: Path) -> dict[str, Any]:
    """The host's own command; finished runs are not made again."""
    if not (out / "train_results.json").is_file():
        out.mkdir(parents=True, exist_ok=True)
        file = out.with_suffix(".yaml")
        file.write_text(yaml.safe_dump({**recipe, "output_dir": str(out)}), encoding="utf-8")
        subprocess.run(["llamafactory-cli", "train", str(file)], check=True, stdout=subprocess.DEVNULL)
    state = json.loads((out / "trainer_state.json").read_text(encoding="utf-8"))
    results = json.loads((out / "train_results.json").read_text(encoding="utf-8"))
    return {"train_runtime": results["train_runtime"], "global_step": state["global_step"]}


def score(folder: Path | str) -> dict[str, float]:
    """Test scores in %, the finance domain."""
    result = evaluate(folder, domains=["finance"])
    s_d = result.domains["finance"].accuracy
    return {"s_d": s_d, "s_g": result.s_g, "s": joint_score(s_d, result.s_g)}


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def summary(seeds: dict[str, Any]) -> dict[str, Any]:
    """Mean and standard deviation over seeds."""

    def spread(values: list[float]) -> dict[str, float]:
        return {"mean": statistics.mean(values), "std": statistics.stdev(values) if len(values) > 1 else 0.0}

    runs = list(seeds.values())
    return {
        "n": len(runs),
        "measurement_in_steps": spread([run["measurement_in_steps"] for run in runs]),
        "share_of_run": spread([run["seconds"]["measurements"] / run["seconds"]["run_on"] for run in runs]),
        "step_on_by_off": spread([run["seconds"]["step"] * run["steps"] / run["seconds"]["run_off"] for run in runs]),
        "same_final_weights": all(run["same_final_weights_on_and_off"] for run in runs),
        "test": {
            kind: {key: spread([run["test"][kind][key] for run in runs]) for key in ("s_d", "s_g", "s")}
            for kind in runs[0]["test"]
        },
    }


def table(content: dict[str, Any]) -> str:
    """Test scores as Markdown, mean ± standard deviation over seeds."""
    runs = content["seeds"].values()
    steps = {
        "final": [run["steps"] for run in runs],
        "best": [run["best_at"] for run in runs],
        "stopped": [run["stopped_at"] for run in runs],
    }
    names = {"final": "final", "best": "best S of the gauge", "stopped": f"last, patience {content['patience']}"}
    base = content["base"]
    lines = [
        "| weights | step, by seed | S_D | S_G | S |",
        "|---|---|---:|---:|---:|",
        f"| base | 0 | {base['s_d']:.1f} | {base['s_g']:.1f} | {base['s']:.1f} |",
    ]
    for kind, name in names.items():
        scores = content["summary"]["test"][kind]
        cells = [f"{scores[key]['mean']:.1f} ± {scores[key]['std']:.1f}" for key in ("s_d", "s_g", "s")]
        lines.append(f"| {name} | {', '.join(map(str, steps[kind]))} | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(content: dict[str, Any], path: Path) -> None:
    """What the gauge saw, and how the final and the best weights score on the test files."""
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = "gauge"
    from matplotlib import pyplot

    seed, run = next(iter(content["seeds"].items()))
    steps = [line["step"] for line in run["lines"]]
    figure, axes = pyplot.subplots(figsize=(7.2, 3.8), layout="constrained")
    for key, name, colour in (
        ("domain_accuracy", "S_D: learned (finance)", "tab:blue"),
        ("general_accuracy", "S_G: kept (general)", "tab:green"),
        ("s", "S", "black"),
    ):
        axes.plot(steps, [line[key] for line in run["lines"]], color=colour, label=name, lw=1.6)
    for step, kind, marker in ((run["best_at"], "best", "*"), (run["steps"], "final", "o")):
        axes.axvline(step, color="0.8", lw=1, zorder=0)
        size = 11 if marker == "*" else 7
        axes.plot(step, run["test"][kind]["s"], marker, ms=size, mfc="tab:red", mec="white", ls="", clip_on=False,
                  zorder=5, label=f"S on the test files, {kind} weights")  # fmt: skip
    axes.set(xlabel="optimizer step", ylabel="%", ylim=(0, 102), xlim=(0, run["steps"] * 1.02))
    axes.set_title(
        f"Direct fine-tuning on the micro world, gauge every {content['every']} steps, seed {seed}", size=10
    )
    axes.legend(fontsize=8, loc="lower center", ncols=2, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    print(f"drawn to {path}")


if __name__ == "__main__":
    main()
