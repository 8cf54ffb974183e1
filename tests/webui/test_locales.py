"""Five languages, the same fields in each, nothing in common with the host's own words."""

import string

import pytest
from llamafactory.webui.locales import ALERTS as HOST_ALERTS
from llamafactory.webui.locales import LOCALES as HOST_LOCALES

from llamafactory_dba.webui.locales import ALERTS, LANGUAGES, LOCALES, message, properties


def fields_of(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("name", sorted(LOCALES))
def test_an_element_says_the_same_in_five_languages(name):
    texts = LOCALES[name]
    assert name.startswith("dba_")
    assert tuple(texts) == LANGUAGES
    assert len({frozenset(properties) for properties in texts.values()}) == 1
    for lang, found in texts.items():
        for kind, text in found.items():
            assert kind in ("label", "info", "value", "placeholder", "headers", "choices"), (lang, kind)
            assert text, (lang, kind)


@pytest.mark.parametrize("key", sorted(ALERTS))
def test_a_message_has_the_same_fields_in_five_languages(key):
    texts = ALERTS[key]
    assert key.startswith("dba_")
    assert tuple(texts) == LANGUAGES
    assert all(texts.values())
    assert len({frozenset(fields_of(text)) for text in texts.values()}) == 1


def test_nothing_of_the_host_is_overwritten():
    # the host's dictionaries hold ours only in a process that has built a board
    ours = {*LOCALES, *ALERTS}
    theirs = {name for name in (*HOST_LOCALES, *HOST_ALERTS) if not name.startswith("dba_")}
    assert len(theirs) > 100
    assert not ours & theirs


def test_every_field_is_explained():
    fields = [name for name, texts in LOCALES.items() if name.startswith("dba_train_") and "info" in texts["en"]]
    assert len(fields) > 20
    for name in fields:
        for lang in LANGUAGES:
            assert len(LOCALES[name][lang]["info"]) > 5


def test_a_message_is_filled_in_and_falls_back_to_english():
    assert "16" in message("dba_number_above", "zh", label="x", low="0", found=16)
    assert message("dba_no_model", None) == ALERTS["dba_no_model"]["en"]
    assert properties("dba_train_enabled", "ru")["label"] == "Использовать DBA"
