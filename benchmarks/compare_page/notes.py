"""What docs/results.md says beside the scores: how they were made, cost, rates, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llamafactory_dba.compare.suite import Suite
from llamafactory_dba.compare.table import ALL
from llamafactory_dba.errors import DBAError

from .choice import Axis, Candidate, Choice, own_value
from .source import Source, at_a_time, bases_of, is_plain, title_of
from .tables import NONE, Found, left, markdown, name_of, plain
from .template import show


def about(found: Found, source: Source) -> str:
    """Where the numbers are from."""
    cells = found["cells"]
    done, diverged, missing = (sum(cell[key] for cell in cells) for key in ("n", "diverged", "missing"))
    suite, machine = found["suite"], found["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    places = list(dict.fromkeys(cell["domain"] for cell in cells))
    bases = [base for base in bases_of(found) if base != ALL]
    taken: dict[str, int] = {}
    for run in found["runs"]:
        if file := run.get("taken"):
            taken[file] = taken.get(file, 0) + 1
    earlier = ""
    if taken:
        where = ", ".join(f"{count} ({name})" for name, count in taken.items())
        total = sum(taken.values())
        earlier = f" {total} of them were measured by an earlier call and taken over by the hash of the run: {where}."
    return (
        f"From `benchmarks/results/{source.file}` by `{found.get('command', source.command)}`; suite {suite['name']} "
        f"{suite['version']}, written {found['created'][:10]}. Base models: {', '.join(bases)}. Domains: "
        f"{', '.join(places)}. Seeds: {', '.join(map(str, suite['seeds']))}. Done: {done} of "
        f"{done + diverged + missing} models, {diverged} diverged, {missing} not run or failed.{earlier} "
        f"Machine: {machine['processor']}, {machine['system']}; {versions}."
    )


def missing(found: Found) -> str:
    """Every method that lacks something, with what and why."""
    lines = [f"- `{name}` is left out: {why}." for name, why in found["left_out"].items()]
    counts: dict[str, list[int]] = {}
    for cell in found["cells"]:
        if is_plain(cell):
            entry = counts.setdefault(cell["method"], [0, 0])
            entry[0] += cell["missing"]
            entry[1] += cell["n"] + cell["diverged"] + cell["missing"]
    for some, word in ((False, "not run at all"), (True, "in part")):
        names = [
            f"`{name}`" + (f" ({lacks} of {wanted} missing)" if some else "")
            for name, (lacks, wanted) in counts.items()
            if lacks and (lacks < wanted) is some
        ]
        lines += [f"- {word}: {', '.join(names)}"] if names else []
    diverged = [run for run in found["runs"] if run["state"] == "diverged"]
    lines += [f"- diverged: `{_place(run)}`: {_first(run['error'])}" for run in diverged]
    lines += [f"- failed: `{item['name']}`: {_first(item['error'])}" for item in found["failed"]]
    return "\n".join(lines) if lines else "Nothing: every run of the suite was done, and none diverged."


def _place(run: Mapping[str, Any]) -> str:
    return f"{run['base']}/{run['domain']}/{run['label']}/seed{run['seed']}"


def _first(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "no message"


def cost(found: Found, elastic: Mapping[str, Any] | None, overheads: Sequence[Mapping[str, Any]]) -> str:
    """What can be said of time: by the clock only where one run had the machine, the hooks' own share otherwise.

    Args:
        found: content of compare.json.
        elastic: content of benchmarks/results/elastic.json, whose runs had their hooks timed from within.
        overheads: contents of overhead*.json, in which both kinds of step alternate in one process.
    """
    jobs = at_a_time(found)
    if jobs == 1:
        parts = [
            "Time in the tables above: median (quartiles) over pairs of base, domain and seed of the seconds for "
            f"training and measuring over those of `{found['suite']['reference']}`; runs one at a time."
        ]
    else:
        why = "it is not known how many ran at a time" if jobs is None else f"{jobs} ran at a time"
        parts = [f"The suite's own seconds are not compared: {why}, on a machine with other load."]
    parts.append(_steps(found))
    if elastic is not None:
        shares: dict[str, list[float]] = {}
        for run in elastic["runs"]:
            if run["cost"]["step_overhead"] is not None:
                shares.setdefault(run["method"], []).append(run["cost"]["step_overhead"])
        rows = [
            [name, f"{100 * sum(v) / len(v):.1f}", f"{100 * min(v):.1f}–{100 * max(v):.1f}", str(len(v))]
            for name, v in shares.items()
        ]
        parts.append(
            "Share of the hooks in the time of a run, both measured in the same run, in % of the rest of it "
            f"(`benchmarks/results/elastic.json` by `{elastic['command']}`). A model this small makes it large: the "
            "hooks' work grows with the parameters, that of a step with parameters times tokens."
        )
        parts.append(markdown(["setting", "mean", "range", "runs"], rows))
    if overheads:
        rows = []
        for item in overheads:
            ratio, shape = item["ratio"], item["shape"]
            model = f"{shape['parameters'] / 1e6:,.0f} M, {shape['tokens']:,} tokens"
            rows.append([item["benchmark"], model, f"{ratio['median']:.3f} ({ratio['q1']:.3f}–{ratio['q3']:.3f})"])
        parts.append("Steps that alternate in one process, median (quartiles) of the ratio:")
        parts.append(markdown(["what", "model", "ratio"], rows))
    return "\n\n".join(part for part in parts if part)


def _steps(found: Found) -> str:
    """Optimizer steps relative to the reference's: the same on every machine."""
    steps: dict[str, dict[tuple[str, str], int]] = {}
    labels = {entry["label"] for entry in found["methods"] if not entry["setting"]}
    for run in found["runs"]:
        if run.get("steps") and run["label"] in labels:
            steps.setdefault(run["label"], {})[run["base"], run["domain"]] = run["steps"]
    theirs = steps.get(found["suite"]["reference"], {})
    other = {}
    for label, mine in steps.items():
        ratios = {round(mine[place] / theirs[place], 3) for place in mine if place in theirs}
        if ratios - {1.0}:
            other[label] = sorted(ratios)
    if not theirs:
        return ""
    if not other:
        return f"All methods take as many optimizer steps as `{found['suite']['reference']}`, at the same batch size."
    words = "; ".join(f"`{label}` {', '.join(f'{ratio:g}' for ratio in ratios)}" for label, ratios in other.items())
    return f"Optimizer steps relative to `{found['suite']['reference']}`, where they are not the same: {words}."


