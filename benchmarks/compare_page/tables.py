"""The tables of scores and differences in docs/results.md, as Markdown, from one compare.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llamafactory_dba.compare.table import ALL

from .pairs import RECOMMENDED, Gain, best_of, gain, gains, time_ratio
from .source import at_a_time, bases_of, is_plain, title_of
from .template import Measured, show


Found = Mapping[str, Any]
SCORES = ("s_d", "s_g", "s")
NONE = "–"
# "Must reach" of the comparison: what the recommended setting has to beat; of EWC each form that is there
RIVALS = ("direct", "annealing", "lora", "dora", "galore", "ewc")


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; all columns but the first to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def spread(value: Mapping[str, Any] | None) -> str:
    """Mean ± standard deviation over seeds."""
    return NONE if not value else show(Measured(value["mean"], value["std"]))


def difference(value: Mapping[str, Any] | None) -> str:
    """Mean ± standard error."""
    return NONE if not value or value["mean"] is None else show(Measured(value["mean"], value["se"], signed=True))


def plain(found: Found, base: str) -> list[Mapping[str, Any]]:
    """Methods that have a mean over all domains, the best S first."""
    mine = [e for e in found["methods"] if e["base"] == base and is_plain(e) and e["s"]]
    return sorted(mine, key=lambda entry: -entry["s"]["mean"])


def name_of(label: str) -> str:
    """Label as code, the recommended one in bold."""
    return f"**`{label}`**" if label == RECOMMENDED else f"`{label}`"


def what_is(found: Found, entry: Mapping[str, Any]) -> str:
    """Title and paper of a method."""
    about = found["suite"]["methods"].get(entry["method"], {})
    point = f", α = {entry['setting']['alpha']:g}" if "alpha" in entry["setting"] else ""
    return f"{about.get('title') or entry['method']}{point}"


def by_base(found: Found, show_base: Callable[[str], str]) -> str:
    """A part per base model, each with its name; without a name where there is one base."""
    bases = bases_of(found)
    parts = [(base, show_base(base)) for base in bases]
    return "\n\n".join(f"**{title_of(base)}**\n\n{text}" if len(bases) > 1 else text for base, text in parts if text)


def methods(found: Found) -> str:
    """S_D, S_G and S of every method, Δ from the reference, time where runs had the machine to themselves."""
    timed = at_a_time(found) == 1
    deltas = {(d["base"], d["label"]): d for d in found["differences"]}
    reference = found["suite"]["reference"]

    def one(base: str) -> str:
        head = ["method", "what", "S_D", "S_G", "S", "seeds", f"Δ S from `{reference}`", "pairs"]
        rows = []
        before = [entry for entry in found["bases"] if base in (entry["base"], ALL)]
        if before:
            means = [_mean([entry[key] for entry in before]) for key in SCORES]
            rows.append(["–", "base model", *(NONE if m is None else show(m) for m in means), "", "", ""])
        for entry in plain(found, base):
            delta = deltas.get((base, entry["label"]))
            row = [name_of(entry["label"]), what_is(found, entry), *(spread(entry[key]) for key in SCORES)]
            row += [str(entry["s"]["n"]), difference(delta), str(delta["n"]) if delta else ""]
            rows.append(row)
        if timed:
            head.append("time")
            for row, entry in zip(rows[-len(plain(found, base)) :], plain(found, base), strict=True):
                ratio = time_ratio(found, base, entry["label"])
                row.append(f"{ratio[1]:.2f} ({ratio[0]:.2f}–{ratio[2]:.2f})" if ratio else NONE)
            if before:
                rows[0].append("")
        return left(markdown(head, rows), 2)

    return by_base(found, one)


def recommended(found: Found) -> str:
    """The recommended setting minus each other method, with both errors."""

    def one(base: str) -> str:
        items = [item for item in gains(found, base).values() if item is not None]
        if not items:
            return ""
        head = [
            "minus",
            "difference in S",
            "error, pairs",
            "n",
            "error, domains",
            "domains",
            "errors, both",
            "better in",
        ]
        rows = [_gain_row(item) for item in sorted(items, key=lambda item: item.pairs.mean)]
        return markdown(head, rows)

    return by_base(found, one) or f"`{RECOMMENDED}` has no pair with another method yet."


def _gain_row(item: Gain) -> list[str]:
    return [
        f"`{item.label}`",
        f"{item.pairs.mean:+.2f}",
        NONE if item.pairs.se is None else f"{item.pairs.se:.2f}",
        str(item.pairs.n),
        NONE if item.domains.se is None else f"{item.domains.se:.2f}",
        str(item.clusters),
        " / ".join(NONE if d.errors is None else f"{d.errors:+.1f}" for d in (item.pairs, item.domains)),
        f"{item.wins} of {item.pairs.n}",
    ]


def verdict(found: Found) -> str:
    """Whether the recommended setting beats those that it must, by more than two standard errors of both kinds.

    Its variants (``RECOMMENDED_…``) have a column each, on all base models; a rival that the suite also runs at other
    values has a row for each.
    """
    bases = bases_of(found)[::-1]  # all of them first: that is what the verdict is on
    labels = [entry["label"] for entry in found["methods"] if entry["base"] == bases[0] and is_plain(entry)]
    others = [entry["label"] for entry in found["methods"] if entry["base"] == bases[0] and not is_plain(entry)]
    variants = [label for label in labels if label.startswith(f"{RECOMMENDED}_")]
    rows = []
    single = False
    for rival in RIVALS:
        mine = [rival, *(label for label in others if label.startswith(f"{rival} ["))]
        for label in mine:
            items = [gain(found, base, RECOMMENDED, label) for base in bases]
            word = (
                {True: "yes", False: "no", None: "no error known"}[items[0].beaten] if items[0] else _why(found, label)
            )
            single |= items[0] is not None and items[0].clusters == 1
            items += [gain(found, bases[0], variant, label) for variant in variants]
            rows.append([f"`{label}`", word, *(_verdict(item) for item in items)])
    head = ["against", "beaten", *(title_of(base) for base in bases), *(f"`{variant}`" for variant in variants)]
    table = left(markdown(head, rows), 2)
    return f"{table}\n\nOne domain: by pairs alone." if single else table


def _why(found: Found, label: str) -> str:
    if label in found["left_out"]:
        return "left out"
    return "not measured" if label in found["suite"]["methods"] else "not in this suite"


def _verdict(item: Gain | None) -> str:
    if item is None:
        return NONE
    return f"{difference({'mean': item.pairs.mean, 'se': item.pairs.se})} ({_gain_row(item)[6]})"


def mixing(found: Found) -> str:
    """The gap to the best mixing run of each base model."""
    rows = []
    for base in bases_of(found):
        best = best_of(found, base, "mix_")
        item = gain(found, base, RECOMMENDED, best) if best else None
        if best and item:
            entry = next(e for e in found["methods"] if (e["base"], e["label"]) == (base, best))
            rows.append([title_of(base), f"`{best}`", spread(entry["s"]), *_gain_row(item)[1:]])
    head = ["base model", "best mixing", "its S", f"`{RECOMMENDED}` minus it", "error, pairs", "n"]
    head += ["error, domains", "domains", "errors, both", "better in"]
    return left(markdown(head, rows), 2) if rows else "None is done yet."


def domains(found: Found) -> str:
    """S of every method on every domain, with S_D and S_G."""

    def one(base: str) -> str:
        cells = {(c["label"], c["domain"]): c for c in found["cells"] if c["base"] == base and is_plain(c)}
        names = list(dict.fromkeys(domain for _, domain in cells))
        rows = []
        for label in dict.fromkeys(label for label, _ in cells):
            row = [cells.get((label, name)) for name in names]
            if any(cell and cell["s"] for cell in row):
                rows.append([name_of(label), *(_cell(cell) for cell in row)])
        return markdown(["method", *names], rows) if rows else ""

    return by_base(found, one)


def _cell(cell: Mapping[str, Any] | None) -> str:
    if not cell or not cell["s"]:
        return NONE
    return f"{spread(cell['s'])} ({cell['s_d']['mean']:.1f}, {cell['s_g']['mean']:.1f})"


def skills(found: Found) -> str:
    """Mean of each general task, so that no average hides a skill."""

    def one(base: str) -> str:
        entries = plain(found, base)
        tasks = list(dict.fromkeys(task for entry in entries for task in entry["general"]))
        before: dict[str, float | None] = {}
        for task in tasks:
            mine = [e["tasks"] for e in found["bases"] if base in (e["base"], ALL)]
            before[task] = _mean([each[task]["value"] for each in mine if task in each])
        rows = [["base model", *(NONE if (v := before[t]) is None else f"{v:.1f}" for t in tasks), ""]]
        for entry in entries:
            values = [entry["general"].get(task) for task in tasks]
            models = str(entry.get("general_n", entry["n"]))
            rows.append([name_of(entry["label"]), *(NONE if v is None else f"{v:.1f}" for v in values), models])
        return markdown(["method", *(f"`{task}`" for task in tasks), "models"], rows) if tasks else ""

    return by_base(found, one)


def matched(found: Found) -> str:
    """Forgetting at equal domain score: S_G minus that of each curve."""

    def one(base: str) -> str:
        mine = [entry for entry in found["matched"] if entry["base"] == base]
        order = sorted(mine, key=lambda e: (e["curve"], e["mean"] is None, -(e["mean"] or 0.0)))
        rows = []
        for entry in order:
            row = [name_of(entry["label"]), entry["curve"], difference(entry), str(entry["n"])]
            above = f", {entry['above']} learned more" if entry.get("above") else ""
            rows.append([*row, f"{entry['without']}{above}"])
        head = ["method", "curve", "S_G minus the curve's", "pairs", "not reached by the curve"]
        return left(markdown(head, rows), 2) if rows else ""

    return by_base(found, one) or "No curve is done yet."


def left(table: str, columns: int) -> str:
    """A table with so many of its first columns to the left, instead of one."""
    lines = table.split("\n")
    lines[1] = lines[1].replace("---:", "---", columns - 1)
    return "\n".join(lines)


def _mean(values: Sequence[float | None]) -> float | None:
    kept = [value for value in values if value is not None]
    return sum(kept) / len(kept) if kept else None
