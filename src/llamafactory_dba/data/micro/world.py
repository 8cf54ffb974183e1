"""The micro world: every fact that its general data and its domains speak about, made from one seed."""

import hashlib
import random
from dataclasses import dataclass, field

from .words import ENGLISH, GOODS, KINDS, invent


SEED = 2509
"""Seed of the committed data and checkpoints."""

CUT_OFF_YEAR = 300
"""The general data speaks of the world up to this year; every news fact is younger."""

LANGUAGE = "velan"
"""Name of the invented language of the dictionary."""

LANDS = 36
DISEASES = 24
CODES = ("harbour", "market", "forest")
ORGANS = ("liver", "lung", "kidney", "heart", "skin", "eye", "ear", "bone")
SIGNS = ("fever", "cough", "rash", "cramps", "swelling", "dizziness", "chills", "fatigue", "itching", "numbness")
OFFENCES = (
    "poaching", "trespass", "bribery", "forgery", "gambling", "piracy", "dumping", "hoarding",
    "felling", "begging", "brawling", "spying",
)  # fmt: skip


@dataclass(frozen=True)
class Fact:
    """One entry of the world: the ``relation`` of ``subject`` is ``value``; ``year`` is when it became so."""

    relation: str
    subject: str
    value: str
    year: int = CUT_OFF_YEAR

    @property
    def key(self) -> str:
        """Names the question that the fact answers."""
        return f"{self.relation}/{self.subject}"


@dataclass(frozen=True)
class World:
    """All facts. Build it with :func:`make_world`."""

    seed: int
    lands: tuple[str, ...]
    cities: tuple[str, ...]
    people: tuple[str, ...]
    companies: tuple[str, ...]
    drugs: tuple[str, ...]
    cups: tuple[str, ...]
    general: tuple[Fact, ...]
    dictionary: tuple[tuple[str, str], ...]
    medicine: tuple[Fact, ...]
    law: tuple[Fact, ...]
    news: tuple[Fact, ...]
    values: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def contradicted(self) -> set[str]:
        """Keys of the general facts that a news fact replaces."""
        old = {fact.key: fact.value for fact in self.general}
        return {fact.key for fact in self.news if fact.key in old and old[fact.key] != fact.value}


def is_test(key: str, share: int = 6) -> bool:
    """Whether a question belongs to the test split: one key in ``share``, by hash, whatever else is drawn.

    Deciding by the question's own key, never by its place in a list, keeps the splits disjoint by construction.
    """
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % share == 0


def make_world(seed: int = SEED) -> World:
    """Build the world of a seed; the same seed always gives the same world."""
    rng = random.Random(f"world/{seed}")
    taken: set[str] = set(ENGLISH) | set(GOODS)
    lands = invent(rng, "land", LANDS, taken)
    cities = invent(rng, "city", LANDS, taken)
    people = invent(rng, "person", LANDS, taken)
    companies = invent(rng, "company", 16, taken)
    diseases = invent(rng, "disease", DISEASES, taken)
    drugs = invent(rng, "drug", DISEASES, taken)
    cups = invent(rng, "cup", 6, taken)
    velan = invent(rng, "word", len(ENGLISH), taken)

    general: list[Fact] = []
    for index, land in enumerate(lands):
        general.append(Fact("capital", land, cities[index]))
        general.append(Fact("leader", land, people[index]))
        general.append(Fact("export", land, rng.choice(GOODS)))
        general.append(Fact("animal", land, rng.choice(KINDS["animal"])))

    medicine: list[Fact] = []
    for index, disease in enumerate(diseases):
        medicine.append(Fact("drug", disease, drugs[index]))
        medicine.append(Fact("organ", disease, rng.choice(ORGANS)))
        medicine.append(Fact("sign", disease, rng.choice(SIGNS)))

    law = [
        Fact("article", f"{number} {code}", offence)
        for code in CODES
        for number, offence in zip(rng.sample(range(10, 100), 10), rng.sample(OFFENCES, 10), strict=True)
    ]
    return World(
        seed=seed,
        lands=tuple(lands),
        cities=tuple(cities),
        people=tuple(people),
        companies=tuple(companies),
        drugs=tuple(drugs),
        cups=tuple(cups),
        general=tuple(general),
        dictionary=tuple(zip(velan, ENGLISH, strict=True)),
        medicine=tuple(medicine),
        law=tuple(law),
        news=tuple(_news(rng, lands, cities, people, cups)),
        values={
            "capital": tuple(cities),
            "leader": tuple(people),
            "export": GOODS,
            "animal": KINDS["animal"],
            "drug": tuple(drugs),
            "organ": ORGANS,
            "sign": SIGNS,
            "winner": tuple(lands),
        },
    )


def _news(rng: random.Random, lands: list[str], cities: list[str], people: list[str], cups: list[str]) -> list[Fact]:
    """Events after the cut-off: new capitals and leaders contradict the general facts, cup winners are new."""
    facts: list[Fact] = []
    chosen = rng.sample(range(len(lands)), 16)
    for place, index in enumerate(chosen):
        relation, pool = ("capital", cities) if place % 2 == 0 else ("leader", people)
        value = rng.choice([name for other, name in enumerate(pool) if other != index])
        facts.append(Fact(relation, lands[index], value, CUT_OFF_YEAR + rng.randrange(1, 9)))

    for cup in cups:
        for year in rng.sample(range(CUT_OFF_YEAR + 1, CUT_OFF_YEAR + 9), 4):
            facts.append(Fact("winner", f"{cup} {year}", rng.choice(lands), year))

    return facts
