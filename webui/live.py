"""The curves of a training, from the logs in its output folder, as far as they are written. No gradio."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from .curves import figure
from .follow import Points, follow
from .locales import message


class Log(NamedTuple):
    """A file with a line per step or measurement; the numbers read from it, and what counts its steps."""

    file: str
    fields: tuple[str, ...]
    x: str = "step"


TRAINER = Log("trainer_log.jsonl", ("loss", "eval_loss"), "current_steps")
STEPS = Log("dba_log.jsonl", ("gamma", "similarity", "correction"))
ELASTIC = Log("dba_elastic.jsonl", ("predicted_kl",))
PENALTY = Log("dba_penalty.jsonl", ("predicted_kl",))
GAUGE = Log("dba_gauge.jsonl", ("general_accuracy", "domain_accuracy", "s", "general_loss", "forward_kl"))
LOGS = (TRAINER, STEPS, ELASTIC, PENALTY, GAUGE)

CURVES = (
    "dba_train_curve_loss",
    "dba_train_curve_boost",
    "dba_train_curve_similarity",
    "dba_train_curve_correction",
    "dba_train_curve_gauge",
)
Signature = tuple[tuple[str, int, int], ...]


def signature(folder: Path | None, lang: str | None) -> list[object]:
    """Changes when a log of the folder, or the language, does; a list, as a page sends it back."""
    found: list[object] = [lang, str(folder)]
    for log in LOGS if folder is not None else ():
        try:
            stat = (folder / log.file).stat()
        except OSError:
            continue
        found += [log.file, stat.st_size, stat.st_mtime_ns]
    return found


def curves(folder: Path | None, lang: str | None) -> dict[str, str]:
    """HTML by element: always all five, of the same height, with or without points."""
    series: dict[str, Points] = {}
    for log in LOGS if folder is not None else ():
        for name, points in follow(folder / log.file, log.fields, x=log.x).poll().items():
            if points:
                series[name] = points
    return {
        "dba_train_curve_loss": _draw(lang, "loss", "dba_axis_nats", series, {"loss": "loss", "eval_loss": "eval"}),
        "dba_train_curve_boost": _boost(lang, series),
        "dba_train_curve_similarity": _draw(lang, "similarity", "dba_axis_none", series, {"similarity": "s"}),
        "dba_train_curve_correction": _draw(lang, "correction", "dba_axis_times", series, {"correction": "λ"}),
        "dba_train_curve_gauge": _gauge(lang, series),
    }


def _boost(lang: str | None, series: Mapping[str, Points]) -> str:
    """γ; of a variant that holds the weights instead, the divergence that it predicts."""
    if "predicted_kl" in series:
        return _draw(lang, "held", "dba_axis_kl", series, {"predicted_kl": "KL"})
    return _draw(lang, "boost", "dba_axis_none", series, {"gamma": "γ"})


def _gauge(lang: str | None, series: Mapping[str, Points]) -> str:
    scores = {"general_accuracy": "S_G", "domain_accuracy": "S_D", "s": "S"}
    if any(name in series for name in scores):
        return _draw(lang, "gauge", "dba_axis_percent", series, scores)
    if "general_loss" in series:
        return _draw(lang, "gauge", "dba_axis_nats", series, {"general_loss": "general"})
    return _draw(lang, "gauge", "dba_axis_kl", series, {"forward_kl": "KL"})


def _draw(lang: str | None, title: str, axis: str, series: Mapping[str, Points], names: Mapping[str, str]) -> str:
    return figure(
        {shown: series[name] for name, shown in names.items() if name in series},
        title=message(f"dba_curve_{title}", lang),
        x_label=message("dba_axis_step", lang),
        y_label=message(axis, lang),
        empty=message("dba_curve_empty", lang),
    )
