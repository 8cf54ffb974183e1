"""A recipe is what a training gets, whichever way it goes through the board."""

from pathlib import Path

import pytest
import yaml

from llamafactory_dba.arguments import DBAArguments
from llamafactory_dba.errors import DBAError
from llamafactory_dba.webui.fields import to_arguments
from llamafactory_dba.webui.host_form import Known, fill
from llamafactory_dba.webui.recipe import LARGEST, from_yaml, to_yaml


EXAMPLES = Path(__file__).parents[2] / "examples"
KNOWN = Known(stages={"sft": "Supervised Fine-Tuning", "pt": "Pre-Training"}, models={"hub/model": "Model-1B"})


def no_field(name, value):
    raise LookupError(name)


def test_what_is_written_is_read_again():
    arguments = {
        "use_dba": True,
        "dba_use_correction": False,
        "learning_rate": 2e-6,
        "dba_elastic_strength": 1e4,
        "stage": "sft",
        "dataset": "a,b",
        "model_name_or_path": "用户/模型",
        "seed": 42,
    }
    text = to_yaml({**arguments, "nothing": None, "empty": ""})
    assert from_yaml(text) == arguments
    assert yaml.safe_load(text) == arguments  # numbers are numbers for every reader
    assert text.index("### dba") < text.index("### train")


def test_no_token_reaches_the_file():
    text = to_yaml(
        {"hf_hub_token": "hf_abcdefghijklmnopqrstuvwxyz", "swanlab_api_key": "x", "seed": 1, "note": "hf_" + 30 * "a"}
    )
    assert "token" not in text and "api_key" not in text and "aaaa" not in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no settings"),
        ("- a\n- b\n", "no settings"),
        ("a: [1,\nb: 2", "no YAML"),
        ("a: !!python/object/apply:os.system ['true']", "no YAML"),
        ("1: 2", "no settings"),
        ("a: " + "x" * LARGEST, "too large"),
    ],
)
def test_what_is_no_recipe_is_told(text, said):
    with pytest.raises(DBAError, match=said):
        from_yaml(text)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("micro/*.yaml")), ids=lambda path: path.name)
def test_every_argument_of_the_examples_is_kept_in_field_or_extra(path):
    arguments = from_yaml(path.read_text(encoding="utf-8"))
    filled = fill(arguments, KNOWN, no_field)
    kept = {**filled.extra, **to_arguments(filled.form)}
    elsewhere = {"model_name_or_path", "stage", "do_train", "dataset", "output_dir", "bf16", "fp16"}
    for name, value in arguments.items():
        if name not in elsewhere:
            assert kept.get(name, getattr(DBAArguments, name, None)) == value, name  # a default need not be said


def test_the_form_of_a_recipe_says_what_the_trainer_would_do_by_itself():
    filled = fill({"model_name_or_path": "hub/model", "dataset": "a, b"}, KNOWN, no_field)
    assert filled.host["top.model_name"] == "Model-1B"
    assert filled.host["train.dataset"] == ["a", "b"]
    assert filled.host["train.batch_size"] == 8 and filled.host["train.compute_type"] == "fp32"
    assert filled.extra == {}


def test_an_output_folder_where_the_host_puts_it_is_named_by_its_last_part():
    base = {"model_name_or_path": "x", "finetuning_type": "full"}
    usual = fill({**base, "output_dir": "saves/Custom/full/one"}, KNOWN, no_field)
    other = fill({**base, "output_dir": "runs/micro/dba"}, KNOWN, no_field)
    assert usual.host["train.output_dir"] == "one"
    assert other.host["train.output_dir"] == "runs/micro/dba"


def test_precision_and_deepspeed_find_their_menus():
    filled = fill({"bf16": True, "deepspeed": "llamaboard_cache/ds_z2_offload_config.json"}, KNOWN, no_field)
    assert filled.host["train.compute_type"] == "bf16"
    assert (filled.host["train.ds_stage"], filled.host["train.ds_offload"]) == ("2", True)
    assert fill({"deepspeed": "mine.json"}, KNOWN, no_field).extra == {"deepspeed": "mine.json"}
