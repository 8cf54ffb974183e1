"""Raw text of the micro world: the general skills as plain statements, prose, and a few chat transcripts."""

import random

from .domains import ACTS, GRAVE, MILD, PLAIN_PLACES, finance_text
from .skills import SKILLS, Example
from .words import KINDS
from .world import CODES, LANGUAGE, ORGANS, SIGNS, World


TRANSCRIPT_SHARE = 0.15
"""Share of lines that are chat transcripts: enough to make the format known, too few to make it fluent."""


def transcript(prompt: str, answer: str) -> str:
    """One turn exactly as the chat template writes it, without the last end mark: stage pt adds that itself."""
    return f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n{answer}"


def statement(rng: random.Random, world: World) -> str:
    """One thing that is so in the world, as a plain line."""
    kind = rng.choice(("arithmetic", "strings", "recall", "dictionary", "kind", "format"))
    if kind == "recall":
        fact = rng.choice(world.general)
        form = rng.choice(
            ("the {0} of {1} is {2}.", "{1} has {2} as its {0}.", "{1}, {0}:{2}", "{2} is the {0} of {1}.")
        )
        return form.format(fact.relation, fact.subject, fact.value)
    if kind == "dictionary":
        velan, english = rng.choice(world.dictionary)
        form = rng.choice(("{0} in english:{1}", "{1} in {2}:{0}", "the {2} word {0} means {1}."))
        return form.format(velan, english, LANGUAGE)
    if kind == "kind":
        name = rng.choice(sorted(KINDS))
        return f"the {rng.choice(KINDS[name])} is a {name}."

    example = _train_example(rng, world, kind)
    return f"{example.prompt} {example.answer}" if kind != "arithmetic" else f"{_task(example)}={example.answer}"


def prose(rng: random.Random, world: World) -> str:
    """A line that uses the words of the domains and teaches nothing that they ask."""
    kind = rng.randrange(4)
    if kind == 0:
        return finance_text(rng, world)[0]
    if kind == 1:
        fact = rng.choice(world.medicine)
        return f"the book of {rng.choice(world.drugs)} has a page on {fact.subject}, {rng.choice(ORGANS + SIGNS)}."
    if kind == 2:
        place = rng.choice(GRAVE + MILD + PLAIN_PLACES)
        return f"the story tells of a man who {rng.choice(sorted(ACTS))} {place}, {rng.choice(CODES)} code."

    return f"{rng.choice(world.people)} went to {rng.choice(world.cities)} for the {rng.choice(world.cups)}."


def raw_text(world: World, lines: int, share: float = TRANSCRIPT_SHARE) -> list[str]:
    """The corpus for stage pt: ``lines`` documents of one line (a transcript spans several)."""
    rng = random.Random(f"{world.seed}/text")
    names = sorted(SKILLS)
    result: list[str] = []
    for _ in range(lines):
        dice = rng.random()
        if dice < share:
            example = _train_example(rng, world, rng.choice(names))
            result.append(transcript(example.prompt, example.answer))
        elif dice < share + 0.08:
            result.append(prose(rng, world))
        else:
            result.append(statement(rng, world))

    return result


def _train_example(rng: random.Random, world: World, name: str) -> Example:
    while True:
        example = SKILLS[name](rng, world)
        if example.split == "train":
            return example


def _task(example: Example) -> str:
    return "".join(letter for letter in example.prompt if letter.isdigit() or letter in "+-")