def rates(choices: Sequence[Choice], found: Found, file: str, suite: Suite | None) -> str:
    """The grid of each method: what was chosen, whether it lies at an end, and whether the comparison has it.

    Args:
        choices: of the rates suite.
        found: content of its compare.json.
        file: name of that in benchmarks/results.
        suite: the one that is to take what was chosen; None where it is not there in the version that was run.
    """
    rows = []
    for choice in choices:
        for axis in choice.axes:
            ahead = NONE if axis.ahead is None else show(axis.ahead)
            grid = ", ".join(_grid_value(item, axis) for item in axis.grid)
            rows.append([f"`{choice.method}`", f"`{axis.key}`", grid, ahead, _end(axis), _taken(suite, choice, axis)])
    head = ["method", "key", "value: mean S", "ahead of the next", "at an end", "in the suite"]
    seeds = ", ".join(map(str, found["suite"]["seeds"]))
    notes = [
        f"From `benchmarks/results/{file}`, suite {found['suite']['name']} {found['suite']['version']}, seed {seeds}."
    ]
    untried = [f"`{c.method}` ({', '.join(f'`{key}`' for key in c.untried)})" for c in choices if c.untried]
    if untried:
        where = ", ".join(untried)
        notes.append(
            f"Best away from the rates suite's own value in several keys, which were not tried together: {where}."
        )
    if found["left_out"]:
        notes.append(f"Left out: {', '.join(f'`{name}`' for name in found['left_out'])}.")
    if suite is not None:
        known = {choice.method for choice in choices} | set(found["left_out"])
        others = [f"`{name}`" for name, method in suite.methods.items() if name not in known and not method.of]
        if others:
            where = f"`examples/compare/{suite.name}.yaml` says what they take"
            notes.append(f"Without a grid of their own ({where}): {', '.join(others)}.")
    return f"{left(markdown(head, rows), 3)}\n\n{' '.join(notes)}"


def _grid_value(item: Candidate, axis: Axis) -> str:
    """Value and mean S; the chosen one in bold, an incomplete one with its number of cells."""
    name = f"**{item.value:g}**" if item.value == axis.chosen else f"{item.value:g}"
    cells = "" if item.whole else f" ({len(item.cells)} of {item.wanted} cells)"
    return f"{name}: {NONE if item.s is None else show(item.s)}{cells}"


def _taken(suite: Suite | None, choice: Choice, axis: Axis) -> str:
    """What the comparison itself uses, and whether that is the choice."""
    if suite is None or choice.method not in suite.methods:
        return NONE
    try:
        value = own_value(suite, choice.method, axis.key)
    except DBAError:
        return "differs between domains"
    same = choice.label is None or value == choice.keys[axis.key]
    return f"{value:g}" if same else f"{value:g}, **not the choice**"


def _end(axis: Axis) -> str:
    if axis.chosen is None:
        return "nothing chosen yet"
    return f"**{axis.end} end**" if axis.end else "no"


def readme(found: Found) -> str:
    """The part of README.md: base models beside each other, S with S_D and S_G, and where the rest is."""
    bases = bases_of(found)
    entries = {
        (base, entry["label"]): entry
        for base in bases
        for entry in plain(found, base)
        if "alpha" not in entry["setting"]
    }
    order = list(dict.fromkeys(label for base in reversed(bases) for place, label in entries if place == base))
    rows = []
    for label in order:
        mine = [entries.get((base, label)) for base in bases]
        seeds = sorted({str(entry["s"]["n"]) for entry in mine if entry})
        rows.append([name_of(label), *(_short(entry) for entry in mine), ", ".join(seeds)])
    head = ["method", *(f"{title_of(base)}: S (S_D, S_G)" for base in bases), "seeds"]
    wanted, n = len(found["suite"]["seeds"]), sum(cell["n"] for cell in found["cells"])
    return (
        f"{markdown(head, rows)}\n\nIn %, means over domains; ± is the standard deviation over seeds, of which the "
        f"suite has {wanted}; {n} models are done. Bold: the setting recommended where there is no general data at "
        "training time. Differences with their errors, rates, domains and the reading: "
        "[docs/results.md](docs/results.md)."
    )


def _short(entry: Mapping[str, Any] | None) -> str:
    if not entry:
        return NONE
    s = entry["s"]
    error = "" if s["std"] is None else f" ± {s['std']:.1f}"
    return f"{s['mean']:.1f}{error} ({entry['s_d']['mean']:.1f}, {entry['s_g']['mean']:.1f})"
