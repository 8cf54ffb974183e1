"""Writes what a comparison found: compare.json, table.md, report.html. Every number comes from the statuses."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..errors import DBAError
from ..files import write_file
from .matched import matched_of
from .plan import Plan
from .state import DONE, Status
from .statistics import Point
from .table import ALL, FORMAT, FORMAT_VERSION, SCORES, cells_of, differences_of, methods_of, rows_of
from .wording import Failure


JSON, TABLE, REPORT = "compare.json", "table.md", "report.html"
TOOLS = ("llamafactory-dba", "llamafactory", "torch", "transformers", "peft", "lm_eval")


def summarise(plan: Plan, statuses: Mapping[str, Status], failures: Sequence[Failure]) -> dict[str, Any]:
    """Content of compare.json."""
    suite = plan.suite
    rows = rows_of(plan, statuses)
    bases = list(suite.bases)
    reference = suite.reference or next(name for name in suite.methods)
    base_scores = []
    points = {}
    for base in plan.bases:
        status = statuses.get(base.folder)
        if status is None or status.state != DONE:
            continue
        base_scores.append(
            {"base": base.base, "domain": base.domain, **status.scores, "results": f"{base.folder}/results.json"}
        )
        if status.scores["s_d"] is not None and status.scores["s_g"] is not None:
            points[base.base, base.domain] = Point(status.scores["s_d"], status.scores["s_g"])
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "suite": {
            "name": suite.name,
            "version": suite.version,
            "title": suite.title,
            "reference": reference,
            "seeds": list(suite.seeds),
            "methods": {name: {"title": m.title, "paper": m.paper} for name, m in suite.methods.items()},
        },
        "bases": base_scores,
        "methods": methods_of(rows, bases),
        "differences": differences_of(rows, bases, reference),
        "matched": matched_of(rows, points, plan),
        "cells": cells_of(rows),
        "runs": [asdict(row) for row in rows],
        "left_out": dict(plan.left_out),
        "failed": [{"name": item.name, "error": item.error} for item in failures],
        "machine": {"processor": _processor(), "system": f"{platform.system()} {platform.machine()}"},
        "versions": _versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write_tables(found: Mapping[str, Any], out: Path) -> None:
    """Write compare.json and table.md."""
    write_file(out / JSON, json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    write_file(out / TABLE, table(found))


def write_outputs(found: Mapping[str, Any], plan: Plan, out: Path) -> list[str]:
    """Write the three files; returns notes on what could not be shown."""
    write_tables(found, out)
    # the plan's own folders alone: what is stale is in no table and on no page
    folders = [out / row["results"] for row in found["runs"] if row["results"] and row["alpha"] is None]
    folders += sorted({(out / row["results"]).parents[1] for row in found["runs"] if row["results"] and row["alpha"]})
    if not folders:
        return ["no run was made here, so there is no report page"]
    from ..reporting.page.collect import collect
    from ..reporting.page.write import to_html

    try:
        page = collect(folders)
        write_file(out / REPORT, to_html(page))
    except DBAError as error:
        return [f"no report page: {error}"]
    return list(page.notes)


def table(found: Mapping[str, Any]) -> str:
    """The results as Markdown."""
    suite = found["suite"]
    lines = [f"# {suite['title'] or suite['name']}", ""]
    lines += [
        f"Suite {suite['name']} {suite['version']}, seeds {', '.join(map(str, suite['seeds']))}. Scores in %, mean ± "
        f"standard deviation over seeds of the mean over domains. Δ: difference in S from `{suite['reference']}` over "
        "pairs of domain and seed ± standard error (bootstrap over the pairs). Diverged runs are counted, "
        "not averaged.",
    ]
    kinds = list(dict.fromkeys(entry["base"] for entry in found["methods"]))
    for base in kinds:
        lines += ["", f"## {'All base models' if base == ALL else base}", ""]
        lines += _methods(found, base)
    lines += ["", "## By domain (S)", "", *_cells(found)]
    if found["matched"]:
        lines += ["", "## At equal domain score", ""]
        lines += [
            "S_G of a method minus S_G of a curve of models at the method's own S_D, ± standard error, n pairs; above "
            "0 the method forgets less. Without: pairs whose S_D the curve does not reach.",
            "",
            "| base | curve | method | ΔS_G | n | without |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {m['base']} | {m['curve']} | {m['label']} | {_delta(m)} | {m['n']} | {m['without']} |"
            for m in found["matched"]
        ]
    for title, items in (
        ("Left out", found["left_out"].items()),
        ("Failed", [tuple(f.values()) for f in found["failed"]]),
    ):
        if items:
            lines += ["", f"## {title}", ""]
            lines += [f"- {name}: {why.splitlines()[0] if why else ''}" for name, why in items]
    return "\n".join(lines) + "\n"


def _methods(found: Mapping[str, Any], base: str) -> list[str]:
    differences = {(d["base"], d["label"]): d for d in found["differences"]}
    lines = [
        "| method | S_D | S_G | S | Δ S | n | diverged | missing | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    before = [entry for entry in found["bases"] if base in (entry["base"], ALL)]
    if before:
        means = {key: _mean([entry[key] for entry in before]) for key in SCORES}
        lines.append(f"| base model | {' | '.join(_number(means[key]) for key in SCORES)} | | | | | |")
    for entry in found["methods"]:
        if entry["base"] != base:
            continue
        delta = differences.get((base, entry["label"]))
        cells = [_spread(entry[key]) for key in SCORES]
        cells += [_delta(delta) if delta else "", *(str(entry[key]) for key in ("n", "diverged", "missing"))]
        cells.append(_number(entry["seconds"]["mean"], 0) if entry["seconds"] else "")
        lines.append(f"| {entry['label']} | {' | '.join(cells)} |")
    return lines


def _cells(found: Mapping[str, Any]) -> list[str]:
    columns = list(dict.fromkeys((cell["base"], cell["domain"]) for cell in found["cells"]))
    by = {(cell["label"], cell["base"], cell["domain"]): cell for cell in found["cells"]}
    lines = [
        f"| method | {' | '.join(f'{domain}, {base}' for base, domain in columns)} |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for label in dict.fromkeys(cell["label"] for cell in found["cells"]):
        cells = []
        for base, domain in columns:
            cell = by.get((label, base, domain))
            text = _spread(cell["s"]) if cell else ""
            cells.append(text + (f" ({cell['diverged']} diverged)" if cell and cell["diverged"] else ""))
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return lines


def _spread(value: Mapping[str, Any] | None) -> str:
    if value is None:
        return "–"
    return _number(value["mean"]) + ("" if value["std"] is None else f" ± {_number(value['std'])}")


def _delta(value: Mapping[str, Any]) -> str:
    if value["mean"] is None:
        return "no overlap" if "curve" in value else "–"
    return f"{value['mean']:+.2f}" + ("" if value["se"] is None else f" ± {value['se']:.2f}")


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _mean(values: Sequence[float | None]) -> float | None:
    kept = [value for value in values if value is not None]
    return sum(kept) / len(kept) if kept else None


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        return next(line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in TOOLS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
