"""English sentences that can be said in other words: with the name of what they say, and what stands in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class Sentence(str):
    """A sentence, as a string; what the web board says in the language of its page.

    Attributes:
        kind: names what is said; a key of the forms that it was made from.
        values: what stands in the sentence, by name; words of no language.
    """

    __slots__ = ("kind", "values")
    kind: str
    values: dict[str, str]

    def __new__(cls, text: str, kind: str, values: Mapping[str, object]) -> Sentence:
        """``text`` as it is; see `of`."""
        made = super().__new__(cls, text)
        made.kind, made.values = kind, {name: str(value) for name, value in values.items()}
        return made

    @classmethod
    def of(cls, forms: Mapping[str, str], kind: str, **values: object) -> Sentence:
        """The form of ``kind`` with ``values`` in it.

        Args:
            forms: kind → text with ``{named}`` fields.
            kind: a key of ``forms``.
            values: one for each field.
        """
        return cls(forms[kind].format(**values), kind, values)

    def __reduce__(self) -> tuple[type[Sentence], tuple[str, str, dict[str, str]]]:
        return Sentence, (str(self), self.kind, self.values)  # for copies and pickles

    def capitalized(self) -> Sentence:
        """The same with a capital first letter, where it stands alone."""
        return Sentence(self[:1].upper() + self[1:], self.kind, self.values)

    def told(self) -> dict[str, object]:
        """``kind`` and ``values``, for JSON."""
        return {"kind": self.kind, "values": self.values}


def describe_names(names: Sequence[str], limit: int = 3) -> str:
    """A short list for English messages: the first ``limit`` names and how many more there are."""
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def first_few(names: Sequence[str], limit: int = 3) -> str:
    """The first ``limit`` names and how many more there are, without a word: ``a, b, c … (+2)``."""
    return ", ".join(names[:limit]) + (f" … (+{len(names) - limit})" if len(names) > limit else "")
