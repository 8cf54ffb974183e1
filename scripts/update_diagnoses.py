"""Writes the tables of docs/diagnoses.md from benchmarks/results/diagnose.json.

Usage: ``python scripts/update_diagnoses.py`` writes, ``--check`` only says what is out of date (exit status 1). Text
outside the markers is left alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llamafactory_dba.reporting.parts import fill, write_or_check


ROOT = Path(__file__).resolve().parents[1]
DOCUMENT, RESULT = ROOT / "docs" / "diagnoses.md", ROOT / "benchmarks" / "results" / "diagnose.json"
KINDS = {"unseen rows": "unseen rows", "seen rows": "seen rows", "matrices": "other matrices"}
PARTS = {"domain": "domain gradient", "loud": "anchor, where it is smaller", "quiet": "anchor, where it is larger"}

Content = dict[str, Any]
Runs = list[dict[str, Any]]


def cells(content: Content) -> dict[tuple[str, str], Runs]:
    """The runs by base and domain, in the order of the file."""
    found: dict[tuple[str, str], Runs] = {}
    for run in content["runs"]:
        found.setdefault((run["base"], run["domain"]), []).append(run)
    return dict(sorted(found.items()))


def named(runs: Runs, name: str) -> Runs:
    """Those of this name."""
    return [run for run in runs if run["run"] == name]


def mean(runs: Runs, take: Callable[[dict[str, Any]], float], form: str = ".1f") -> str:
    """Mean over seeds, and its standard deviation where there are several."""
    values = [take(run) for run in runs]
    spread = f" ± {format(statistics.stdev(values), form)}" if len(values) > 1 else ""
    return format(statistics.fmean(values), form) + spread


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """As Markdown."""
    lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def scores(
    content: Content, part: str, extra: Sequence[tuple[str, Callable[[dict[str, Any]], float], str]] = ()
) -> str:
    """S_D, S_G, S and the general loss of an experiment's runs; ``extra``: further columns (title, value, format)."""
    header = ["base", "domain", "run", "n", "S_D", "S_G", "S", "general loss", *(title for title, _, _ in extra)]
    rows = []
    for (base, domain), runs in cells(content).items():
        for name in content["experiments"][part]:
            if not (chosen := named(runs, name)):
                continue
            values = [mean(chosen, lambda run, key=key: run[key]) for key in ("s_d", "s_g", "s")]  # type: ignore[misc]
            values.append(mean(chosen, lambda run: run["general"]["answers"], ".2f"))
            values += [mean(chosen, take, form) for _, take, form in extra]
            rows.append([base, domain, name, str(len(chosen)), *values])
    return table(header, rows)


def conditions(content: Content) -> str:
    """Where it was measured, and what the base models are like."""
    where, runs = content["machine"], content["runs"]
    rows = [
        [base, f"{facts['s_g']:.1f}", f"{facts['general']['answers']:.2f}", f"{facts['half_cosine']:.2f}"]
        for base, facts in sorted(content["bases"].items())
    ]
    one = [run["cpu_seconds"] for run in runs if run["cpu_seconds"]]
    return "\n".join(
        [
            table(["base", "S_G", "general loss", "half cosine of the anchor"], rows),
            "",
            f"By `{content['command']}`: {len(runs)} runs of {min(r['steps'] for r in runs)} to "
            f"{max(r['steps'] for r in runs)} steps, {statistics.fmean(one):.0f} s of processor time each, "
            f"{sum(one) / 60:.0f} minutes together. {where['processor']}, one core, Python {where['python']}, "
            f"torch {where['torch']}, transformers {where['transformers']}, llamafactory {where['llamafactory']}.",
        ]
    )


def push(content: Content) -> str:
    """The controls, and what the parts of GGB's change did."""
    rows, facts = [], []
    for (base, domain), runs in cells(content).items():
        chosen = [run["split"] for run in named(runs, "ggb") if "split" in run]
        for name, title in PARTS.items():
            if chosen:
                values = {
                    key: statistics.fmean(item["parts"][name][key] for item in chosen)
                    for key in ("change", "rise", "without")
                }
                rise = statistics.fmean(item["rise"] for item in chosen)
                shares = [f"{values['change']:.0%}", f"{values['rise']:+.2f}", f"{values['without']:.2f}"]
                rows.append([base, domain, title, *shares, f"{rise:+.2f}"])
        for item in chosen:
            facts.append(
                f"{base}, {domain}: domain gradient exactly zero in {item['zero_entries']:.1e} of all entries; "
                f"norm below a quarter of its first in {item['small_steps']} steps (quartiles "
                f"{', '.join(f'{x:.2f}' for x in item['grad_norms'])}; the anchor's {item['anchor_norm']:.3f})."
            )
    header = ["base", "domain", "part of GGB's change", "of the change", "rise", "loss without it", "whole rise"]
    return "\n\n".join([scores(content, "push"), table(header, rows), "\n".join(f"- {fact}" for fact in facts)])


