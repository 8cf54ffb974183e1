"""Multiple choice in one style, for training and evaluation alike: a model is asked in the form it was trained in.

    <question>
    A. <choice>
    B. <choice>
    Answer with the letter of the right choice.

and the answer is the letter, or the letters in order where several are right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .source import Drop, Row


LETTERS = "ABCDEFGHIJ"
ASK = {
    "en": ("Answer with the letter of the right choice.", "Answer with the letters of all right choices."),
    "zh": ("请回答正确选项的字母。", "请回答所有正确选项的字母。"),
}


class ChoiceQuestion(NamedTuple):
    """What a prompt of this style asks."""

    question: str
    choices: tuple[str, ...]
    language: str
    several: bool


def choice_prompt(question: str, choices: Sequence[str], *, language: str = "en", several: bool = False) -> str:
    """The whole question as the model gets it.

    Args:
        question: its text.
        choices: 2 to 10, without letters of their own.
        language: ``en`` or ``zh``, of the request at the end.
        several: whether more than one choice may be right.

    Raises:
        Drop: a choice or the question is empty, or there are too few or too many choices.
    """
    question, choices = question.strip(), [choice.strip() for choice in choices]
    if not question:
        raise Drop("empty question")
    if not 2 <= len(choices) <= len(LETTERS):
        raise Drop(f"{len(choices)} choices")
    if not all(choices):
        raise Drop("empty choice")
    lines = [f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False)]
    return "\n".join([question, *lines, ASK[language][several]])


def choice_row(
    question: str, choices: Sequence[str], right: Sequence[int], *, language: str = "en", several: bool = False
) -> Row:
    """One row in alpaca form.

    Args:
        question: its text.
        choices: 2 to 10.
        right: places of the right choices, from 0.
        language: ``en`` or ``zh``.
        several: whether more than one may be right (which the prompt says, also where only one is).

    Raises:
        Drop: as `choice_prompt`; and no right choice, or one that is not there, or several where one is asked for.
    """
    prompt = choice_prompt(question, choices, language=language, several=several)
    places = sorted(set(right))
    if not places or not 0 <= places[0] <= places[-1] < len(choices):
        raise Drop("no such answer")
    if len(places) > 1 and not several:
        raise Drop("several answers where one was expected")
    return {"instruction": prompt, "input": "", "output": "".join(LETTERS[place] for place in places)}


def read_choice_prompt(prompt: str) -> ChoiceQuestion | None:
    """The inverse of `choice_prompt`; None for a prompt of another style.

    Exact unless a choice has a line of its own that begins as the next choice would, or as the first one would with
    another after it.
    """
    *lines, last = prompt.split("\n")
    asked = next(
        ((key, text == many) for key, (one, many) in ASK.items() for text in (one, many) if text == last), None
    )
    if asked is None:
        return None
    starts = [place for place, line in enumerate(lines) if line.startswith("A. ")]
    for start in reversed(starts):  # the question may have such a line, too
        choices: list[str] = []
        for line in lines[start:]:
            if len(choices) < len(LETTERS) and line.startswith(f"{LETTERS[len(choices)]}. "):
                choices.append(line[3:])
            else:
                choices[-1] += f"\n{line}"
        if len(choices) >= 2:
            return ChoiceQuestion("\n".join(lines[:start]), tuple(choices), *asked)
    return None
