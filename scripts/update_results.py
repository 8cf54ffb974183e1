"""Writes docs/results.md and its figures, from docs/results.template.md and benchmarks/results/compare_*.json.

    python scripts/update_results.py                  # writes
    python scripts/update_results.py --check          # only says what is out of date (exit status 1)
    python scripts/update_results.py --keys elastic   # keys that the template may use, with their values
    python scripts/update_results.py --take runs/compare/micro/compare.json --command "llamafactory-dba compare ..."

``--take`` copies a finished comparison into benchmarks/results, without what the page does not use, under the name of
its suite. README.md has its table from the same files, by scripts/update_readme.py.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Sequence
from pathlib import Path


ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # `benchmarks` is no installed package

from benchmarks.compare_page.page import FIGURES, PAGE, TEMPLATE, all_facts, draw_all, out_of_date, page  # noqa: E402
from benchmarks.compare_page.source import RESULTS, known_names, slim  # noqa: E402
from benchmarks.compare_page.template import show  # noqa: E402
from llamafactory_dba.compare.table import read_comparison  # noqa: E402
from llamafactory_dba.errors import DBAError  # noqa: E402
from llamafactory_dba.files import write_file  # noqa: E402


def take(path: Path, command: str, folder: Path) -> Path:
    """Copy a comparison into benchmarks/results.

    Raises:
        DBAError: it is none, or of a suite that the page does not show.
    """
    found = read_comparison(path)
    name = found["suite"]["name"]
    if name not in known_names():
        raise DBAError("The page does not show this suite.", expected=", ".join(known_names()), found=name)
    target = folder / f"compare_{name}.json"
    write_file(target, json.dumps(slim(found, command), indent=1, ensure_ascii=False) + "\n")
    return target


def keys(part: str, folder: Path) -> str:
    """Keys with this in them and their values, tables left out."""
    facts = all_facts(folder)
    lines = [
        f"{key} = {'not measured' if value is None else show(value)}"
        for key, value in facts.items()
        if part in key and ".tables." not in key
    ]
    return "\n".join(lines) or f"no key has `{part}` in it"


def update(arguments: argparse.Namespace) -> None:
    """Write the page and the figures, or say that they are out of date.

    Raises:
        SystemExit: with ``--check``, something is out of date.
        DBAError: the template or a file is not in order.
    """
    new = page(arguments.template.read_text(encoding="utf-8"), all_facts(arguments.results))
    old = arguments.page.read_text(encoding="utf-8") if arguments.page.is_file() else ""
    if not arguments.check:
        if new != old:
            write_file(arguments.page, new)
        for path in draw_all(arguments.results, arguments.figures):
            print(f"written to {path}")
        return
    late = [path.name for path, *_ in out_of_date(arguments.results, arguments.figures)]
    if new != old:
        name = arguments.page.name
        sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), new.splitlines(True), name, "generated"))
        late.append(name)
    if late:
        raise SystemExit(f"out of date: {', '.join(late)}. Run `make docs`")


def main(words: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if something is out of date")
    parser.add_argument("--keys", metavar="PART", help="list keys with this in them ('' for all), and end")
    parser.add_argument("--take", type=Path, metavar="JSON", help="copy this compare.json first")
    parser.add_argument("--command", help="with --take: what was typed to make it, --jobs included")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--template", type=Path, default=TEMPLATE)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--figures", type=Path, default=FIGURES)
    arguments = parser.parse_args(words)
    if bool(arguments.take) != bool(arguments.command):
        parser.error(
            "--take and --command belong together: the page names the command, and trusts times of one job only"
        )
    try:
        if arguments.take:
            print(f"written to {take(arguments.take, arguments.command, arguments.results)}")
        if arguments.keys is not None:
            print(keys(arguments.keys, arguments.results))
            return
        update(arguments)
    except DBAError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
