"""What is said of a field that is wrong: a message in the page's language, and below which group of fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .locales import LOCALES, message


# the groups of fields of the Train form, each with a place for problems right below it
MAIN, MORE, GAUGE = "dba_train_problem_main", "dba_train_problem_more", "dba_train_problem_gauge"


class Problem(NamedTuple):
    """One sentence: a message of `locales` with its fields, or a text of the package, which is English."""

    row: str
    key: str = ""
    fields: Mapping[str, Any] = {}
    text: str = ""

    def say(self, lang: str | None) -> str:
        """In the page's language.

        A ``label`` that is the name of an element stands for that element's label; a field may be a problem itself,
        or several, which are its reasons.
        """
        if not self.key:
            return self.text
        return message(self.key, lang, **{name: _shown(name, value, lang) for name, value in self.fields.items()})


def _shown(name: str, value: Any, lang: str | None) -> Any:
    if name == "label" and value in LOCALES:
        return LOCALES[value][lang or "en"]["label"]
    if isinstance(value, Problem):
        return value.say(lang)
    return say_all(value, lang) if isinstance(value, tuple) else value


def say_all(reasons: Sequence[Problem], lang: str | None) -> str:
    """Several reasons in one sentence."""
    return "; ".join(reason.say(lang) for reason in reasons)


def by_row(found: list[Problem], lang: str | None) -> dict[str, str]:
    """The text below each group of fields, as Markdown; empty where all is well."""
    return {
        row: "\n\n".join(f"⚠️ {problem.say(lang)}" for problem in found if problem.row == row)
        for row in (MAIN, MORE, GAUGE)
    }
