"""Every string of the DBA tab in the five languages of LLaMA Board: plain dictionaries, no gradio.

A panel's module has ``LOCALES`` (element name → language → properties of the component) and ``ALERTS`` (message key →
language → text with ``{named}`` fields). The host's language switch finds the first by the element's name.
"""

from __future__ import annotations

import importlib
from typing import Any


LANGUAGES = ("en", "ru", "zh", "ko", "ja")
PANELS = ("common", "anchor", "train", "results", "recipes")

Locales = dict[str, dict[str, dict[str, Any]]]
Alerts = dict[str, dict[str, str]]


def _merged(name: str) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for panel in PANELS:
        merged.update(getattr(importlib.import_module(f"{__name__}.{panel}"), name))
    return merged


LOCALES: Locales = _merged("LOCALES")
ALERTS: Alerts = _merged("ALERTS")


def message(key: str, lang: str | None, **fields: object) -> str:
    """A message in a language; English where the page has not said which."""
    texts = ALERTS[key]
    return texts.get(lang or "en", texts["en"]).format(**fields)


def properties(name: str, lang: str | None = "en") -> dict[str, Any]:
    """What an element shows in a language, to build it with: ``label``, ``info``, ``value``, ``placeholder``."""
    texts = LOCALES[name]
    return dict(texts.get(lang or "en", texts["en"]))
