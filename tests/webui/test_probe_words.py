"""Every sentence of a probe is said in the page's language."""

import copy
import json
import pickle
import re
from string import Formatter

import pytest

from llamafactory_dba.anchor.similarity import Agreement, Spread
from llamafactory_dba.sentences import Sentence
from llamafactory_dba.training.probe_result import Settings, advise
from llamafactory_dba.training.probe_words import FORMS
from llamafactory_dba.webui.locales import ALERTS, LANGUAGES, message


ENGLISH = re.compile(r"\b(the|anchor|batches|gradient|training|rate|noise|steps|general|of)\b")


def fields(text):
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("kind", FORMS)
def test_a_sentence_is_there_in_five_languages(kind):
    key = f"dba_probe_said_{kind}"
    values = {name: f"<{name}>" for name in fields(FORMS[kind])}
    for lang in LANGUAGES:
        assert fields(ALERTS[key][lang]) == set(values)
        said = message(key, lang, **values)
        assert lang == "en" or not ENGLISH.search(re.sub(r"`[^`]*`|<\w+>|\(docs/\S+\)", "", said)), said
    if kind != "no_correction":  # said in the words of a form, not of a recipe
        english = Sentence.of(FORMS, kind, **values)
        if english[0].isascii():  # not of λ
            english = english.capitalized()
        assert message(key, "en", **values) == f"{english.removesuffix('.')}."


def test_no_sentence_is_left_over():
    said = {key.removeprefix("dba_probe_said_") for key in ALERTS if key.startswith("dba_probe_said_")}
    assert said == set(FORMS)


def test_advice_keeps_its_figures():
    settings = Settings(boost_magnitude=0.0, use_correction=True, base_correction=0.1, total_steps=100, global_batch=8)
    domain = Agreement(-0.0321, 0.0012, 0.25, 1.0, 1.0, 0.001, 10**6)
    advice = advise(settings, Spread(7.5, 0.1, 7.4, 7.6), domain, 0.5, ((9, 0.9),))
    assert [item.kind for item in advice] == ["constant", "moving", "against", "scattered", "large_boost"]
    for item in advice:
        for lang in LANGUAGES:
            said = message(f"dba_probe_said_{item.kind}", lang, **item.values)
            assert all(value in said for value in item.values.values())


def test_a_sentence_is_a_string_that_keeps_what_it_says():
    sentence = Sentence.of({"big": "it is {size}"}, "big", size=3).capitalized()
    assert sentence == "It is 3" and json.loads(json.dumps(sentence)) == "It is 3"
    for same in (copy.deepcopy(sentence), pickle.loads(pickle.dumps(sentence))):
        assert same == sentence and same.told() == {"kind": "big", "values": {"size": "3"}}
