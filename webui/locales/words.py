"""A short way to write an element in five languages."""

from __future__ import annotations

from typing import Any, NamedTuple


class Five(NamedTuple):
    """One text per language, in the order of the host's menu."""

    en: str
    ru: str
    zh: str
    ko: str
    ja: str


def element(**properties: Five) -> dict[str, dict[str, Any]]:
    """Language → properties of a component, e.g. ``element(label=Five(...), info=Five(...))``."""
    return {lang: {name: getattr(texts, lang) for name, texts in properties.items()} for lang in Five._fields}


def alert(en: str, ru: str, zh: str, ko: str, ja: str) -> dict[str, str]:
    """Language → text of a message."""
    return Five(en, ru, zh, ko, ja)._asdict()


# the tick that an anchor run and a training both have
BESIDE = Five(
    "Start beside other runs",
    "Запускать рядом с другими",
    "允许与其他任务同时运行",
    "다른 실행과 함께 시작",
    "ほかの実行と同時に開始",
)
