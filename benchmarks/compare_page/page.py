"""docs/results.md from docs/results.template.md and the JSON files: tables as ``{{ SUITE.tables.NAME }}``.

NAME is one of about, methods, recommended, verdict, mixing, domains, skills, matched, losses, hooks, cost, rates,
missing, figures, or ``all``: those of `SECTIONS` with headings; the sweeps, and what stands aside, have ``all`` alone.
Where a suite was not run yet, each says so with the command, and every other key of it is unknown. Comments of the
template are notes to whoever writes it; they are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llamafactory_dba.compare.suite import Suite
from llamafactory_dba.errors import DBAError

from . import figures, hooks, losses, more_seeds, notes, sweeps, tables
from .choice import Choice, choose
from .facts import facts_of, facts_of_rates
from .pairs import RECOMMENDED
from .source import ASIDE, RESULTS, ROOT, SOURCES, SWEEPS, Source, find_suite, read_all
from .template import Value, render, typed_figures


TEMPLATE = ROOT / "docs" / "results.template.md"
PAGE = ROOT / "docs" / "results.md"
FIGURES = ROOT / "docs" / "figures"
HEADER = (
    "<!-- written by `make docs` from docs/results.template.md and benchmarks/results/compare_*.json: edit these -->"
)
COMMENT = re.compile(r"<!--.*?-->\n*", re.DOTALL)
TABLES: dict[str, Callable[[tables.Found], str]] = {
    "methods": tables.methods,
    "recommended": tables.recommended,
    "verdict": tables.verdict,
    "mixing": tables.mixing,
    "domains": tables.domains,
    "skills": tables.skills,
    "matched": tables.matched,
    "losses": losses.table,
    "hooks": hooks.table,
    "missing": notes.missing,
}
OTHERS = ("about", "cost", "rates", "figures")
HOOKS = (
    "What the hooks on the optimizer take, in % of the rest of the steps of the same run, over the runs that measured "
    "it (those of older files did not)."
)
MINUS = (
    "S over the pairs of base, domain and seed that both have, worst first. Errors both: difference by standard "
    "error, from a bootstrap over pairs and from one over domains."
)
# heading, table, what has to be known to read it
SECTIONS = (
    ("Scores", "methods", "Sorted by S. ± is the standard deviation over seeds; Δ has its standard error over pairs."),
    ("The recommended setting minus each other", "recommended", MINUS),
    (
        "What it must beat",
        "verdict",
        "Difference in S ± error over pairs (standard errors by pairs / by domains). Yes: more than two by both.",
    ),
    ("The best mixing run", "mixing", "It sees general data in every step, which the recommended setting does not."),
    (
        "Forgetting at equal domain score",
        "matched",
        "Above 0: the method kept more than the curve where both learned as much.",
    ),
    (
        "By loss",
        "losses",
        "Nats per token, lower is better, ± over models: right answers of the domain; right answers of all general "
        "sets, also those on which the base model is at chance and which are in no S_G; held-out plain text.",
    ),
    ("By domain", "domains", "S (S_D, S_G)."),
    (
        "By skill",
        "skills",
        "Accuracy of each general task, over the models whose tasks are known: older files lack them.",
    ),
    (
        "Time of the hooks",
        "hooks",
        HOOKS,
    ),
    ("What is missing", "missing", ""),
)


def all_facts(folder: Path = RESULTS) -> dict[str, Value]:
    """Every key of the template: tables and figures of each suite.

    Args:
        folder: ``benchmarks/results``.

    Raises:
        DBAError: a file is damaged, or a rates suite was not found.
    """
    found = read_all(folder)
    facts: dict[str, Value] = {}
    for source in SOURCES:
        facts |= {f"{source.name}.tables.{name}": text for name, text in _tables(source, found, folder).items()}
        if source.name in found:
            facts |= _facts(found[source.name], source.name)
        if source.rates in found:
            facts |= facts_of_rates(_choices(found, source, folder), source.rates)
    for source in ASIDE:
        facts[f"{source.name}.tables.all"] = _aside(source, found, folder)
        if source.name in found:
            facts |= _facts(found[source.name], source.name)
        if source.name in found and source.repeats in found:
            mine, first = found[source.name], found[source.repeats]
            facts |= more_seeds.facts(mine, source.name)
            facts |= more_seeds.facts(more_seeds.together(mine, first), f"{source.name}.together")
    return facts | {f"{SWEEPS.name}.tables.all": _sweeps(found, folder)}


def _facts(found: tables.Found, name: str) -> dict[str, Value]:
    return facts_of(found, name) | losses.facts(found, name) | hooks.facts(found, name)


def _tables(source: Source, found: Mapping[str, Any], folder: Path) -> dict[str, str]:
    texts = dict.fromkeys((*TABLES, *OTHERS, "all"), source.absent)
    if source.rates in found:
        suite = _suite(found, source, folder)
        file = f"compare_{source.rates}.json"
        texts["rates"] = notes.rates(_choices(found, source, folder), found[source.rates], file, suite)
    else:
        texts["rates"] = (
            f"There is no `benchmarks/results/compare_{source.rates}.json`; what the rates are from stands in "
            f"`examples/compare/{source.name}.yaml`."
        )
    if source.name not in found:
        return texts
    mine = found[source.name]
    texts |= {name: make(mine) for name, make in TABLES.items()}
    elastic = _content(folder / "elastic.json")
    overheads = [content for path in sorted(folder.glob("overhead*.json")) if (content := _content(path))]
    pictures = [figures.path_of(Path("figures"), source.name, kind).as_posix() for kind in figures.KINDS]
    texts["about"] = notes.about(mine, source)
    texts["cost"] = notes.cost(mine, elastic, overheads)
    texts["figures"] = (
        f"![S_D against S_G]({pictures[0]})\n\nCrosses: standard deviation over seeds. Grey curves: equal S. Dashed: "
        f"weights between base model and `{mine['suite']['reference']}`.\n\n![mean S]({pictures[1]})\n\n"
        "In brackets: number of seeds."
    )
    parts = [texts["about"], texts["figures"]]
    for title, name, note in SECTIONS:
        if not texts[name]:
            continue  # no losses, or no skills
        parts += [f"### {title} ({source.name})", *([note] if note else []), texts[name]]
    texts["all"] = "\n\n".join(parts)
    return texts


def _aside(source: Source, found: Mapping[str, Any], folder: Path) -> str:
    """Scores; and where the suite varies a setting, what was best, method by method."""
    if source.name not in found:
        return source.absent
    mine = found[source.name]
    parts = [notes.about(mine, source), tables.methods(mine)]
    if source.repeats:
        parts += more_seeds.tables(mine, found.get(source.repeats))
    elif RECOMMENDED in mine["suite"]["methods"]:
        parts += [f"`{RECOMMENDED}` minus each other: {MINUS}", tables.recommended(mine)]
        parts += ["By domain, S (S_D, S_G):", tables.domains(mine)]
    suite = _suite(found, source, folder)
    if suite is not None and suite.sweeps:
        parts.append(notes.rates(choose(mine, suite), mine, source.file, suite))
    if table := hooks.table(mine):
        parts += [f"Time of the hooks: {HOOKS[0].lower()}{HOOKS[1:]}", table]
    return "\n\n".join(parts)


def _sweeps(found: Mapping[str, Any], folder: Path) -> str:
    if SWEEPS.name not in found:
        return SWEEPS.absent
    mine = found[SWEEPS.name]
    suite = find_suite(mine, folder / SWEEPS.name)
    parts = [notes.about(mine, SWEEPS), f"In common: {_common(suite)}.", sweeps.table(mine, suite)]
    return "\n\n".join(parts)


def _common(suite: Suite) -> str:
    return "; ".join(
        f"`{name}` " + ", ".join(f"{key} {value:g}" for key, value in method.keys.items() if isinstance(value, float))
        for name, method in suite.methods.items()
    )


def _choices(found: Mapping[str, Any], source: Source, folder: Path) -> list[Choice]:
    content = found[source.rates]
    return choose(content, find_suite(content, folder / source.rates))


def _suite(found: Mapping[str, Any], source: Source, folder: Path) -> Suite | None:
    """The suite of the comparison itself; None where it was not run, or its file has another version by now."""
    try:
        return find_suite(found[source.name], folder / source.file) if source.name in found else None
    except DBAError:
        return None


def _content(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def page(template: str, facts: Mapping[str, Value]) -> str:
    """The page.

    Raises:
        DBAError: see `template.render`; or figures were typed by hand.
    """
    template = COMMENT.sub("", template)
    typed = typed_figures(template)
    if typed:
        raise DBAError(
            "Figures stand in the template itself.",
            expected="{{ KEY }}: what is measured comes from the JSON files",
            found="; ".join(typed),
            next_step="`python scripts/update_results.py --keys PART` lists keys",
        )
    return f"{HEADER}\n\n{render(template, facts).lstrip()}"


def readme_section(results: Sequence[Mapping[str, Any]]) -> str:
    """The part of README.md for one suite."""
    (result,) = results
    return notes.readme(result)


def draw_all(folder: Path = RESULTS, to: Path = FIGURES) -> list[Path]:
    """Draw the figures that are not of the present numbers.

    Returns:
        The files written.
    """
    written = []
    for path, found, name in out_of_date(folder, to):
        if path not in written:
            written += figures.draw(found, name, to)
    return written


def out_of_date(folder: Path = RESULTS, to: Path = FIGURES) -> list[tuple[Path, Mapping[str, Any], str]]:
    """Figures that are missing or of other numbers, with the comparison and its name."""
    found = read_all(folder)
    return [
        (path, found[source.name], source.name)
        for source in SOURCES
        if source.name in found
        for kind in figures.KINDS
        if not (path := figures.path_of(to, source.name, kind)).is_file()
        or f"data {figures.digest(found[source.name])}" not in path.read_text(encoding="utf-8")
    ]
