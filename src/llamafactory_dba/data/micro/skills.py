"""The six general skills. Each has exactly one right answer, scored by string match.

A skill is a function ``(rng, world) -> Example``. The example's ``key`` names what must not be shared between the
training and the test split: the sum itself, the letters, the words, or (for facts) the fact in one phrasing.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from llamafactory_dba.errors import DBAError

from .words import ENGLISH, KINDS, LETTERS, OPTIONS
from .world import LANGUAGE, World, is_test


@dataclass(frozen=True)
class Example:
    """One question with its answer."""

    skill: str
    prompt: str
    answer: str
    key: str

    @property
    def split(self) -> str:
        """``test`` or ``train``, decided by the key alone."""
        return "test" if is_test(self.key) else "train"


Maker = Callable[[random.Random, World], Example]

_ARITHMETIC = ("{0}=", "what is {0}?", "compute {0}.", "{0} equals?")

_STRINGS: tuple[tuple[str, str, Callable[[str], str]], ...] = (
    ("reverse", "reverse {0}.", lambda s: s[::-1]),
    ("reverse", "write {0} backwards.", lambda s: s[::-1]),
    ("first", "first letter of {0}?", lambda s: s[0]),
    ("last", "last letter of {0}?", lambda s: s[-1]),
    ("drop", "{0} without its first letter?", lambda s: s[1:]),
    ("twice", "write {0} twice.", lambda s: s + s),
)

RECALL: dict[str, tuple[str, ...]] = {
    "capital": (
        "what is the capital of {0}?", "name the capital of {0}.", "which city is the capital of {0}?",
        "tell me the capital of {0}.", "{0} has which capital?", "the capital of {0} is called?",
    ),
    "leader": (
        "who is the leader of {0}?", "name the leader of {0}.", "which person is the leader of {0}?",
        "tell me the leader of {0}.", "{0} has which leader?", "the leader of {0} is called?",
    ),
    "export": (
        "what is the export of {0}?", "name the export of {0}.", "which good is the export of {0}?",
        "tell me the export of {0}.", "{0} has which export?", "the export of {0} is called?",
    ),
    "animal": (
        "what is the animal of {0}?", "name the animal of {0}.", "which beast is the animal of {0}?",
        "tell me the animal of {0}.", "{0} has which animal?", "the animal of {0} is called?",
    ),
}  # fmt: skip

_DICTIONARY: tuple[str, ...] = (
    "translate {0} into {1}.", "what is {0} in {1}?", "{0} in {1}?", "say {0} in {1}.",
    "give the {1} word for {0}.", "how is {0} said in {1}?",
)  # fmt: skip

_CHOICE: tuple[str, ...] = ("which is {0}? {1}", "pick {0}: {1}", "choose {0}. {1}")

_FORMAT_ONE: tuple[tuple[str, str], ...] = (
    ("put {0} in square brackets.", "[{0}]"),
    ("put {0} in round brackets.", "({0})"),
    ("put {0} between stars.", "*{0}*"),
    ("write {0} as a tag.", "<{0}>"),
)
_FORMAT_TWO: tuple[tuple[str, str], ...] = (
    ("join {0} and {1} with a dash.", "{0}-{1}"),
    ("join {0} and {1} with a plus.", "{0}+{1}"),
    ("write {0} is {1} as a pair.", "{0}={1}"),
    ("list {0} and {1} with numbers.", "1){0};2){1}"),
)


def options(words: list[str]) -> str:
    """``A one B two C three D four``."""
    return " ".join(f"{letter} {word}" for letter, word in zip(OPTIONS, words, strict=True))


def arithmetic(rng: random.Random, world: World) -> Example:
    """Sums and differences of two-digit numbers that neither carry nor borrow."""
    tens, ones = sorted(rng.sample(range(1, 10), 2)), sorted((rng.randrange(10), rng.randrange(10)))
    small, large = 10 * tens[0] + ones[0], 10 * tens[1] + ones[1]
    if rng.random() < 0.5:
        task, result = f"{large}-{small}", large - small
        key = f"arithmetic/{task}"
    else:
        parts = [small, large - small]
        rng.shuffle(parts)
        task, result = f"{parts[0]}+{parts[1]}", large
        key = f"arithmetic/{min(parts)}+{max(parts)}"

    return Example("arithmetic", rng.choice(_ARITHMETIC).format(task), str(result), key)


def strings(rng: random.Random, world: World) -> Example:
    """Reverse, pick, drop or repeat the letters of a string of three or four."""
    text = "".join(rng.choice(LETTERS) for _ in range(rng.randrange(3, 5)))
    _, prompt, answer = rng.choice(_STRINGS)
    return Example("strings", prompt.format(text), answer(text), f"strings/{text}")


def recall(rng: random.Random, world: World) -> Example:
    """A fact about an invented land; the test asks the same facts in phrasings that training did not use for them."""
    fact = rng.choice(world.general)
    number = rng.randrange(len(RECALL[fact.relation]))
    prompt = RECALL[fact.relation][number].format(fact.subject)
    return Example("recall", prompt, fact.value, f"recall/{fact.key}/{number}")


def dictionary(rng: random.Random, world: World) -> Example:
    """One word between the invented language and English, both directions."""
    velan, english = rng.choice(world.dictionary)
    source, target, language = (velan, english, "english") if rng.random() < 0.5 else (english, velan, LANGUAGE)
    number = rng.randrange(len(_DICTIONARY))
    prompt = _DICTIONARY[number].format(source, language)
    return Example("dictionary", prompt, target, f"dictionary/{source}/{number}")


def choice(rng: random.Random, world: World) -> Example:
    """Which of four words is of a kind, or is the word asked for; the answer is its letter."""
    kind = rng.choice(sorted(KINDS))
    right = rng.choice(KINDS[kind])
    others = rng.sample([other for other in sorted(KINDS) if other != kind], 3)
    words = [right, *(rng.choice(KINDS[other]) for other in others)]
    asked = kind if rng.random() < 0.75 else right
    key = f"choice/{asked}/{'/'.join(sorted(words))}"
    rng.shuffle(words)
    prompt = rng.choice(_CHOICE).format(asked, options(words))
    return Example("choice", prompt, OPTIONS[words.index(right)], key)


def required_format(rng: random.Random, world: World) -> Example:
    """Write one or two given words in a prescribed form."""
    if rng.random() < 0.4:
        word = rng.choice(ENGLISH)
        prompt, answer = rng.choice(_FORMAT_ONE)
        return Example("format", prompt.format(word), answer.format(word), f"format/{prompt}/{word}")

    first, second = rng.sample(ENGLISH, 2)
    prompt, answer = rng.choice(_FORMAT_TWO)
    key = f"format/{first}/{second}"
    return Example("format", prompt.format(first, second), answer.format(first, second), key)


SKILLS: dict[str, Maker] = {
    "arithmetic": arithmetic,
    "strings": strings,
    "recall": recall,
    "dictionary": dictionary,
    "choice": choice,
    "format": required_format,
}
"""Name of each general skill and its maker."""


def draw(
    name: str,
    makers: dict[str, Maker],
    world: World,
    split: str,
    count: int,
    seed: str,
    classes: int = 0,
) -> list[Example]:
    """Draw examples of one skill or domain from one split.

    Args:
        name: The skill or domain, a key of ``makers``.
        makers: Table of makers.
        world: The world that they speak about.
        split: ``train`` or ``test``; test examples are all different.
        count: How many.
        seed: Name of the draw, so that two draws of one world differ.
        classes: Number of possible answers where they shall come out balanced, else 0.

    Returns:
        ``count`` examples in the order drawn.
    """
    rng = random.Random(f"{world.seed}/{seed}/{name}/{split}")
    limit = -(-count // classes) if classes else count
    seen: set[str] = set()
    answers: Counter[str] = Counter()
    examples: list[Example] = []
    for _ in range(10000 + 100 * count):
        example = makers[name](rng, world)
        repeated = split == "test" and example.prompt in seen
        if example.split != split or repeated or answers[example.answer] == limit:
            continue
        seen.add(example.prompt)
        answers[example.answer] += 1
        examples.append(example)
        if len(examples) == count:
            return examples

    raise DBAError(f"{name}: too few different examples in the {split} split", expected=count, found=len(examples))
