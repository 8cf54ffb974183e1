"""Every sentence of the package on two different base models is known, and said in the page's language."""

import re
from dataclasses import replace

import pytest

from llamafactory_dba.anchor.differences import compare
from llamafactory_dba.anchor.fingerprint import Fingerprint, TensorPrint
from llamafactory_dba.webui.locales import LANGUAGES
from llamafactory_dba.webui.misfit_words import SENTENCES, in_words
from llamafactory_dba.webui.problems import Problem


NAMES = ("model.embed_tokens.weight", *(f"model.layers.{number}.mlp.weight" for number in range(5)))
BASE = Fingerprint(
    "Qwen3ForCausalLM",
    "qwen3",
    "1" * 64,
    {name: TensorPrint((50, 16), "F32", f"hash of {name}", f"rounded {name}") for name in NAMES},
)


def changed(names=NAMES, architecture=BASE.architecture, **changes):
    tensors = {name: replace(item, **changes) if name in names else item for name, item in BASE.tensors.items()}
    return replace(BASE, tensors=tensors, architecture=architecture, total="2" * 64)


CASES = {
    "dba_misfit_architecture": changed((), architecture="LlamaForCausalLM"),
    "dba_misfit_added": changed(NAMES[:1], shape=(53, 16)),
    "dba_misfit_cut": changed(NAMES[:1], shape=(48, 16)),
    "dba_misfit_shapes": changed(NAMES[2:4], shape=(50, 32)),
    "dba_misfit_rounded": changed(dtype="BF16", hash="other"),
    "dba_misfit_dtype": changed(dtype="BF16", hash="other", rounded="other"),
    "dba_misfit_values": changed(hash="other", rounded="other"),
    "dba_misfit_partly": changed(NAMES[1:2], hash="other", rounded="other"),
    "dba_misfit_missing": replace(BASE, tensors={NAMES[0]: BASE.tensors[NAMES[0]]}),
    "dba_misfit_only": BASE,
}


@pytest.mark.parametrize("key", SENTENCES)
def test_a_sentence_of_the_package_is_said_in_five_languages(key):
    before = CASES["dba_misfit_missing"] if key == "dba_misfit_only" else BASE
    sentence = compare(before, CASES[key])[0]
    found = in_words(sentence)
    assert found.key == key
    shortened = re.sub(r" and (\d+) more$", r", … (+\1)", sentence)
    assert found.say("en") == shortened  # the English message says what the command line says
    for lang in LANGUAGES[1:]:
        said = found.say(lang)
        for figure in re.findall(r"\d+", sentence):
            assert figure in said
        assert not re.search(r"\b(the|here|anchor|model is|tensors|first|of|made)\b", said), said


def test_an_unknown_sentence_is_shown_as_it_is():
    assert in_words("something new").say("ja") == "something new"


def test_reasons_are_said_within_a_sentence():
    reasons = tuple(in_words(text) for text in compare(BASE, CASES["dba_misfit_dtype"]))
    problem = Problem("", "dba_anchor_other", {"base": "mine", "reason": reasons})
    assert len(reasons) == 2
    assert problem.say("ru").startswith("Этот якорь от другой модели, mine: другой тип данных у 6 из 6")
    assert "; другие значения у 6 из 6" in problem.say("ru")