def rows(content: Content) -> str:
    """Movement by kind of weight, and the unseen rows' part of the rise."""

    def moved(kind: str) -> tuple[str, Callable[[dict[str, Any]], float], str]:
        return f"{KINDS[kind]} moved", lambda run: run["movement"][kind], ".2f"

    facts = []
    for (base, domain), runs in cells(content).items():
        for run in named(runs, "ggb"):
            by_kind = [part["rise_by_kind"].get("unseen rows", 0.0) for part in run["split"]["parts"].values()]
            facts.append(
                f"{base}, {domain}: {run['movement']['rows_unseen']} rows unseen by the domain, "
                f"{run['movement']['rows_unseen_general']} of them in the general questions; they make "
                f"{sum(by_kind):+.2f} of GGB's rise of {run['split']['rise']:+.2f}."
            )
    return "\n\n".join([scores(content, "rows", [moved(kind) for kind in KINDS]), "\n".join(f"- {x}" for x in facts)])


def factor(content: Content) -> str:
    """DC's factor, and how alike the changes of the weights are."""
    found = []
    for (base, domain), runs in cells(content).items():
        for run in [*named(runs, "dc"), *named(runs, "dba")]:
            low, high = run["factor_range"]
            spread = [f"{run['mean_factor']:.2f}", f"{run['factor_std']:.2f}", f"{low:.2f}–{high:.2f}"]
            found.append([base, domain, run["run"], f"{run['similarity']:.3f}", *spread])
    header = ["base", "domain", "run", "mean similarity", "mean λ", "its deviation", "its range"]
    alike = [
        [p["base"], p["domain"], p["run"], other(p), f"{p['cosine']:.3f}", f"{p['length_ratio']:.2f}"]
        for p in content["pairs"]
    ]
    second = ["base", "domain", "change of", "against", "cosine", "ratio of lengths"]
    return "\n\n".join([scores(content, "factor"), table(header, found), table(second, alike)])


def other(pair: dict[str, Any]) -> str:
    """What a change is held against."""
    return pair["with"] if pair["seed"] == pair["with_seed"] else f"{pair['with']}, another seed"


def content_of(content: Content) -> str:
    """Real anchor and others."""
    return scores(content, "content")


def stop(content: Content) -> str:
    """Predictions at the end, where they turn, and the controls."""
    rows = []
    for (base, domain), runs in cells(content).items():
        for run in named(runs, "ggb"):
            last, base_loss = run["predicted"][-1], run["measured"][0][1]
            curves = {
                "factored": [[line[0], line[1] + line[2]] for line in run["predicted"]],
                "Kronecker": [[line[0], line[1] + line[3]] for line in run["predicted"]],
                "second order, exact": [[line[0], line[1] + line[2]] for line in run["expanded"]],
                "measured": [[step, loss - base_loss] for step, loss in run["measured"]],
            }
            terms = {
                "factored": (last[1], last[2]),
                "Kronecker": (last[1], last[3]),
                "second order, exact": tuple(run["expanded"][-1][1:]),
            }
            for name, curve in curves.items():
                lowest = min([[0, 0.0], *curve], key=lambda item: item[1])
                parts = [signed(x) for x in terms[name]] if name in terms else ["–", "–"]
                values = [signed(curve[-1][1]), signed(lowest[1]), f"{lowest[0]:.0f} of {run['steps']}"]
                rows.append([base, domain, name, *parts, *values])
    header = ["base", "domain", "general loss by", "first order", "second", "at the end", "lowest", "at step"]
    return "\n\n".join(
        [
            table(header, rows),
            scores(content, "stop"),
            "\n".join(
                f"- {run['base']}, {run['domain']}, {run['run']}: "
                + ("never ended, so it is GGB." if run["turned"] is None else f"boost ended at step {run['turned']}.")
                for run in content["runs"]
                if run["run"].startswith("ggb, stop")
            ),
        ]
    )


def signed(value: float) -> str:
    """Two decimals, or more where that would be zero."""
    return f"{value:+.2f}" if abs(value) >= 0.01 or not value else f"{value:+.1g}"


def embeddings(content: Content) -> str:
    """Frozen embeddings."""
    return scores(content, "embeddings")


SECTIONS: dict[str, Callable[[Content], str]] = {
    "conditions": conditions,
    "push": push,
    "rows": rows,
    "factor": factor,
    "content": content_of,
    "stop": stop,
    "embeddings": embeddings,
}


def document(text: str, content: Content) -> str:
    """docs/diagnoses.md with its generated parts.

    Raises:
        ValueError: a part's markers are missing or occur twice.
    """
    return fill(text, {name: make(content) for name, make in SECTIONS.items()}, "docs/diagnoses.md")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if something is out of date")
    args = parser.parse_args()
    new = document(DOCUMENT.read_text(encoding="utf-8"), json.loads(RESULT.read_text(encoding="utf-8")))
    write_or_check({DOCUMENT: new}, check=args.check, command="python scripts/update_diagnoses.py")


if __name__ == "__main__":
    main()
