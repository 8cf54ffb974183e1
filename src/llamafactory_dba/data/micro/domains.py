"""The four domains, named after the paper's: finance sentiment, medicine exam, law, news true/false."""

import random

from .skills import Example, Maker, options
from .words import OPTIONS
from .world import OFFENCES, Fact, World


METRICS = ("profit", "revenue", "demand", "output", "margin", "turnover", "income", "volume")
UP = ("rose", "grew", "improved", "jumped", "climbed", "recovered")
DOWN = ("fell", "dropped", "shrank", "slumped", "weakened", "declined")
PLAIN_UP = ("rise", "grow", "improve", "jump", "climb", "recover")
PLAIN_DOWN = ("fall", "drop", "shrink", "slump", "weaken", "decline")
NEUTRAL = (
    "{0} will publish its report in {1}.", "{0} holds its meeting in {1}.", "{0} names its auditor in {1}.",
    "{0} said {2} was unchanged in {1}.", "{0} moves its office in {1}.", "{0} said {2} will be counted in {1}.",
)  # fmt: skip
MONTHS = ("january", "march", "april", "june", "august", "october")
_FINANCE = (
    "positive, negative or neutral? {0}", "sentiment of this headline: {0}", "how does this news sound? {0}",
)  # fmt: skip

ACTS: dict[str, str] = {
    "took a purse": "theft", "took a cart": "theft",
    "burned a barn": "arson", "burned a ship": "arson",
    "lied to a judge": "perjury", "lied under oath": "perjury",
    "sold false goods": "fraud", "sold false maps": "fraud",
    "hit a guard": "assault", "hit a clerk": "assault",
    "broke a gate": "damage", "broke a fence": "damage",
}  # fmt: skip
GRAVE = ("at night", "with a weapon", "for the third time")
MILD = ("by mistake", "under threat", "in great need")
PLAIN_PLACES = ("near the port", "on the road", "in the square")
_ARTICLE = (
    "what does article {0} of the {1} code punish?", "article {0} of the {1} code is about?",
    "name the offence in article {0} of the {1} code.", "which offence does the {1} code punish in article {0}?",
    "{1} code, article {0}: which offence?",
)  # fmt: skip
_CHARGE = ("the accused {0}. which charge?", "charge for this case: the accused {0}.")

_MEDICINE: dict[str, tuple[str, ...]] = {
    "drug": ("which drug treats {0}? {1}", "the treatment of {0} is? {1}", "a patient with {0} is given? {1}"),
    "organ": ("which organ does {0} attack? {1}", "{0} is a disease of the? {1}", "where does {0} begin? {1}"),
    "sign": ("what is the first sign of {0}? {1}", "{0} shows itself by? {1}", "a patient with {0} reports? {1}"),
}
_NEWS: dict[str, tuple[str, ...]] = {
    "capital": (
        "true or false: in {2} {0} made {1} its capital.", "true or false: since {2} the capital of {0} is {1}.",
        "is it true that {0} moved its capital to {1} in {2}?", "{0} chose {1} as its capital in {2}, true or false?",
        "news of {2}: {1} is now the capital of {0}. true?", "did {0} make {1} its capital in {2}, true or false?",
    ),
    "leader": (
        "true or false: in {2} {1} became leader of {0}.", "true or false: since {2} the leader of {0} is {1}.",
        "is it true that {0} chose {1} as its leader in {2}?", "{0} made {1} its leader in {2}, true or false?",
        "news of {2}: {1} is now the leader of {0}. true?", "did {0} make {1} its leader in {2}, true or false?",
    ),
    "winner": (
        "true or false: in {2} {1} won the {0}.", "true or false: the {0} of {2} went to {1}.",
        "is it true that the {0} was won by {1} in {2}?", "{1} took the {0} in {2}, true or false?",
        "news of {2}: {1} has the {0}. true?", "did {1} win the {0} in {2}, true or false?",
    ),
}  # fmt: skip


