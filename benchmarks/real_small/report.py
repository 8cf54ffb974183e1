"""Write docs/real_small.md from the result files and reading.md.

Usage: ``python -m benchmarks.real_small.report``. No number is typed by hand: tables come from the JSON, and
``reading.md`` names its figures as ``{{summary.dba.S}}`` (from real_small.json) or ``{{k0:summary.dba_k2.S}}`` (from
real_small_k0.json); an unknown name is an error.
"""

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from .paths import HERE, REPO, RESULTS


COLUMNS = {
    "S_D": "S_D",
    "S_G": "S_G",
    "S": "S",
    "kept_skill": "skill kept %",
    "answer_loss": "answer loss",
    "text_loss": "text loss",
    "seconds": "seconds",
    "peak_rss_mib": "peak MiB",
}
DIGITS = {
    "half_cosine": 2,
    "norm": 2,
    "similarity": 3,
    "gamma": 2,
    "domain_grad_norm": 2,
    "answer_loss": 2,
    "text_loss": 2,
    "seconds": 0,
    "peak_rss_mib": 0,
    "learning_rate": 6,
}


def show(value: object, key: str = "") -> str:
    """Return a number, or mean ± standard deviation over seeds, as text."""
    if value is None:
        return "–"
    if isinstance(value, Mapping) and "mean" in value:
        text = show(value["mean"], key)
        return text if value["std"] is None else f"{text} ± {show(value['std'], key)}"
    if isinstance(value, float):
        digits = DIGITS.get(key, 1)
        return f"{value:g}" if key == "learning_rate" else f"{value:.{digits}f}"
    return str(value)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main_table(result: Mapping) -> str:
    """Return the headline table: the base model, then every method."""
    base = result["base_headline"]
    rows = [["base", "–", "–"] + [show(base[key], key) if key in base else "–" for key in COLUMNS]]
    for name, entry in result["summary"].items():
        cells = [show(entry[key], key) for key in COLUMNS]
        rows.append([name, show(entry["learning_rate"], "learning_rate"), str(entry["steps"]), *cells])
    return table(["method", "rate", "steps", *COLUMNS.values()], rows)


def general_table(result: Mapping) -> str:
    """Return accuracy by general set: base model with its interval, then the mean over seeds of every method."""
    counted, base, names = result["counted_sets"], result["base"]["general"], list(result["summary"])
    rows = []
    for task, score in base.items():
        low, high = score["accuracy_ci95"]
        cells = [f"{score['chance']:.1f}", f"{score['accuracy']:.1f} ({low:.1f}–{high:.1f})"]
        for name in names:
            found = [r["scores"]["general"][task]["accuracy"] for r in result["runs"] if r["method"] == name]
            cells.append(f"{sum(found) / len(found):.1f}")
        rows.append([f"{task}{' *' if task in counted else ''}", str(score["n"]), *cells])
    return table(["set", "n", "chance", "base (95 %)", *names], rows)


def finance_table(result: Mapping) -> str:
    """Return the TFNS scores of every single run with the bootstrap interval."""
    rows = []
    for run in result["runs"]:
        f = run["scores"]["finance"]
        low, high = f["weighted_f1_ci95"]
        log = run["dba_log"] or {}
        extra = [f"{log[key]:.3g}" if key in log else "–" for key in ("gamma", "similarity", "correction")]
        f1 = f"{f['weighted_f1']:.1f} ({low:.1f}–{high:.1f})"
        rows.append([run["method"], str(run["seed"]), f1, f"{f['accuracy']:.1f}", *extra])
    return table(["method", "seed", "weighted F1 (95 %)", "accuracy", "mean γ", "mean s", "mean λ"], rows)


def look_up(name: str, results: Mapping[str, Mapping]) -> str:
    """Return the figure called ``name`` in one of the result files."""
    file, _, path = name.rpartition(":")
    value: object = results[file]
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            raise KeyError(f"reading.md: no {name!r} in the results (stopped at {key!r})")
        value = value[key]
    return show(value, path.split(".")[-1])


def fill(text: str, results: Mapping[str, Mapping]) -> str:
    """Replace every ``{{name}}`` by its figure."""
    return re.sub(r"\{\{([^}]+)\}\}", lambda m: look_up(m[1].strip(), results), text)


def conditions(result: Mapping) -> str:
    """Return one paragraph: machine, versions, sizes."""
    m, b = result["machine"], result["base_training"]
    versions = ", ".join(f"{name} {number}" for name, number in m["versions"].items())
    seeds = sorted({run["seed"] for run in result["runs"]})
    shared = ""
    if m.get("jobs", 1) > 1:
        shared = (
            f" {m['jobs']} runs at a time on a busy machine: read the seconds as rough (overhead.py measures cost)."
        )
    return (
        f"Machine: {m['gpu'] or m['cpu']}, {m['threads']} of {m['cores']} cores, {m['memory_gib']} GiB; Python "
        f"{m['python']}, {versions}. Base model: {b['parameters']:,} parameters, trained in "
        f"{b['pt']['seconds'] + b['sft']['seconds']:,} s. {result['finance_rows']:,} TFNS rows, batch "
        f"{result['batch']}, one epoch; seeds {', '.join(map(str, seeds))}; ± is the standard deviation over seeds. "
        f"TFNS test: n = {result['base']['finance']['n']:,}, always answering the most frequent label scores "
        f"{result['base']['finance']['majority_f1']:.1f}.{shared}"
    )


def anchor_line(result: Mapping) -> str:
    """Return what the anchor cost and how reliable it is."""
    anchor = result.get("anchor")
    if anchor is None:
        return "No run here used an anchor."
    return (
        f"The anchor pass ({anchor['rows']:,} general rows) is not in these seconds: {anchor['seconds']:.0f} s once, "
        f"peak {anchor['peak_rss_mib']:.0f} MiB, {anchor['anchor_bytes'] / 2**20:.1f} MiB on disk. Its norm is "
        f"{anchor['norm']:.3g}; the cosine between the means of its odd and even steps is "
        f"{show(anchor['half_cosine'], 'half_cosine')}."
    )


def render(results: Mapping[str, Mapping], reading: str) -> str:
    """Return the page."""
    result = results[""]
    parts = [
        "# DBA on real data, small scale",
        "*Written by `python -m benchmarks.real_small.report` from `benchmarks/results/real_small*.json` and "
        "`benchmarks/real_small/reading.md`; edit those.*",
        conditions(result),
        "## Results",
        main_table(result),
        "S_D: weighted F1 on TFNS. S_G: mean accuracy over the counted general sets (marked * below). S: harmonic "
        "mean. Skill kept: accuracy above chance on the counted sets, base = 100. Answer loss: mean over all general "
        "sets of the loss per token on the right answer. Text loss: next token, held-out novels and news.",
    ]
    parts.append(anchor_line(result))
    parts += ["## Reading", fill(reading, results).strip(), "## General sets", general_table(result)]
    for name, other in results.items():
        if name:
            parts += [f"## Sensitivity: {other.get('title', name)}", main_table(other), anchor_line(other)]
            parts += [finance_table(other)]
    parts += ["## Every run", finance_table(result)]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=REPO / "docs" / "real_small.md")
    args = parser.parse_args()
    files = {f.stem.removeprefix("real_small").lstrip("_"): f for f in sorted(RESULTS.glob("real_small*.json"))}
    results = {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items()}
    page = render(results, (HERE / "reading.md").read_text(encoding="utf-8"))
    args.output.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
