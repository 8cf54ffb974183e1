"""Writes what follows from the catalogue of corpora: parts of docs/corpora.md, and entries of data/dataset_info.json.

The speed in docs/corpora.md is from benchmarks/results/data_speed.json.

Usage: ``python scripts/update_corpora.py`` writes, ``--check`` only says what is out of date (exit status 1). Other
entries (the micro world), and text outside the markers, are left alone.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from llamafactory_dba.data.catalogue import catalogue
from llamafactory_dba.data.listing import host_entries, markdown, traps
from llamafactory_dba.reporting.parts import fill, write_or_check


ROOT = Path(__file__).resolve().parents[1]
SPEED = ROOT / "benchmarks" / "results" / "data_speed.json"
DOCUMENT, ENTRIES = ROOT / "docs" / "corpora.md", ROOT / "data" / "dataset_info.json"


def speed() -> str:
    """What benchmarks/data_speed.py measured."""
    if not SPEED.is_file():
        return "Not measured yet: `python benchmarks/data_speed.py` does it."
    result = json.loads(SPEED.read_text(encoding="utf-8"))
    lines = ["| rows | prepare, rows/s | memory added | check, rows/s | memory added |", "|---|---|---|---|---|"]
    for first, second in zip(result["prepare"], result["check"], strict=True):
        cells = [f"{cell['rows_per_second']:,} | {cell['added_bytes'] / 2**20:,.0f} MiB" for cell in (first, second)]
        lines.append(f"| {first['rows']:,} | {cells[0]} | {cells[1]} |")
    lines += ["", "| training rows | evaluation rows | index, s | search, s | memory added |", "|---|---|---|---|---|"]
    for pair in result["overlap"]:
        index, search = pair["index"], pair["search"]
        lines.append(
            f"| {pair['train_rows']:,} | {pair['test_rows']:,} | {index['cpu_seconds']:.1f} | "
            f"{search['cpu_seconds']:.1f} | {(index['added_bytes'] + search['added_bytes']) / 2**20:,.0f} MiB |"
        )
    machine = result["machine"]
    per_row = result["prepare"][-1]
    versions = f"Python {machine['python']}, numpy {machine['numpy']}, llamafactory-dba {machine['llamafactory-dba']}"
    met = all(run["rows_per_second"] >= result["goal_rows_per_second"] for run in result["prepare"])
    return "\n".join(
        [
            f"By `{result['command']}`: {result['what']}; one run each. Goal of {result['goal_rows_per_second']:,} "
            f"rows per second and core: {'met' if met else 'missed'}. `prepare` adds "
            f"{per_row['added_bytes'] / per_row['rows']:.0f} bytes per row, for the digests that find duplicates.",
            "",
            *lines,
            "",
            f"Machine: {machine['processor']}, {machine['cores']} cores, load average {machine['load_average']:.1f} "
            f"(shared), {versions}.",
        ]
    )


def document(text: str) -> str:
    """docs/corpora.md with its generated parts.

    Raises:
        ValueError: a part's markers are missing or occur twice.
    """
    sources = list(catalogue().values())
    parts = {"sources": markdown(sources), "notes": traps(sources), "speed": speed()}
    return fill(text, parts, "docs/corpora.md")


def entries(text: str) -> str:
    """data/dataset_info.json with an entry for every split of every corpus; the others come first, as they are."""
    made = host_entries(catalogue().values())
    kept = {name: entry for name, entry in json.loads(text).items() if name not in made}
    return json.dumps({**kept, **made}, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if something is out of date")
    args = parser.parse_args()
    texts = {path: make(path.read_text(encoding="utf-8")) for path, make in ((DOCUMENT, document), (ENTRIES, entries))}
    write_or_check(texts, check=args.check, command="python scripts/update_corpora.py")


if __name__ == "__main__":
    main()
