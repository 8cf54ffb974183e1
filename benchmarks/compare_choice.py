"""Which learning rate, strength or other swept value each method of a comparison takes: the one with the best mean S.

    python -m benchmarks.compare_choice runs/compare/micro_rates/compare.json
    python -m benchmarks.compare_choice benchmarks/results/compare_micro_rates.json --out choice.json

`compare_page/choice.py` says how it is chosen. The suite file is needed for a method's own value of a key: by default
``suite.yaml`` beside the JSON, else ``examples/compare/NAME.yaml`` of the same version.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any


ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # so that it can be called as a file, too

from benchmarks.compare_page.choice import Candidate, Choice, choose, is_number  # noqa: E402
from benchmarks.compare_page.source import find_suite  # noqa: E402
from llamafactory_dba.compare.suite import read_suite  # noqa: E402
from llamafactory_dba.compare.table import read_comparison  # noqa: E402
from llamafactory_dba.errors import DBAError  # noqa: E402
from llamafactory_dba.files import write_file  # noqa: E402


def show(choices: Sequence[Choice], left_out: Mapping[str, str]) -> str:
    """The choices as text for a terminal."""
    lines = []
    for choice in choices:
        keys = ", ".join(f"{key}: {show_value(value)}" for key, value in choice.keys.items())
        what = f"{keys}   mean S {choice.s:.2f}" if choice.s is not None else "no value has all cells yet"
        lines.append(f"{choice.method}: {what}")
        if not any(item.cells for axis in choice.axes for item in axis.grid):
            continue
        for axis in choice.axes:
            lines.append(f"  {axis.key:<22} {'S':>6} {'S_D':>6} {'S_G':>6}  cells")
            for item in axis.grid:
                numbers = " ".join(
                    f"{number:6.2f}" if number is not None else f"{'–':>6}" for number in (item.s, item.s_d, item.s_g)
                )
                cells = ", ".join(f"{name} {value:.1f}" for name, value in item.cells.items())
                mark = ">" if item.value == axis.chosen else " "
                lines.append(f"{mark} {show_value(item.value):<22} {numbers}  {cells}{_lacks(item)}")
            if axis.end:
                lines.append(f"  ! best at the {axis.end} end of the grid of {axis.key}")
            if not all(item.whole for item in axis.grid):
                lines.append("  ! values without all cells cannot be chosen")
        if choice.untried:
            lines.append(
                f"  ! {' and '.join(choice.untried)} are each best away from the suite's value; not tried together"
            )
    lines += [f"{method}: left out, {why}" for method, why in left_out.items()]
    return "\n".join(lines)


def show_value(value: Any) -> str:
    """As it is written in a suite, numbers short."""
    return f"{value:g}" if is_number(value) else str(value)


def _lacks(item: Candidate) -> str:
    parts = [f"{len(item.cells)} of {item.wanted} cells"] if len(item.cells) != item.wanted else []
    parts += [f"{item.diverged} diverged"] if item.diverged else []
    parts += [f"{item.missing} not done"] if item.missing else []
    return f" ({', '.join(parts)})" if parts else ""


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparison", type=Path, help="compare.json of a suite with sweeps")
    parser.add_argument("--suite", type=Path, help="the suite file, where it is not found by itself")
    parser.add_argument("--out", type=Path, help="write the choices as JSON, too")
    args = parser.parse_args(arguments)
    try:
        found = read_comparison(args.comparison)
        suite = read_suite(args.suite) if args.suite else find_suite(found, args.comparison)
        choices = choose(found, suite)
    except DBAError as error:
        raise SystemExit(str(error)) from error
    print(show(choices, found["left_out"]))
    if args.out:
        content = {
            "suite": found["suite"]["name"],
            "version": found["suite"]["version"],
            "choices": [asdict(choice) for choice in choices],
        }
        write_file(args.out, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        print(f"written to {args.out}")


if __name__ == "__main__":
    main()
