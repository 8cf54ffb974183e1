"""The keys that docs/results.template.md may use, from the JSON files.

    SUITE.seeds  SUITE.done  SUITE.wanted  SUITE.diverged  SUITE.missing
    SUITE.BASE.base.S_D                        the base model itself; S_G and S likewise
    SUITE.BASE.LABEL.S                         mean ± std over seeds of the mean over domains; S_D, S_G likewise
    SUITE.BASE.LABEL.S.mean  .std  .n          (S_D, S_G likewise)
    SUITE.BASE.LABEL.TASK                      mean of a general task
    SUITE.BASE.LABEL.loss_general              mean ± std over models, nats per token; loss_domain, loss_text likewise
    SUITE.BASE.LABEL.step_overhead             mean share of the hooks in % of the rest of a step; .high of a run
    SUITE.BASE.LABEL.delta                     Δ S against the suite's reference ± error over pairs; .mean .se .n
    SUITE.BASE.LABEL.behind                    S of the recommended setting minus this ± error over pairs
    SUITE.BASE.LABEL.behind.mean .se .errors .se_domains .errors_domains .n .wins
    SUITE.BASE.LABEL.time                      median of time over the reference's; only from runs one at a time
    SUITE.BASE/DOMAIN.LABEL.S                  of one domain; S_D, S_G, and .mean .std .n likewise
    SUITE.BASE.best_mix.…  SUITE.BASE.best_wise_ft.…      as LABEL, of the best of these; .label names it
    SUITE.BASE.LABEL.matched CURVE             S_G minus the curve's at the same S_D ± error over pairs; .mean .se .n
    SUITE.BASE.LABEL.ahead RIVAL               of a suite of more seeds: S minus the rival's ± error over pairs;
                                               .mean .se .n .errors .wins; SUITE.together.BASE…: with the first's seeds
    SUITE.METHOD.KEY                           of a rates suite: the chosen value; .end: low, high or inside
    SUITE.METHOD.KEY.S                         its mean S, the method's other keys being its own
    SUITE.METHOD.KEY=VALUE.S                   likewise of each value of the grid
    SUITE.tables.NAME                          tables, see `page.py`

BASE is "all" for all base models together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from llamafactory_dba.compare.table import ALL

from .choice import Choice, is_number
from .pairs import RECOMMENDED, best_of, gain, time_ratio
from .source import at_a_time, bases_of, is_plain
from .template import Measured, Value


SCORES = {"S_D": "s_d", "S_G": "s_g", "S": "s"}
BEST = {"best_mix": "mix_", "best_wise_ft": "wise_ft"}


def facts_of(found: Mapping[str, Any], name: str) -> dict[str, Value]:
    """Every key of one comparison."""
    facts: dict[str, Value] = {
        f"{name}.seeds": ", ".join(map(str, found["suite"]["seeds"])),
        f"{name}.created": found["created"][:10],
    }
    counts = {"done": "n", "diverged": "diverged", "missing": "missing"}
    for key, field in counts.items():
        facts[f"{name}.{key}"] = sum(cell[field] for cell in found["cells"])
    facts[f"{name}.wanted"] = sum(cell[field] for cell in found["cells"] for field in counts.values())
    for cell in found["cells"]:
        facts |= _scores(f"{name}.{cell['base']}/{cell['domain']}.{cell['label']}", cell)
    for base in bases_of(found):
        facts |= _base_model(found, name, base)
        for entry in found["methods"]:
            if entry["base"] == base:
                facts |= _method(found, f"{name}.{base}", base, entry)
        for key, prefix in BEST.items():
            label = best_of(found, base, prefix)
            start = f"{name}.{base}.{label}."
            facts |= {
                f"{name}.{base}.{key}.{k.removeprefix(start)}": v for k, v in facts.items() if k.startswith(start)
            }
            facts[f"{name}.{base}.{key}.label"] = label
    for entry in found["matched"]:
        where = f"{name}.{entry['base']}.{entry['label']}.matched {entry['curve']}"
        facts |= difference_facts(where, entry)
    return facts


def facts_of_rates(choices: Sequence[Choice], name: str) -> dict[str, Value]:
    """Every key of a rates suite."""
    facts: dict[str, Value] = {}
    for choice in choices:
        for axis in choice.axes:
            where = f"{name}.{choice.method}.{axis.key}"
            if choice.label is None:
                facts |= dict.fromkeys((where, f"{where}.end", f"{where}.S"))
                continue
            value = choice.keys[axis.key]
            facts[where] = _name(value)
            facts[f"{where}.end"] = axis.end_of(value) or "inside"
            facts[f"{where}.S"] = next(item.s for item in axis.grid if item.value == value)
            facts |= {f"{where}={_name(item.value)}.S": item.s for item in axis.grid}
    return facts


def _name(value: Any) -> str:
    return f"{value:g}" if is_number(value) else str(value)


def _method(found: Mapping[str, Any], start: str, base: str, entry: Mapping[str, Any]) -> dict[str, Value]:
    label = entry["label"]
    where = f"{start}.{label}"
    facts = _scores(where, entry)
    facts |= {f"{where}.{task}": value for task, value in entry["general"].items()}
    ratio = time_ratio(found, base, label) if at_a_time(found) == 1 else None
    facts[f"{where}.time"] = ratio and ratio[1]
    delta = next((d for d in found["differences"] if (d["base"], d["label"]) == (base, label)), None)
    if delta is not None:
        facts |= difference_facts(f"{where}.delta", delta)
    if label == RECOMMENDED or not is_plain(entry):
        return facts
    behind = gain(found, base, RECOMMENDED, label)
    facts |= difference_facts(f"{where}.behind", asdict(behind.pairs) if behind else {})
    facts[f"{where}.behind.errors"] = behind and behind.pairs.errors
    facts[f"{where}.behind.se_domains"] = behind and behind.domains.se
    facts[f"{where}.behind.errors_domains"] = behind and behind.domains.errors
    facts[f"{where}.behind.wins"] = behind and behind.wins
    return facts


def difference_facts(where: str, entry: Mapping[str, Any]) -> dict[str, Value]:
    """Of `statistics.Difference` as a mapping; empty: nothing to compare."""
    mean, se = entry.get("mean"), entry.get("se")
    return {
        where: None if mean is None else Measured(mean, se, signed=True),
        f"{where}.mean": mean,
        f"{where}.se": se,
        f"{where}.n": entry.get("n"),
    }


def _scores(where: str, entry: Mapping[str, Any]) -> dict[str, Value]:
    facts: dict[str, Value] = {f"{where}.{key}": entry[key] for key in ("n", "diverged", "missing")}
    for key, field in SCORES.items():
        value = entry[field]
        facts[f"{where}.{key}"] = value and Measured(value["mean"], value["std"])
        for part in ("mean", "std", "n"):
            facts[f"{where}.{key}.{part}"] = value and value[part]
    return facts


def _base_model(found: Mapping[str, Any], name: str, base: str) -> dict[str, Value]:
    mine = [entry for entry in found["bases"] if base in (entry["base"], ALL)]
    facts: dict[str, Value] = {}
    for key, field in SCORES.items():
        values = [entry[field] for entry in mine if entry[field] is not None]
        facts[f"{name}.{base}.base.{key}"] = sum(values) / len(values) if values else None
    return facts
