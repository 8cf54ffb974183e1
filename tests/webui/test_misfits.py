"""Every difference between two base models that the package finds is said in the page's language."""

import re
from dataclasses import replace

import pytest
import torch
from anchor.helpers import config, truncations
from safetensors.torch import save_file

from llamafactory_dba.anchor.differences import FORMS, compare
from llamafactory_dba.anchor.fingerprint import Fingerprint, TensorPrint, fingerprint_folder
from llamafactory_dba.anchor.format import save_anchor
from llamafactory_dba.webui import anchor_fit
from llamafactory_dba.webui.locales import LANGUAGES
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


@pytest.mark.parametrize("kind", FORMS)
def test_a_difference_is_said_in_five_languages(kind):
    key = f"dba_misfit_{kind}"
    before = CASES["dba_misfit_missing"] if kind == "only" else BASE
    difference = compare(before, CASES[key])[0]
    assert difference.kind == kind
    problem = Problem("", key, difference.values)
    assert problem.say("en") == difference  # the English message says what the command line says
    for lang in LANGUAGES[1:]:
        said = problem.say(lang)
        for figure in re.findall(r"\d+", difference):
            assert figure in said
        assert not re.search(r"\b(the|here|anchor|model is|tensors|first|of|made)\b", said), said


def test_differences_are_said_within_a_sentence(tmp_path):
    """As the board says them: from an anchor's header and a model's folder."""
    for name, dtype in (("base", torch.float32), ("other", torch.bfloat16)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text('{"architectures": ["A"]}')
        value = torch.full((4, 4), 1.0 if name == "base" else 2.0, dtype=dtype)
        save_file({tensor: value.clone() for tensor in NAMES}, tmp_path / name / "model.safetensors")
    header = replace(config(), fingerprint=fingerprint_folder(tmp_path / "base"))
    save_anchor(tmp_path / "anchor", truncations(), header)
    assert not anchor_fit.misfit(tmp_path / "anchor", header, str(tmp_path / "base"))
    reasons = anchor_fit.misfit(tmp_path / "anchor", header, str(tmp_path / "other"))
    problem = Problem("", "dba_anchor_other", {"base": "mine", "reason": reasons})
    assert len(reasons) == 2
    assert problem.say("ru").startswith("Этот якорь от другой модели, mine: другой тип данных у 6 из 6")
    assert "; другие значения у 6 из 6" in problem.say("ru")
