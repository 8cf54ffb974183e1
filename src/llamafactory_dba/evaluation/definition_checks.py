"""What a task or suite may say: every problem of a definition as one line, so that all can be shown together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..data.catalogue import catalogue, nearest
from .results import ROLES


class Scorer(NamedTuple):
    """A way to score: which outputs it is for, and which options it takes (option → type)."""

    output: str
    options: Mapping[str, type | tuple[type, ...]]


SCORERS: dict[str, Scorer] = {
    "choice": Scorer("generate", {"choices": int}),
    "number": Scorer("generate", {"strict": bool}),
    "boxed": Scorer("generate", {}),
    "sentiment": Scorer("generate", {}),
    "truth": Scorer("generate", {}),
    "exact": Scorer("generate", {"labels": list}),
    "lawbench": Scorer("generate", {"task": str, "segment": str}),
    "likelihood": Scorer("likelihood", {"prompt": str, "delimiter": str, "fields": Mapping}),
    "perplexity": Scorer("perplexity", {}),
}
METRICS = {  # of a scorer: the names that the value which counts may have; none: any
    "choice": ("accuracy",),
    "number": ("accuracy",),
    "boxed": ("accuracy",),
    "sentiment": ("weighted_f1",),
    "truth": ("accuracy",),
    "exact": ("exact_match",),
    "likelihood": ("accuracy", "accuracy_per_character", "accuracy_per_token"),
    "perplexity": ("nats_per_token", "perplexity", "bits_per_byte", "word_perplexity"),
}
OUTPUTS = ("generate", "likelihood", "perplexity")
TEXTS = ("version", "title", "citation", "language", "output", "scorer", "metric")
TASK_KEYS = (*TEXTS, "source", "split", "dataset", "file", "select", "ask", "max_new_tokens", "options", "notes")
SUITE_KEYS = ("version", "title", "tasks", "domain", "optional", "notes")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")  # is a part of file names


def check_task(name: str, raw: Any) -> list[str]:
    """Everything that is wrong with a task's definition, one line each."""
    if not isinstance(raw, Mapping):
        return [f"task {name}: no mapping of fields"]
    problems = _keys(raw, TASK_KEYS) + _texts(raw, TEXTS) + _name(name)
    problems += _lists(raw, ("notes",)) + _place(raw)
    if raw.get("output") not in (None, *OUTPUTS):
        problems.append(_one_of("output", raw["output"], OUTPUTS))
    tokens = raw.get("max_new_tokens", 0)
    if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 0:
        problems.append(f"max_new_tokens must be a number of tokens, not {tokens!r}")
    elif (raw.get("output") == "generate") != (tokens > 0):
        problems.append("max_new_tokens is needed where output is generate, and nowhere else")
    if not isinstance(raw.get("ask", ""), str):
        problems.append("ask must be a text")
    if not isinstance(raw.get("select") or {}, Mapping):
        problems.append("select must map columns to values")
    return [f"task {name}: {problem}" for problem in problems + _scorer(raw)]


def check_suite(name: str, raw: Any) -> list[str]:
    """Everything that is wrong with a suite's definition but for tasks that do not exist."""
    if not isinstance(raw, Mapping):
        return [f"suite {name}: no mapping of fields"]
    problems = _keys(raw, SUITE_KEYS) + _texts(raw, ("version", "title")) + _lists(raw, ("notes", "optional"))
    problems += _name(name)
    tasks = raw.get("tasks")
    if not isinstance(tasks, Mapping) or not tasks or not all(isinstance(names, list) for names in tasks.values()):
        problems.append(f"tasks must map roles ({', '.join(ROLES)}) to lists of tasks")
    else:
        problems += [_one_of("role", role, ROLES) for role in tasks if role not in ROLES]
        named = [str(task) for names in tasks.values() for task in names]
        problems += [f"task {task!r} is there twice" for task in sorted({t for t in named if named.count(t) > 1})]
        problems += ["it has no task"] if not named else []
        if isinstance(raw.get("optional"), list):
            problems += [f"optional names {task!r}, no task of it" for task in raw["optional"] if task not in named]
    return [f"suite {name}: {problem}" for problem in problems]


