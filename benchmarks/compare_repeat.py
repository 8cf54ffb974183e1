"""How far the same runs agree when they are made twice: on another machine, or from scratch.

    python -m benchmarks.compare_repeat FIRST/compare.json SECOND/compare.json
    python -m benchmarks.compare_repeat FIRST.json SECOND.json --out benchmarks/results/compare_repeat.json

Runs are the same where their hash is: settings, data, base model and tasks. Those that the second file itself took
over from elsewhere are left out, for they were not made again. Scores are in percentage points, second minus first.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any


ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # so that it can be called as a file, too

from benchmarks.measure import write  # noqa: E402
from llamafactory_dba.compare.table import SCORES, read_comparison  # noqa: E402
from llamafactory_dba.errors import DBAError  # noqa: E402


def repeat(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Differences of the runs that both have, whole and by method.

    Args:
        first: content of a compare.json file.
        second: content of another.

    Returns:
        ``runs``, ``identical`` (all three scores), ``mean`` and ``mean_absolute`` and ``largest`` difference for each
        of s_d, s_g, s; ``methods``: the same for each method, S alone.

    Raises:
        DBAError: no run is in both.
    """
    before = {_key(row): row for row in first["runs"] if row["state"] == "done"}
    pairs = [
        (before[_key(row)], row)
        for row in second["runs"]
        if row["state"] == "done" and not row.get("taken") and _key(row) in before
    ]
    if not pairs:
        raise DBAError(
            "The two files have no run in common that was made twice.",
            expected="runs of one suite, in the second file not taken over from the first",
            found=f"{len(before)} and {len(second['runs'])} runs",
        )
    methods = {pair[0]["method"]: [p for p in pairs if p[0]["method"] == pair[0]["method"]] for pair in pairs}
    return {
        "runs": len(pairs),
        "identical": _identical(pairs),
        "scores": {score: _spread(pairs, score) for score in SCORES},
        "methods": {
            name: {"runs": len(mine), "identical": _identical(mine), **_spread(mine, "s")}
            for name, mine in sorted(methods.items())
        },
        "made": [{key: content.get(key) for key in ("created", "machine", "versions")} for content in (first, second)],
    }


def _key(row: Mapping[str, Any]) -> tuple[str, Any]:
    return row["hash"], row.get("alpha")


def _identical(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> int:
    return sum(all(first[score] == second[score] for score in SCORES) for first, second in pairs)


def _spread(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], score: str) -> dict[str, float]:
    delta = [second[score] - first[score] for first, second in pairs]
    return {"mean": fmean(delta), "mean_absolute": fmean(map(abs, delta)), "largest": max(map(abs, delta))}


def main() -> None:
    """Print the differences, and write them where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    try:
        found = repeat(read_comparison(args.first), read_comparison(args.second))
    except DBAError as error:
        raise SystemExit(f"Error: {error}") from None
    print(f"{found['identical']} of {found['runs']} runs have the same scores")
    for name, spread in found["scores"].items():
        print(f"  {name:<4} mean {spread['mean']:+.3f}, mean size {spread['mean_absolute']:.3f}, "
              f"largest {spread['largest']:.2f}")  # fmt: skip
    for name, item in found["methods"].items():
        print(
            f"  {name:<18} {item['identical']} of {item['runs']}, S {item['mean']:+.2f}, largest {item['largest']:.2f}"
        )
    if args.out:
        write(found, args.out)


if __name__ == "__main__":
    main()