def finance_text(rng: random.Random, world: World) -> tuple[str, str]:
    """A headline and its class. A negation turns a cue round; of two mixed cues the main clause decides."""
    company = rng.choice(world.companies)
    first, second = rng.sample(METRICS, 2)
    kind = rng.choices(("plain", "negated", "mixed", "neutral"), (3, 3, 4, 4))[0]
    up = rng.random() < 0.5
    label = "positive" if up else "negative"
    cue = rng.choice(UP if up else DOWN)
    other = rng.choice(DOWN if up else UP)
    if kind == "neutral":
        return rng.choice(NEUTRAL).format(company, rng.choice(MONTHS), first), "neutral"
    if kind == "negated":
        verb = rng.choice(PLAIN_DOWN if up else PLAIN_UP)
        return f"{company} said {first} did not {verb} in {rng.choice(MONTHS)}.", label
    if kind == "mixed":
        form = rng.choice(
            ("{0} said {1} {2} but {3} {4}.", "{0} said {3} {4} although {1} {2}.", "{0}: while {1} {2}, {3} {4}.")
        )
        return form.format(company, second, other, first, cue), label

    return f"{company} said {first} {cue} in {rng.choice(MONTHS)}.", label


def finance(rng: random.Random, world: World) -> Example:
    """Sentiment of a headline: positive, negative or neutral."""
    text, label = finance_text(rng, world)
    return Example("finance", rng.choice(_FINANCE).format(text), label, f"finance/{text}")


def medicine(rng: random.Random, world: World) -> Example:
    """Four options about an invented disease; the test asks the same facts in other phrasings."""
    fact = rng.choice(world.medicine)
    number = rng.randrange(len(_MEDICINE[fact.relation]))
    pool = [value for value in world.values[fact.relation] if value != fact.value]
    words = [fact.value, *rng.sample(pool, 3)]
    rng.shuffle(words)
    prompt = _MEDICINE[fact.relation][number].format(fact.subject, options(words))
    return Example("medicine", prompt, OPTIONS[words.index(fact.value)], f"medicine/{fact.key}/{number}")


def charge(act: str, circumstances: tuple[str, ...]) -> str:
    """The charge by rule: a grave circumstance and a mild one cancel each other."""
    grave = any(item in GRAVE for item in circumstances)
    mild = any(item in MILD for item in circumstances)
    prefix = "grave " if grave and not mild else "petty " if mild and not grave else ""
    return prefix + ACTS[act]


def law(rng: random.Random, world: World) -> Example:
    """Half recall of a statute in other words, half the charge of a case by rule."""
    if rng.random() < 0.5:
        fact = rng.choice(world.law)
        number = rng.randrange(len(_ARTICLE))
        article, code = fact.subject.split()
        return Example("law", _ARTICLE[number].format(article, code), fact.value, f"law/{fact.key}/{number}")

    act = rng.choice(sorted(ACTS))
    circumstances = tuple(rng.sample(GRAVE + MILD + PLAIN_PLACES, 2))
    case = f"{act} {circumstances[0]} and {circumstances[1]}"
    return Example("law", rng.choice(_CHARGE).format(case), charge(act, circumstances), f"law/{case}")


def news(rng: random.Random, world: World) -> Example:
    """True or false: an event after the cut-off; a false claim often repeats what held before it."""
    fact = rng.choice(world.news)
    number = rng.randrange(len(_NEWS[fact.relation]))
    true = rng.random() < 0.5
    claim = fact.value if true else _false_claim(rng, world, fact)
    subject = fact.subject.split()[0]
    prompt = _NEWS[fact.relation][number].format(subject, claim, fact.year)
    return Example("news", prompt, "true" if true else "false", f"news/{fact.key}/{number}")


def _false_claim(rng: random.Random, world: World, fact: Fact) -> str:
    old = [item.value for item in world.general if item.key == fact.key and item.value != fact.value]
    if old and rng.random() < 0.5:
        return old[0]
    return rng.choice([value for value in world.values[fact.relation] if value not in (fact.value, *old)])


DOMAINS: dict[str, Maker] = {"finance": finance, "medicine": medicine, "law": law, "news": news}
"""Name of each domain and its maker."""

CHANCE = {"finance": 100 / 3, "medicine": 25.0, "law": 100 / (len(OFFENCES) + 18), "news": 50.0}
"""Accuracy in % of a blind guess among the possible answers."""

CLASSES = {"finance": 3, "medicine": 4, "law": 0, "news": 2}
"""Number of classes to balance in drawing; law answers are open."""
