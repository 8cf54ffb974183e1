"""Run folders with results and logs, as `llamafactory-dba report` meets them."""

import json
import math
import random
from pathlib import Path

from llamafactory_dba.evaluation.intervals import wilson
from llamafactory_dba.evaluation.results import Cost, Results, Run, TaskResult, write_results


GENERAL = ("arithmetic", "recall", "choice")


def a_task(name: str, role: str, share: float, n: int = 100, version: str = "1") -> TaskResult:
    """A task whose first samples are right."""
    right = round(share * n)
    samples = (1,) * right + (0,) * (n - right)
    return TaskResult(
        "micro", name, version, role, "exact_match", 100 * right / n, n, 1, wilson(right, n), per_sample=samples
    )


def write_run(
    folder: Path, name: str, domain_share: float, general_share: float, *, method: str = "dba", **changes
) -> Path:
    """Results of one run; ``changes``: fields of `Run`, `Results`, its tasks' ``version``, and ``more`` tasks."""
    version, more = changes.pop("version", "1"), changes.pop("more", ())
    tasks = [*more, a_task("finance", "domain", domain_share, version=version)]
    tasks += [a_task(task, "general", general_share, version=version) for task in GENERAL]
    fields = {"domain": "finance", "base_model": "some/model", "seed": 1, "settings": {}}
    run = Run(name, method, **fields | {key: changes.pop(key) for key in tuple(changes) if key in fields})
    return write_results(Results(run=run, tasks=tuple(tasks), **changes), folder)


def write_logs(folder: Path, steps: int) -> None:
    """A host log every tenth step and the log of every step."""
    generator = random.Random(steps)
    host = [{"current_steps": s, "total_steps": steps, "loss": 3 * math.exp(-s / steps)} for s in range(10, steps, 10)]
    names = ("gamma", "similarity", "correction", "domain_grad_norm")
    own = [{"step": s, **{name: generator.random() for name in names}} for s in range(steps)]
    for file, rows in (("trainer_log.jsonl", host), ("dba_log.jsonl", own)):
        (folder / file).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_lines(path: Path, rows) -> None:
    """A log."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_layers(
    folder: Path, layers: int, steps: int, kinds=("self_attn.q_proj", "mlp.up_proj"), seed: int = 0
) -> None:
    """Similarities that fall with the steps and turn around over the layers."""
    generator = random.Random(seed)
    rows = []
    for step in range(steps):
        found = {
            f"model.layers.{layer}.{kind}.weight": round(
                0.1 * math.cos(3 * layer / layers) * (1 - step / steps) + generator.gauss(0, 0.01), 6
            )
            for kind in kinds
            for layer in range(layers)
        }
        rows.append({"step": 10 * step, "similarity": found | {"model.embed_tokens.weight": generator.gauss(0, 0.02)}})
    write_lines(folder / "dba_layers.jsonl", rows)


def write_gauge(folder: Path, points: int) -> None:
    """Something is forgotten, something learned."""
    rows = []
    for place in range(points):
        share = place / points
        general, domain = 90 - 30 * share, 20 + 60 * share
        s = 2 * general * domain / (general + domain)
        values = {"general_accuracy": general, "general_loss": 1 + share, "domain_accuracy": domain, "s": s}
        rows.append({"step": 10 * place, **values, "forward_kl": share**2, "seconds": 0.1})
    write_lines(folder / "dba_gauge.jsonl", rows)


def write_frontier(folder: Path, alphas=(0.0, 0.25, 0.5, 0.75, 1.0), domain: str = "finance") -> Path:
    """Points between a base model and a fine-tuned one, as `llamafactory-dba frontier` leaves them."""
    points = []
    for alpha in alphas:
        place = f"alpha_{alpha:.2f}"
        changes = {"method": "wise-ft", "base": "../alpha_0.00"} if alpha else {"method": "base"}
        shares = (0.1 + 0.8 * alpha**0.6, 0.9 - 0.6 * alpha**2.5)
        settings = {"alpha": alpha}
        write_run(folder / place, f"WiSE-FT, alpha {alpha:g}", *shares, domain=domain, settings=settings, **changes)
        s_d, s_g = (100 * round(share * 100) / 100 for share in shares)
        s = 2 * s_d * s_g / (s_d + s_g)
        points.append({"alpha": alpha, "results": f"{place}/results.json", "s_d": s_d, "s_g": s_g, "s": s})
    head = {"format": "llamafactory-dba/frontier", "format_version": 1, "base": "some/model", "tuned": "runs/direct"}
    path = folder / "frontier.json"
    path.write_text(json.dumps(head | {"request": {}, "points": points}), encoding="utf-8")
    return path


def subjects(drop: float, count: int = 57) -> TaskResult:
    """A general task with groups, the first of which lost most."""
    groups = {
        f"subject_{place:02d}": [max(0.0, 60 + place % 7 - drop * (50 if place == 3 else 1)), 20]
        for place in range(count)
    }
    value = sum(x for x, _ in groups.values()) / count
    return TaskResult(
        "general", "mmlu", "1", "general", "accuracy", value, 20 * count, 3, truncated=2, skipped=1, groups=groups
    )


def a_loss(value: float, n: int = 40) -> TaskResult:
    """A perplexity with the losses of its texts."""
    generator = random.Random(0)
    samples = tuple(value + generator.gauss(0, 0.1) for _ in range(n))
    return TaskResult("text", "news", "1", "loss", "nats_per_token", sum(samples) / n, n, per_sample=samples)


def write_rich_world(root: Path) -> None:
    """Methods over seeds with every log, groups, a loss, a frontier and a run that diverged."""
    write_run(root / "base", "base model", 0.1, 0.9, method="base", seed=None, more=(subjects(0), a_loss(3.0)))
    for method, domain, general, drop, loss in (("direct", 0.9, 0.3, 1, 4.2), ("dba", 0.8, 0.85, 0.2, 3.1)):
        for seed in range(3):
            cost = Cost(wall_seconds=100 + seed + 4 * (method == "dba"), peak_host_bytes=10**9, tokens=4000)
            more = (subjects(drop), a_loss(loss + 0.02 * seed))
            shares = (domain + 0.02 * seed, general - 0.02 * seed)
            folder = root / f"{method}_{seed}"
            write_run(
                folder, f"{method}-seed{seed}", *shares, method=method, seed=seed, base="../base", cost=cost, more=more
            )
            write_logs(folder, 200)
            write_gauge(folder, 8)
            if method == "dba":
                write_layers(
                    folder, 12, 30, ("self_attn.q_proj", "self_attn.o_proj", "mlp.up_proj", "input_layernorm"), seed
                )
    lost = write_run(root / "wild", "wild", 0.02, 0.01, method="high-rate", base="../base").parent
    write_lines(
        lost / "trainer_log.jsonl",
        [{"current_steps": s, "loss": 3.0 if s < 50 else math.nan} for s in range(10, 100, 10)],
    )
    write_frontier(root / "frontier")


def write_world(root: Path) -> None:
    """A base model, a run that forgets and one that keeps."""
    write_run(root / "base", "base model", 0.1, 0.9, method="base", seed=None)
    cost = Cost(wall_seconds=12.5, peak_host_bytes=10**9)
    write_run(root / "direct", "direct", 0.9, 0.3, method="direct", base="../base", cost=cost)
    write_run(root / "ours", "ours", 0.8, 0.88, base="../base", cost=cost)
    for name in ("direct", "ours"):
        write_logs(root / name, 50)
