"""Hand-written text with figures from JSON: ``{{ micro.micro-base.elastic.S }}``, or ``{{ KEY | .1f }}``.

A key is one of a flat dictionary (`facts.py`). The suite's name may be left out where only one suite has the rest of
the key. The format after the bar is Python's, for numbers. Nothing else is understood, on purpose: what is to be
computed is computed, and tested, before.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import NamedTuple

from llamafactory_dba.errors import DBAError


PLACE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
CODE = re.compile(r"```.*?```|`[^`\n]*`|\]\([^)]*\)|<!--.*?-->|arXiv \d+\.\d+", re.DOTALL)


class Measured(NamedTuple):
    """A mean and its spread or error, shown as ``mean ± error``; signed: with its sign."""

    mean: float
    error: float | None
    signed: bool = False


Value = str | int | float | Measured | None


def show(value: Value, form: str = "") -> str:
    """A value as text, numbers with two decimals by default.

    Raises:
        ValueError: the format does not fit the value.
    """
    if isinstance(value, Measured):
        mean = format(value.mean, form or ("+.2f" if value.signed else ".2f"))
        return mean if value.error is None else f"{mean} ± {format(value.error, (form or '.2f').lstrip('+'))}"
    if isinstance(value, float):
        return format(value, form or ".2f")
    return format(value, form)


def render(text: str, facts: Mapping[str, Value]) -> str:
    """The text with every place filled in.

    Args:
        text: of the template.
        facts: key → value; None: known, and not measured.

    Raises:
        DBAError: an unknown key (with the nearest), a key without a value, a format that does not fit, a brace left
            over; all of them together.
    """
    problems: list[str] = []

    def fill(match: re.Match[str]) -> str:
        line = text.count("\n", 0, match.start()) + 1
        key, _, form = (part.strip() for part in match[1].partition("|"))
        key = " ".join(key.split())  # a key may go over the end of a line
        try:
            return show(_find(key, facts), form)
        except (KeyError, ValueError, TypeError) as error:
            why = error.args[0] if isinstance(error, KeyError) else f"the format `{form}` does not fit: {error}"
            problems.append(f"line {line}: `{key}`: {why}")
            return match[0]

    filled = PLACE.sub(fill, text)
    rest = PLACE.sub("", text)
    problems += [f"`{brace}` that does not belong to any place" for brace in ("{{", "}}") if brace in rest]
    if problems:
        raise DBAError("The template cannot be filled in:\n" + "\n".join(f"  - {text}" for text in problems))
    return filled


def _find(key: str, facts: Mapping[str, Value]) -> Value:
    """The value of a key, with or without its suite."""
    names = [key] if key in facts else [name for name in facts if name.partition(".")[2] == key]
    if not names:
        near = difflib.get_close_matches(key, [*facts, *(name.partition(".")[2] for name in facts)], 1, 0.0)
        raise KeyError(f"there is no such key, perhaps `{near[0]}`" if near else "there is no such key")
    if len(names) > 1:
        raise KeyError(f"which of {', '.join(f'`{name}`' for name in names)}?")
    if facts[names[0]] is None:
        raise KeyError("this was not measured")
    return facts[names[0]]


def typed_figures(text: str) -> list[str]:
    """Decimal figures that stand in a template itself, where a key belongs, with their lines.

    Whole numbers are let through: chance levels, counts of seeds and the like belong to the design, not to the result.
    Code, links, comments and arXiv numbers are no prose.
    """
    blank = CODE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), PLACE.sub("", text))
    return [
        f"line {number}: {figure}"
        for number, line in enumerate(blank.split("\n"), 1)
        for figure in re.findall(r"(?<![\w.])\d+\.\d+(?![\w.]*\w)", line)
    ]