def _name(name: str) -> list[str]:
    return [] if NAME.match(name) else ["its name may have letters, digits, dots, - and _ alone"]


def _keys(raw: Mapping[str, Any], known: tuple[str, ...]) -> list[str]:
    unknown = [str(key) for key in raw if key not in known]
    return [f"unknown key {key!r}" + (f", perhaps {n}" if (n := nearest(key, known)) else "") for key in unknown]


def _texts(raw: Mapping[str, Any], names: tuple[str, ...]) -> list[str]:
    missing = [f"{name} is missing" for name in names if name not in raw]
    return missing + [
        f'{name} must be a text, not {raw[name]!r}: write it in quotes, "…"'
        for name in names
        if name in raw and not (isinstance(raw[name], str) and raw[name])
    ]


def _lists(raw: Mapping[str, Any], names: tuple[str, ...]) -> list[str]:
    return [
        f"{name} must be a list of texts"
        for name in names
        if not isinstance(raw.get(name) or [], list) or not all(isinstance(item, str) for item in raw.get(name) or [])
    ]


def _place(raw: Mapping[str, Any]) -> list[str]:
    """Exactly one place, and one that exists."""
    places = [key for key in ("source", "dataset", "file") if raw.get(key)]
    if places not in (["source"], ["dataset"], ["file"], ["source", "file"]):
        return [f"one of source, dataset and file must say where questions are, not {' and '.join(places) or 'none'}"]
    if "source" not in places:
        return ["split is for a source"] if raw.get("split") else []
    names = [raw["source"]] if isinstance(raw["source"], str) else raw["source"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return ["source must be the name of a corpus, or a list of names"]
    problems = []
    for name in names:
        source = catalogue().get(name)
        if source is None:
            near = nearest(name, catalogue())
            problems.append(f"no corpus {name!r}" + (f", perhaps {near}" if near else " in `data list`"))
        elif raw.get("split") not in source.splits:
            found = f"{raw['split']!r} is not" if raw.get("split") else "none is"
            known = ", ".join(source.splits)
            hidden = next((f"; {note}" for note in source.notes if "test split" in note), "")
            problems.append(f"{name} has the splits {known}; {found} one of them{hidden}")
    return problems


def _scorer(raw: Mapping[str, Any]) -> list[str]:
    scorer = SCORERS.get(str(raw.get("scorer")))
    if scorer is None:
        return [_one_of("scorer", raw["scorer"], tuple(SCORERS))] if isinstance(raw.get("scorer"), str) else []
    problems = []
    if raw.get("output") in OUTPUTS and scorer.output != raw["output"]:
        problems.append(f"scorer {raw['scorer']} is for output {scorer.output}")
    metrics = METRICS.get(raw["scorer"], ())
    if metrics and isinstance(raw.get("metric"), str) and raw["metric"] not in metrics:
        problems.append(_one_of("metric", raw["metric"], metrics))
    options = raw.get("options") or {}
    if not isinstance(options, Mapping):
        return [*problems, "options must map names to values"]
    problems += [line.replace("key", "option") for line in _keys(options, tuple(scorer.options))]
    problems += [
        f"option {key} must be a {getattr(kind, '__name__', kind)}, not {options[key]!r}"
        for key, kind in scorer.options.items()
        if key in options and not isinstance(options[key], kind)
    ]
    if raw["scorer"] == "lawbench" and "task" not in options:
        problems.append("option task is missing: 1-1 to 3-8")
    return problems


def _one_of(key: str, value: Any, known: tuple[str, ...]) -> str:
    near = nearest(str(value), known)
    return f"unknown {key} {value!r}, " + (f"perhaps {near}" if near else f"known are {', '.join(known)}")
