"""Reads what comparisons wrote: compare.json files, and the suites that they are of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llamafactory_dba.compare.suite import Suite, read_suite
from llamafactory_dba.compare.table import ALL, read_comparison
from llamafactory_dba.errors import DBAError


ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "compare"
RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True)
class Source:
    """A comparison that the page shows.

    Attributes:
        name: of the suite, in the page's keys and in the names of files.
        rates: of the suite that its rates were chosen with; "" without one.
        repeats: the suite that it runs again with other seeds; "" where it does not.
    """

    name: str
    rates: str = ""
    repeats: str = ""

    @property
    def file(self) -> str:
        """In benchmarks/results."""
        return f"compare_{self.name}.json"

    @property
    def command(self) -> str:
        """What makes it, without options."""
        return f"llamafactory-dba compare examples/compare/{self.name}.yaml"

    @property
    def absent(self) -> str:
        """What stands in place of a table that has no file."""
        return f"Not measured yet: `{self.command}` does it."


SOURCES = (Source("micro", "micro_rates"), Source("real_small", "real_small_rates"))
SWEEPS = Source("micro_sweeps")
# one question each: scores, differences, and the grid where the suite has one; no figure
ASIDE = (
    Source("micro_variants"),
    Source("micro_galore"),
    Source("micro_embeddings"),
    Source("micro_kronecker"),
    Source("micro_late"),
    Source("real_small_seeds", repeats="real_small"),
    Source("real_small_embeddings"),
    Source("real_small_galore"),
)


def known_names() -> list[str]:
    """Suites that the page shows."""
    return [name for source in (*SOURCES, SWEEPS, *ASIDE) for name in (source.name, source.rates) if name]


def read_all(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Suite → content, of those that are there, rates included.

    Args:
        folder: ``benchmarks/results``.
    """
    names = known_names()
    files = {name: folder / f"compare_{name}.json" for name in names}
    return {name: read_comparison(file) for name, file in files.items() if file.is_file()}


def find_suite(found: Mapping[str, Any], path: Path) -> Suite:
    """The suite of a compare.json: ``suite.yaml`` beside it, else ``examples/compare/NAME.yaml``, of the same version.

    Raises:
        DBAError: there is none, or the example of that name has another version.
    """
    about = found["suite"]
    beside, example = path.with_name("suite.yaml"), EXAMPLES / f"{about['name']}.yaml"
    for file in (beside, example):
        if file.is_file():
            suite = read_suite(file)
            if (suite.name, suite.version) == (about["name"], about["version"]):
                return suite
    raise DBAError(
        "The suite of this comparison was not found.",
        expected=f"{about['name']}, version {about['version']}, as {beside} or {example}",
        next_step="name its file with --suite",
    )


def slim(found: Mapping[str, Any], command: str) -> dict[str, Any]:
    """A copy for benchmarks/results: without the gauge and places of each run, and of tasks no more than what `compare
    --take` needs to go on from it: role and value.

    Args:
        found: content of compare.json.
        command: what was typed to make it.
    """
    drop = ("tasks", "gauge", "results")
    runs = [
        {key: value for key, value in run.items() if key not in drop}
        | {"tasks": {name: {key: task[key] for key in ("role", "value")} for name, task in run["tasks"].items()}}
        for run in found["runs"]
        if run["state"] != "missing" or run["error"]
    ]
    return {**found, "runs": runs, "command": command}


def at_a_time(found: Mapping[str, Any]) -> int | None:
    """Runs that shared the machine, by the command; None where it is not said, or some are of another call."""
    command = str(found.get("command", ""))
    if not command or any(run.get("taken") for run in found["runs"]):
        return None
    jobs = re.search(r"--jobs[ =](\d+)", command)
    return int(jobs[1]) if jobs else 1


def bases_of(found: Mapping[str, Any]) -> list[str]:
    """Base models, "all" last where there are several."""
    return list(dict.fromkeys(entry["base"] for entry in found["methods"]))


def title_of(base: str) -> str:
    """As a heading."""
    return "all base models" if base == ALL else base


def is_plain(entry: Mapping[str, Any]) -> bool:
    """A method as it stands in the suite, or a point of a frontier: no value of a sweep."""
    return set(entry["setting"]) <= {"alpha"}
