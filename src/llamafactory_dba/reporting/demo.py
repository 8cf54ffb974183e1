"""Table and plot of the demo. Reads results, computes nothing."""

from pathlib import Path
from typing import Any


def table(results: dict[str, Any]) -> str:
    """The results as two Markdown tables: scores, and what they cost."""
    skills = list(results["records"][0]["general"])
    base, *runs = results["records"]
    lines = [
        f"Micro world, domain **{results['domain']}** (chance {results['domain_chance']:.0f} %, "
        f"n = {base['n_domain']}), {results['base']}, seed {results['seed']}; "
        f"accuracy in %, n = {min(base['n_per_skill'].values())} per general skill.",
        "",
        "| model | S_D | " + " | ".join(skills) + " | S_G | S | ΔS_D | ΔS_G | ΔS |",
        "|---|" + "---:|" * (len(skills) + 6),
    ]
    for record in results["records"]:
        cells = [record["s_d"], *(record["general"][skill] for skill in skills), record["s_g"], record["s"]]
        delta = record.get("delta")
        changes = [f"{delta[key]:+.1f}" for key in ("s_d", "s_g", "s")] if delta else ["", "", ""]
        lines.append(f"| {record['name']} | " + " | ".join([f"{cell:.1f}" for cell in cells] + changes) + " |")

    anchor = results["anchor"]
    lines += [
        "",
        "| run | seconds | peak memory MB | anchor bytes | unparsed answers (domain, general) |",
        "|---|---:|---:|---:|---|",
        f"| anchor | {anchor['seconds']:.1f} | {anchor['peak_memory_bytes'] / 1e6:.0f} | {anchor['bytes']:,} | |",
    ]
    lines += [
        f"| {run['name']} | {run['seconds']:.1f} | {run['peak_memory_bytes'] / 1e6:.0f} | "
        f"{run.get('anchor_bytes', 0):,} | {run['unparsed_domain']}, {run['unparsed_general']} |"
        for run in runs
    ]
    lines += ["", f"{results['seconds_total']:.0f} s in total, with the program starts and the evaluations.", ""]
    return "\n".join(lines)


def plot(results: dict[str, Any], path: Path) -> None:
    """Domain score against general score, one point a model: up and right is better."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(5.5, 4.5))
    for record in results["records"]:
        axis.scatter(record["s_g"], record["s_d"], s=60, label=f"{record['name']}: S = {record['s']:.1f}")
    axis.axhline(results["domain_chance"], color="grey", linewidth=0.8, linestyle=":")
    axis.set(xlim=(0, 102), ylim=(0, 102), xlabel="general skills, S_G in %", ylabel=f"{results['domain']}, S_D in %")
    axis.set_title(f"Micro world: {results['domain']} on {results['base']}")
    axis.legend(loc="lower left", fontsize=8)
    axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
