"""Word pools of the micro world: plain English nouns by kind, and a maker of invented names.

Everything is lower case: the tokenizer keeps capitals for single letters (string tasks, options A to D).
"""

import random


KINDS: dict[str, tuple[str, ...]] = {
    "fruit": ("apple", "pear", "plum", "cherry", "grape", "lemon", "melon", "peach", "fig", "mango"),
    "animal": ("horse", "goat", "fox", "bear", "wolf", "otter", "crow", "seal", "hare", "mole"),
    "tool": ("hammer", "saw", "drill", "spade", "chisel", "wrench", "needle", "anvil", "rake", "axe"),
    "colour": ("red", "blue", "green", "yellow", "purple", "black", "white", "orange", "brown", "grey"),
    "metal": ("iron", "copper", "tin", "lead", "zinc", "silver", "gold", "nickel", "steel", "brass"),
    "weather": ("rain", "snow", "fog", "hail", "wind", "storm", "frost", "thunder", "cloud", "mist"),
}
"""Kinds of things that the multiple-choice skill asks about."""

OTHER_NOUNS: tuple[str, ...] = (
    "bridge", "river", "stone", "tower", "lamp", "boat", "door", "chair", "table", "window",
    "garden", "letter", "candle", "mirror", "basket", "bell", "rope", "coin", "drum", "cloak",
)  # fmt: skip

ENGLISH: tuple[str, ...] = tuple(word for words in KINDS.values() for word in words) + OTHER_NOUNS
"""Every English noun of the dictionary and of the format tasks."""

GOODS: tuple[str, ...] = (
    "wool", "salt", "glass", "silk", "honey", "timber", "grain", "paper", "pepper", "marble", "wine", "cotton",
)  # fmt: skip

LETTERS = "ABCDEFGHKLMNPRST"
OPTIONS = "ABCD"

_ONSETS = ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "br", "dr", "kr", "tr", "st", "gl")
_VOWELS = ("a", "e", "i", "o", "u")
_ENDINGS: dict[str, tuple[str, ...]] = {
    "land": ("nia", "mark", "dor", "stan"),
    "city": ("grad", "ville", "port", "polis"),
    "person": ("sson", "ula", "ander", "ine"),
    "word": ("", "k", "n", "sh"),
    "company": ("co", "tex", "corp", "gen"),
    "disease": ("itis", "osis", "emia", "algia"),
    "drug": ("azol", "icin", "iprin", "oxan"),
    "cup": ("cup", "bowl"),
}


def invent(rng: random.Random, kind: str, count: int, taken: set[str]) -> list[str]:
    """Make new names.

    Args:
        rng: Source of randomness.
        kind: Which endings to use, a key of the table above.
        count: How many names.
        taken: Names in use; the new ones are added to it.

    Returns:
        ``count`` names that differ from each other and from everything in ``taken``.
    """
    names: list[str] = []
    while len(names) < count:
        syllables = [rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(2)]
        name = "".join(syllables) + rng.choice(_ENDINGS[kind])
        if name not in taken:
            taken.add(name)
            names.append(name)

    return names
