"""Raw text of the micro world: the general skills as plain statements, prose, and a few chat transcripts."""

import random
from collections.abc import Sequence

from .domains import ACTS, GRAVE, MILD, PLAIN_PLACES, finance_text
from .skills import series
from .words import KINDS
from .world import CODES, LANGUAGE, ORGANS, SIGNS, World


TRANSCRIPT_SHARE = 0.4
"""Share of lines that are chat transcripts: enough to make the format known, too few to make it fluent."""


_TALK_WEIGHTS = {"arithmetic": 3, "strings": 3, "recall": 4, "dictionary": 4, "choice": 5, "format": 3}
_TELL_WEIGHTS = {"arithmetic": 3, "strings": 3, "recall": 4, "dictionary": 4, "kind": 2, "format": 3}
"""How often each skill is talked or told about: facts need more repetition than rules."""


def transcript(turns: Sequence[tuple[str, str]]) -> str:
    """Turns exactly as the chat template writes them, without the last end mark: stage pt adds that itself."""
    return "<|im_end|>\n".join(
        f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n{answer}" for prompt, answer in turns
    )


def statement(rng: random.Random, world: World) -> str:
    """A line of plain text that says several things about one subject of the world."""
    kind = _weighted(rng, _TELL_WEIGHTS)
    if kind == "recall":
        land = rng.choice(world.lands)
        facts = [fact for fact in world.general if fact.subject == land]
        rng.shuffle(facts)
        form = rng.choice(("{0}:{1}", "{0} is {1}"))
        return f"{land} " + ", ".join(form.format(fact.relation, fact.value) for fact in facts)
    if kind == "dictionary":
        form = rng.choice(("{0} in english:{1}", "{1} in {2}:{0}", "the {2} word {0} means {1}"))
        return ", ".join(form.format(*rng.choice(world.dictionary), LANGUAGE) for _ in range(3))
    if kind == "kind":
        name = rng.choice(sorted(KINDS))
        return f"{name}: " + ", ".join(rng.sample(KINDS[name], 5))

    separator = rng.choice((" ", ":"))
    return " ".join(f"{item.prompt}{separator}{item.answer}" for item in series(kind, rng, world, 3))


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
    result: list[str] = []
    for _ in range(lines):
        dice = rng.random()
        if dice < share:
            turns = series(_weighted(rng, _TALK_WEIGHTS), rng, world, 3)
            result.append(transcript([(turn.prompt, turn.answer) for turn in turns]))
        elif dice < share + 0.08:
            result.append(prose(rng, world))
        else:
            result.append(statement(rng, world))

    return result


def _weighted(rng: random.Random, weights: dict[str, int]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]
