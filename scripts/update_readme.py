"""Writes the generated parts of README.md: the table of arguments, and results from benchmarks/results/*.json.

Usage: ``python scripts/update_readme.py`` writes, ``--check`` only says what is out of date (exit status 1). A part
lies between ``<!-- name:begin ... -->`` and ``<!-- name:end -->``; text around it is left alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from llamafactory_dba.arguments import markdown_table
from llamafactory_dba.reporting import demo
from llamafactory_dba.reporting.parts import fill, write_or_check


ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
sys.path.insert(0, str(ROOT))  # `benchmarks` is no installed package

from benchmarks.compare_page.page import readme_section as compare_section  # noqa: E402  needs the line above
from benchmarks.real_small import report as real_small  # noqa: E402


Result = Mapping[str, Any]


def machine(result: Result) -> str:
    """Where and with what the numbers of a result file were made, as far as the file says."""
    where = dict(result["machine"])
    versions = {**result.get("versions", {}), **where.pop("versions", {})}
    versions |= {name: where[name] for name in ("llamafactory-dba", "torch", "transformers") if name in where}
    gpu = where.get("gpu") or (where.get("device") if where.get("device") != "cpu" else None)
    parts = [str(gpu or where.get("cpu") or where["processor"])]
    parts += [] if gpu else [f"{where['cores']} cores"]
    parts += [f"torch on {where['threads']} of them"] if where.get("threads") and not gpu else []
    load = where.get("load_average", where.get("load_before"))
    parts += [f"load average {load:.1f}"] if load is not None and not gpu else []
    parts += [f"Python {where['python']}", *(f"{name} {version}" for name, version in versions.items())]
    return ", ".join(parts)


def demo_section(results: Sequence[Result]) -> str:
    """The tables of `make demo`."""
    return "\n\n".join(f"{demo.table(dict(result)).strip()}\n\nMachine: {machine(result)}." for result in results)


def real_small_section(results: Sequence[Result]) -> str:
    """The headline table; docs/real_small.md has the rest and the reading."""
    (result,) = results
    return (
        f"{real_small.main_table(result)}\n\n{real_small.conditions(result)}\n\n"
        "[docs/real_small.md](docs/real_small.md) says what the columns mean, has every run, and reads the table."
    )


def overhead_section(results: Sequence[Result]) -> str:
    """One row per file: ratio of the two kinds of step with its quartiles, goal, and what the memory was."""
    header = ["what", "model", "tokens", "rank", "ratio (quartiles)", "goal", "r / (3 tokens)", "peak memory", "on"]
    rows, machines = [], {}
    for result in results:
        shape, ratio, memory = result["shape"], result["ratio"], result["memory_bytes"]
        first, second = list(result["seconds"])
        on = machines.setdefault(machine(result), len(machines) + 1)
        processor = f"; of processor time {found['median']:.3f}" if (found := result.get("processor_ratio")) else ""
        rows.append(
            [
                result["benchmark"],
                f"{shape['parameters'] / 1e6:,.0f} M, {shape['dtype']}",
                f"{shape['tokens']:,}",
                str(shape.get("rank", "–")),
                f"{ratio['median']:.3f} ({ratio['q1']:.3f}–{ratio['q3']:.3f}), n = {result['pairs']}{processor}",
                f"≤ {result['goal']['ratio']:g}: {'met' if ratio['median'] <= result['goal']['ratio'] else 'missed'}",
                f"{result['arithmetic_limit']:.2%}" if "arithmetic_limit" in result else "–",
                f"{memory[second] / 2**20:,.0f} MiB instead of {memory[first] / 2**20:,.0f}",
                f"[{on}]",
            ]
        )
    where = "; ".join(f"[{number}] {text}" for text, number in machines.items())
    return f"{real_small.table(header, rows)}\n\nRatio: median over pairs of steps in one process. Machines: {where}."


def import_section(results: Sequence[Result]) -> str:
    """What the extension costs every process that imports torch."""
    (result,) = results
    low, high = result["quartiles_ms"]
    verdict = "met" if result["median_ms"] <= result["goal_ms"] else "missed"
    return (
        f"{result['median_ms']:.2f} ms (quartiles {low:.2f}–{high:.2f}, n = {result['n']}) are added to every "
        f"`import torch`; goal ≤ {result['goal_ms']:g} ms: {verdict}. Python {result['python']}, {result['machine']}."
    )


class Section(NamedTuple):
    """One kind of result: heading, files in benchmarks/results, the command that makes them, how they are shown."""

    title: str
    files: str
    command: str
    show: Callable[[Sequence[Result]], str]


SECTIONS = (
    Section(
        "Every method, micro world",
        "compare_micro.json",
        "llamafactory-dba compare examples/compare/micro.yaml",
        compare_section,
    ),
    Section(
        "Every method, real text",
        "compare_real_small.json",
        "llamafactory-dba compare examples/compare/real_small.yaml",
        compare_section,
    ),
    Section("Offline micro world", "demo*.json", "make demo", demo_section),
    Section("Real text, small model", "real_small.json", "make real-small", real_small_section),
    Section("Cost of a DBA step", "overhead*.json", "make benchmarks", overhead_section),
    Section("Cost where it is not used", "import_cost.json", "make benchmarks", import_section),
)


def command_of(result: Result, command: str) -> str:
    """What to type to get this file again."""
    if result.get("schema", "").startswith("llamafactory-dba/demo/"):
        options = " ".join(f"--{name} {result[name]}" for name in ("base", "domain", "seed"))
        return f'{command} ARGS="{options}"'
    return str(result.get("command", command)).strip()


def results_block(folder: Path) -> str:
    """The results part: one section per kind of result, "not measured yet" where there is no file.

    Args:
        folder: ``benchmarks/results``.
    """
    parts = []
    for section in SECTIONS:
        files = sorted(folder.glob(section.files))
        parts.append(f"### {section.title}")
        if not files:
            parts.append(f"Not measured yet: `{section.command}` does it.")
            continue
        results = [json.loads(file.read_text(encoding="utf-8")) for file in files]
        parts.append(section.show(results))
        made = [
            f"`benchmarks/results/{file.name}` by `{command_of(result, section.command)}`"
            for file, result in zip(files, results, strict=True)
        ]
        parts.append(f"From {', '.join(made)}.")
    return "\n\n".join(parts)


def blocks(results: Path = RESULTS) -> dict[str, str]:
    """Name → text of every generated part."""
    return {"arguments": markdown_table(), "results": results_block(results)}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if something is out of date")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    args = parser.parse_args()
    new = fill(args.readme.read_text(encoding="utf-8"), blocks(), "README.md", gap="")
    write_or_check({args.readme: new}, check=args.check, command="make docs")


if __name__ == "__main__":
    main()
