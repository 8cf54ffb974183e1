"""The six general skills. Each has exactly one right answer, scored by string match.

A skill picks a subject and asks about it; a maker ``(rng, world) -> Example`` does both. The example's ``key`` names
what must not be shared between the training and the test split: the sum itself, the letters, the words, or (for
facts) the fact in one phrasing.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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

_STRINGS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("reverse {0}.", lambda s: s[::-1]),
    ("write {0} backwards.", lambda s: s[::-1]),
    ("first letter of {0}?", lambda s: s[0]),
    ("last letter of {0}?", lambda s: s[-1]),
    ("{0} without its first letter?", lambda s: s[1:]),
    ("write {0} twice.", lambda s: s + s),
)

_RECALL: tuple[str, ...] = (
    "what is the {1} of {0}?", "name the {1} of {0}.", "which is the {1} of {0}?",
    "tell me the {1} of {0}.", "{0} has which {1}?", "the {1} of {0} is called?",
)  # fmt: skip

_DICTIONARY: tuple[str, ...] = (
    "translate {0} into {1}.", "what is {0} in {1}?", "{0} in {1}?", "say {0} in {1}.",
    "give the {1} word for {0}.", "how is {0} said in {1}?",
)  # fmt: skip

_CHOICE: tuple[str, ...] = ("which is {0}? {1}", "pick {0}: {1}", "choose {0}. {1}")
_CHOICE_WORD: tuple[str, ...] = ("name {0}. {1}", "copy {0}: {1}")

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
    """``one A two B three C four D``: the letter behind its word, an order that a small model learns sooner."""
    return " ".join(f"{word} {letter}" for letter, word in zip(OPTIONS, words, strict=True))


def pick_arithmetic(rng: random.Random, world: World) -> tuple[int, int]:
    """A small and a large two-digit number whose sum and difference neither carry nor borrow."""
    tens, ones = sorted(rng.sample(range(1, 10), 2)), sorted((rng.randrange(10), rng.randrange(10)))
    return 10 * tens[0] + ones[0], 10 * tens[1] + ones[1]


def ask_arithmetic(rng: random.Random, world: World, subject: tuple[int, int]) -> Example:
    """Sums and differences of two-digit numbers without carrying."""
    small, large = subject
    if rng.random() < 0.5:
        task, result = f"{large}-{small}", large - small
        key = f"arithmetic/{task}"
    else:
        parts = [small, large - small]
        rng.shuffle(parts)
        task, result = f"{parts[0]}+{parts[1]}", large
        key = f"arithmetic/{min(parts)}+{max(parts)}"

    return Example("arithmetic", rng.choice(_ARITHMETIC).format(task), str(result), key)


def pick_strings(rng: random.Random, world: World) -> str:
    """Three or four letters."""
    return "".join(rng.choice(LETTERS) for _ in range(rng.randrange(3, 5)))


def ask_strings(rng: random.Random, world: World, subject: str) -> Example:
    """Reverse, pick, drop or repeat the letters of a string."""
    prompt, answer = rng.choice(_STRINGS)
    return Example("strings", prompt.format(subject), answer(subject), f"strings/{subject}")


def pick_recall(rng: random.Random, world: World) -> str:
    """One of the lands."""
    return rng.choice(world.lands)


def ask_recall(rng: random.Random, world: World, subject: str) -> Example:
    """A fact about an invented land; the test asks the same facts in phrasings that training did not use for them."""
    fact = rng.choice([fact for fact in world.general if fact.subject == subject])
    number = rng.randrange(len(_RECALL))
    prompt = _RECALL[number].format(fact.subject, fact.relation)
    return Example("recall", prompt, fact.value, f"recall/{fact.key}/{number}")


def pick_dictionary(rng: random.Random, world: World) -> tuple[str, str]:
    """One entry of the dictionary."""
    return rng.choice(world.dictionary)


def ask_dictionary(rng: random.Random, world: World, subject: tuple[str, str]) -> Example:
    """One word between the invented language and English, both directions, in phrasings not trained for it."""
    velan, english = subject
    source, target, language = (velan, english, "english") if rng.random() < 0.5 else (english, velan, LANGUAGE)
    number = rng.randrange(len(_DICTIONARY))
    prompt = _DICTIONARY[number].format(source, language)
    return Example("dictionary", prompt, target, f"dictionary/{source}/{number}")


def pick_choice(rng: random.Random, world: World) -> dict[str, str]:
    """Four words of four kinds, in the order in which they are offered."""
    return {kind: rng.choice(KINDS[kind]) for kind in rng.sample(sorted(KINDS), 4)}


def ask_choice(rng: random.Random, world: World, subject: dict[str, str]) -> Example:
    """Which of four words is of a kind; the answer is its letter, or the word where that is asked."""
    kind = rng.choice(list(subject))
    words = list(subject.values())
    key = f"choice/{kind}/{'/'.join(sorted(words))}"
    if rng.random() < 0.4:
        return Example("choice", rng.choice(_CHOICE_WORD).format(kind, options(words)), subject[kind], key)
    letter = OPTIONS[words.index(subject[kind])]
    return Example("choice", rng.choice(_CHOICE).format(kind, options(words)), letter, key)


def pick_format(rng: random.Random, world: World) -> tuple[str, str]:
    """Two English words."""
    first, second = rng.sample(ENGLISH, 2)
    return first, second


def ask_format(rng: random.Random, world: World, subject: tuple[str, str]) -> Example:
    """Write one or two given words in a prescribed form."""
    first, second = subject
    if rng.random() < 0.4:
        prompt, answer = rng.choice(_FORMAT_ONE)
        return Example("format", prompt.format(first), answer.format(first), f"format/{prompt}/{first}")
    prompt, answer = rng.choice(_FORMAT_TWO)
    key = f"format/{first}/{second}"
    return Example("format", prompt.format(first, second), answer.format(first, second), key)


PARTS: dict[str, tuple[Callable[[random.Random, World], Any], Callable[[random.Random, World, Any], Example]]] = {
    "arithmetic": (pick_arithmetic, ask_arithmetic),
    "strings": (pick_strings, ask_strings),
    "recall": (pick_recall, ask_recall),
    "dictionary": (pick_dictionary, ask_dictionary),
    "choice": (pick_choice, ask_choice),
    "format": (pick_format, ask_format),
}
"""Name of each general skill: what picks a subject, and what asks one question about it."""


def _maker(name: str) -> Maker:
    pick, ask = PARTS[name]
    return lambda rng, world: ask(rng, world, pick(rng, world))


SKILLS: dict[str, Maker] = {name: _maker(name) for name in PARTS}
"""Name of each general skill and its maker."""


def series(name: str, rng: random.Random, world: World, count: int) -> list[Example]:
    """Up to ``count`` different training questions about one subject (of arithmetic and dictionary: several)."""
    pick, ask = PARTS[name]
    subject = pick(rng, world)
    found: dict[str, Example] = {}
    for _ in range(4 * count):
        if name in ("arithmetic", "dictionary"):
            subject = pick(rng, world)
        example = ask(rng, world, subject)
        if example.split == "train":
            found.setdefault(example.prompt, example)
        if len(found) == count:
            break

    return list(found.values())


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
