"""What the runs of the report cost and where their numbers come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields

from ...evaluation.results import Cost
from .cells import MISSING, Table
from .entries import Group, Mean, Series


PLAIN = ("direct", "plain", "full")  # methods that are fine-tuning and nothing else, the clearest name first
COST_TITLES: dict[str, tuple[str, Callable[[float], str]]] = {
    "wall_seconds": ("wall-clock s", lambda x: f"{x:,.1f}"),
    "program_seconds": ("whole program s", lambda x: f"{x:,.1f}"),
    "device_hours": ("device h", lambda x: f"{x:.3g}"),
    "tokens": ("tokens", lambda x: f"{x:,.0f}"),
    "peak_device_bytes": ("peak device MB", lambda x: f"{x / 1e6:,.0f}"),
    "peak_host_bytes": ("peak host MB", lambda x: f"{x / 1e6:,.0f}"),
    "trainable_parameters": ("trainable parameters", lambda x: f"{x:,.0f}"),
    "anchor_bytes_on_disk": ("anchor on disk MB", lambda x: f"{x / 1e6:,.2f}"),
    "anchor_bytes_in_memory": ("anchor in memory MB", lambda x: f"{x / 1e6:,.2f}"),
    "step_overhead": ("step overhead", lambda x: f"{100 * x:+.1f} %"),
    "energy_joules": ("energy kJ", lambda x: f"{x / 1e3:,.1f}"),
}
WITHOUT_RATIO = ("step_overhead",)  # is a ratio itself


def costs(group: Group) -> Table | None:
    """What the runs cost, and its ratio to plain fine-tuning; a column that nobody measured is left out.

    Returns:
        None where nothing was measured.
    """
    names = [f.name for f in fields(Cost) if any(getattr(e.results.cost, f.name) is not None for e in group.entries)]
    shown = [series for series in group.rows if any(series.cost(name) is not None for name in names)]
    if not shown:
        return None
    by_method = {series.entries[0].results.run.method: series for series in reversed(shown)}
    plain = next((by_method[method] for method in PLAIN if method in by_method), None)
    rows = tuple((series.label, *(_cell(series, plain, name) for name in names)) for series in shown)
    notes = []
    if plain is not None and len(shown) > 1:
        notes.append(f"In brackets: times what {plain.label} took.")
    elif plain is None:
        notes.append("No plain fine-tuning run is here to compare with.")
    if unmeasured := ", ".join(title for name, (title, _) in COST_TITLES.items() if name not in names):
        notes.append(f"Measured in no run here: {unmeasured}.")
    if any(len(series.entries) > 1 for series in shown):
        notes.append("±: standard deviation over seeds.")
    return Table(("run", *(COST_TITLES[name][0] for name in names)), rows, note=" ".join(notes))


def provenance(group: Group) -> Table:
    """Where every number comes from, a row for each thing that is known; what is as in the run above is said so."""
    rows: list[tuple[str, ...]] = []
    above: dict[str, str] = {}
    for entry in group.entries:
        r = entry.results
        facts = {
            "folder": f"{entry.path.parent.parent.name}/{entry.path.parent.name}",
            "seed": MISSING if r.run.seed is None else str(r.run.seed),
            "base model": f"{r.run.base_model} {r.run.base_fingerprint[:16]}".strip() or MISSING,
            "settings": _pairs(r.run.settings),
            "data": _pairs({name: str(value)[:16] for name, value in r.data.items()}),
            "machine": _pairs(r.machine),
            "versions": _pairs(r.versions),
            "created": r.created or MISSING,
        }
        title = entry.label
        for name, text in facts.items():
            if text != MISSING:
                # a long text only: "as above" is no shorter than a word
                rows.append((title, name, "as above" if text == above.get(name) and len(text) > 16 else text))
                title = ""
        above = facts
    return Table(("run", "what", "value"), tuple(rows), texts=3, grouped=True)


def _cell(series: Series, plain: Series | None, name: str) -> str:
    value, reference = series.cost(name), plain.cost(name) if plain else None
    text = _amount(value, COST_TITLES[name][1])
    if value is None or reference is None or series is plain or name in WITHOUT_RATIO or reference.mean <= 0:
        return text
    return f"{text} ({value.mean / reference.mean:.2f}×)"


def _amount(value: Mean | None, show: Callable[[float], str]) -> str:
    if value is None:
        return MISSING
    return f"{show(value.mean)} ± {show(value.std).lstrip('+')}" if value.std else show(value.mean)


def _pairs(values: Mapping[str, object]) -> str:
    """As words; a mapping within it in brackets, without what it says nothing about."""
    texts = [
        f"{k} ({_pairs(v)})" if isinstance(v, Mapping) else f"{k} {v}" for k, v in values.items() if v not in ("", {})
    ]
    return ", ".join(texts) or MISSING
