"""Pieces of HTML that the Anchor panel's parts share; every text in them is escaped. No gradio."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from .locales import message


FAINT = "color:var(--body-text-color-subdued);font-size:13px"
GOOD, BAD = "#0f9f75", "#e5484d"  # readable on white and on black; a sign and a word say the same
CELL = (
    "padding:4px 10px;text-align:left;vertical-align:top;border:0;border-bottom:1px solid var(--border-color-primary)"
)
PRE = (
    "white-space:pre-wrap;overflow-wrap:anywhere;max-height:220px;overflow-y:auto;margin:6px 0;padding:8px;"
    "font-size:12px;border-radius:6px;background:var(--background-fill-secondary)"
)


def say(key: str, lang: str | None, **fields: object) -> str:
    """A message in the page's language, for HTML."""
    return escape(message(key, lang, **fields))


def problem(texts: Sequence[str]) -> str:
    """Sentences beside the fields that they are about; escaped, since they may quote what was typed."""
    lines = "".join(f'<div role="alert" style="color:{BAD}">⚠ {escape(text)}</div>' for text in texts)
    return f'<div style="font-size:14px">{lines}</div>' if lines else ""


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, as 1:02:03 or 2:03."""
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size_of(number: int) -> str:
    """Bytes as people read them."""
    return (
        f"{number / 1e9:.2f} GB"
        if number >= 1e9
        else f"{number / 1e6:.1f} MB"
        if number >= 1e6
        else f"{number / 1e3:.0f} kB"
    )


def records(rows: Sequence[Any]) -> str:
    """Rows of a data set as JSON; not ``gr.JSON``, which shows Python's own form where an event has no queue."""
    texts = (json.dumps(row, ensure_ascii=False, indent=2) for row in rows)
    return "".join(f'<pre tabindex="0" style="{PRE}">{escape(text)}</pre>' for text in texts)
