"""The Train form and the arguments that it stands for."""

import json

import pytest

from llamafactory_dba.arguments import DBAArguments, argument_names
from llamafactory_dba.methods.registry import VARIANTS
from llamafactory_dba.webui.fields import DEFAULTS, PLAIN, from_arguments, into_extra, out_of_extra, to_arguments


ON = {**DEFAULTS, "dba_train_enabled": True, "dba_train_anchor": "anchors/mine"}


def test_nothing_is_added_while_dba_and_gauge_are_off():
    assert to_arguments({**DEFAULTS, "dba_train_anchor": "anchors/mine", "dba_train_rank": 3}) == {}


def test_the_form_begins_with_the_defaults_of_the_arguments():
    added = to_arguments(ON)
    defaults = DBAArguments()
    assert added.pop("use_dba") is True
    assert added.pop("dba_anchor_path") == "anchors/mine"
    assert added == {name: getattr(defaults, name) for name in added}


def test_every_argument_has_the_name_of_an_argument():
    full = {**ON, "dba_train_general": ["a", "b"], "dba_train_general_samples": 5, "dba_train_gauge_steps": 10}
    for variant in VARIANTS:
        assert set(to_arguments({**full, "dba_train_variant": variant, "dba_train_strength": 2.0})) <= set(
            argument_names()
        )
    assert set(PLAIN.values()) <= set(argument_names())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dba_train_boost_on": False},
        {"dba_train_correction": False, "dba_train_base": 0.5, "dba_train_rank": 16, "dba_train_boost": 20},
        {"dba_train_variant": "elastic", "dba_train_strength": 1e5, "dba_train_every": 8},
        {"dba_train_variant": "ewc", "dba_train_strength": 10.0, "dba_train_base_weights": "host"},
        {"dba_train_variant": "pcgrad", "dba_train_strength": 0.5},
        {"dba_train_embedding_ratio": 4.0},
        {"dba_train_variant": "l2sp", "dba_train_anchor": None},
        {"dba_train_general": ["one", "two"], "dba_train_general_samples": 100, "dba_train_added_tokens": True},
        {"dba_train_record": "never"},
        {
            "dba_train_gauge_steps": 20,
            "dba_train_gauge_data": ["one"],
            "dba_train_gauge_samples": 7,
            "dba_train_gauge_score": "token",
            "dba_train_gauge_patience": 3,
            "dba_train_gauge_keep_best": True,
        },
    ],
)
def test_the_arguments_lead_back_to_the_form(changes):
    form = {**ON, **changes}
    assert from_arguments({"learning_rate": 1e-5, **to_arguments(form)}) == (form, {"learning_rate": 1e-5})


def test_arguments_without_a_field_are_left_over():
    form, rest = from_arguments({"use_dba": True, "dba_layer_log_steps": 7, "seed": 1})
    assert form["dba_train_enabled"] and rest == {"dba_layer_log_steps": 7, "seed": 1}


def test_a_variant_that_no_menu_has_is_left_to_the_training_to_refuse():
    form, rest = from_arguments({"use_dba": True, "dba_variant": "elasticc"})
    assert form["dba_train_variant"] == "paper" and rest == {"dba_variant": "elasticc"}


def test_extra_arguments_carry_the_form_and_have_the_last_word():
    extra = into_extra('{"optim": "adamw_torch", "dba_svd_rank": 4}', {**ON, "dba_train_rank": 16})
    assert json.loads(extra)["dba_svd_rank"] == 4
    form, rest = out_of_extra(extra)
    assert form["dba_train_rank"] == 4 and form["dba_train_anchor"] == "anchors/mine"
    assert json.loads(rest) == {"optim": "adamw_torch"}


@pytest.mark.parametrize("extra", ['{"optim": "adamw_torch"}', "{}", "no json", "", None, "[1]"])
def test_extra_arguments_of_a_board_without_the_extension_stay_as_they_are(extra):
    assert out_of_extra(extra) == (DEFAULTS, extra)
    if extra is not None:
        assert into_extra(extra, DEFAULTS) == extra
