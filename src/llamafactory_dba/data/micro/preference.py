"""Tiny preference sets made from the general skills: a right answer against a wrong one of the same skill."""

import random

from .skills import SKILLS, Example, draw
from .world import World


Row = dict[str, str | bool]


def _with_wrong_answers(world: World, per_skill: int, seed: str) -> list[tuple[Example, str]]:
    """Each example with the right answer of another one of its skill, which is wrong here."""
    rng = random.Random(f"{world.seed}/{seed}")
    pairs: list[tuple[Example, str]] = []
    for name in SKILLS:
        examples = draw(name, SKILLS, world, "train", per_skill, seed)
        for example in examples:
            wrong = [other.answer for other in examples if other.answer != example.answer]
            pairs.append((example, rng.choice(wrong)))

    rng.shuffle(pairs)
    return pairs


def ranked(world: World, per_skill: int = 20) -> list[Row]:
    """Rows for the stages dpo and rm: ``chosen`` is right, ``rejected`` is wrong."""
    return [
        {"instruction": example.prompt, "chosen": example.answer, "rejected": wrong}
        for example, wrong in _with_wrong_answers(world, per_skill, "preference")
    ]


def tagged(world: World, per_skill: int = 20) -> list[Row]:
    """Rows for the stage kto: half right and tagged true, half wrong and tagged false."""
    return [
        {"instruction": example.prompt, "output": wrong if index % 2 else example.answer, "tag": index % 2 == 0}
        for index, (example, wrong) in enumerate(_with_wrong_answers(world, per_skill, "kto"))
    ]
