"""Every wrong input is answered before the model loads, with what, expected, found and next step; nothing is lost."""

import json
import shutil

import pytest
import support
import torch
from safetensors.torch import load_file, save_file

from llamafactory_dba.errors import DBAError


@pytest.fixture
def no_model_loading(monkeypatch):
    """Fails the test if a run gets as far as loading the model."""
    from llamafactory.train.sft import workflow

    from llamafactory_dba.training import anchor_run

    def load_model(*args, **kwargs):
        raise AssertionError("the model was loaded before the error")

    monkeypatch.setattr(workflow, "load_model", load_model)
    monkeypatch.setattr(anchor_run, "load_model", load_model)


def error_of(args) -> str:
    with pytest.raises(DBAError) as caught:
        support.run_here(args)
    return str(caught.value)


SETTINGS = {
    "rank zero": ({"dba_svd_rank": 0}, "`dba_svd_rank` must be > 0, found 0"),
    "negative rank": ({"dba_svd_rank": -3}, "`dba_svd_rank` must be > 0"),
    "negative magnitude": ({"dba_boost_magnitude": -1.0}, "`dba_boost_magnitude` must be >= 0"),
    "not a number": ({"dba_boost_magnitude": float("nan")}, "`dba_boost_magnitude` must be >= 0"),
    "base zero": ({"dba_base_correction": 0.0}, "`dba_base_correction` must be > 0"),
    "no samples": ({"dba_anchor_samples": 0}, "`dba_anchor_samples` must be > 0"),
    "threshold": ({"dba_anchor_stop_cosine": 1.5}, "`dba_anchor_stop_cosine` must be above 0"),
    "no path": ({"dba_anchor_path": None}, "needs `dba_anchor_path`"),
    "lora": ({"finetuning_type": "lora"}, "found `lora`"),
    "layer-wise galore": ({"use_galore": True, "galore_layerwise": True}, "Layer-wise GaLore"),
    "layer-wise apollo": ({"use_apollo": True, "apollo_layerwise": True}, "Layer-wise APOLLO"),
    "badam": ({"use_badam": True}, "BAdam trains one block"),
    "hyper parallel": ({"use_hyper_parallel": True}, "`use_hyper_parallel`"),
    "ppo": ({"stage": "ppo", "reward_model": "x", "reward_model_type": "full"}, "Stage `ppo`"),
    "anchor from dpo": ({"dba_stage": "anchor", "stage": "dpo"}, "stage `pt` or `sft`"),
    "lomo": ({"optim": "lomo"}, "steps inside the backward pass"),
    "same folder": ({"output_dir": "ANCHOR"}, "the same folder"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings(world, tmp_path, no_model_loading, name):
    changes, expected = SETTINGS[name]
    changes = {key: str(world / "anchor") if value == "ANCHOR" else value for key, value in changes.items()}
    args = support.arguments(world, tmp_path / "run", **changes)
    if changes.get("dba_anchor_path", "") is None:
        args.pop("dba_anchor_path", None)
    assert expected in error_of(args)


def test_megatron(world, tmp_path, no_model_loading, monkeypatch):
    from llamafactory.hparams import FinetuningArguments

    monkeypatch.setenv("USE_MCA", "1")
    with pytest.raises(DBAError, match="Megatron"):
        FinetuningArguments(finetuning_type="full", use_dba=True, dba_anchor_path="x")


def test_all_problems_are_told_together(world, tmp_path, no_model_loading):
    message = error_of(
        support.arguments(world, tmp_path / "run", dba_svd_rank=0, dba_boost_magnitude=-1.0, finetuning_type="lora")
    )
    assert all(part in message for part in ("dba_svd_rank", "dba_boost_magnitude", "lora"))


def test_anchor_missing(world, tmp_path, no_model_loading):
    message = error_of(support.arguments(world, tmp_path / "run", dba_anchor_path=str(tmp_path / "nowhere")))
    assert "not there" in message
    assert "dba_anchor_dataset" in message


def test_anchor_foreign_folder(world, tmp_path, no_model_loading):
    message = error_of(support.arguments(world, tmp_path / "run", dba_anchor_path=str(world / "model")))
    assert "is not an anchor" in message
    assert "a model folder" in message


@pytest.fixture
def anchor_copy(world, tmp_path):
    shutil.copytree(world / "anchor", tmp_path / "anchor")
    return tmp_path / "anchor"


def test_anchor_of_newer_format(world, tmp_path, anchor_copy, no_model_loading):
    path = anchor_copy / "anchor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 99}))
    message = error_of(support.arguments(world, tmp_path / "run", dba_anchor_path=str(anchor_copy)))
    assert "format 99" in message
    assert "upgrade" in message


def test_anchor_config_damaged(world, tmp_path, anchor_copy, no_model_loading):
    path = anchor_copy / "anchor_config.json"
    path.write_text(path.read_text()[:300])
    assert "cannot be read" in error_of(support.arguments(world, tmp_path / "run", dba_anchor_path=str(anchor_copy)))


def test_anchor_truncated(world, tmp_path, anchor_copy):
    path = anchor_copy / "anchor.safetensors"
    path.write_bytes(path.read_bytes()[:-500])
    message = error_of(support.arguments(world, tmp_path / "run", dba_anchor_path=str(anchor_copy)))
    assert "damaged or cut off" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_anchor_not_finite(world, tmp_path, anchor_copy, value):
    path = anchor_copy / "anchor.safetensors"
    tensors = load_file(path)
    next(iter(tensors.values())).view(-1)[0] = value
    save_file(tensors, path)
    assert "NaN or Inf" in error_of(support.arguments(world, tmp_path / "run", dba_anchor_path=str(anchor_copy)))


def test_anchor_of_a_sibling(world, tmp_path, no_model_loading):
    """Same shapes, other weights: a fine-tuned sibling or another revision."""
    support.build_model(tmp_path / "sibling", seed=1)
    message = error_of(support.arguments(world, tmp_path / "run", model_name_or_path=str(tmp_path / "sibling")))
    assert "another base model" in message
    assert "other values" in message
    assert "dba_stage: anchor" in message


def test_anchor_of_another_vocabulary(world, tmp_path, no_model_loading):
    """Initialised anew with more rows: not the anchor's model with rows added (test_guard.py has those)."""
    support.build_model(tmp_path / "resized", extra_tokens=8)
    message = error_of(support.arguments(world, tmp_path / "run", model_name_or_path=str(tmp_path / "resized")))
    assert "vocabulary size" in message


def test_anchor_of_another_architecture(world, tmp_path, no_model_loading):
    from transformers import LlamaConfig, LlamaForCausalLM

    shutil.copytree(world / "model", tmp_path / "llama")
    LlamaForCausalLM(
        LlamaConfig(vocab_size=282, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2)
    ).save_pretrained(tmp_path / "llama")
    message = error_of(support.arguments(world, tmp_path / "run", model_name_or_path=str(tmp_path / "llama")))
    assert "another architecture" in message
    assert "LlamaForCausalLM" in message


def test_anchor_that_fits_no_tensor():
    from llamafactory_dba.anchor.format import Anchor
    from llamafactory_dba.training.matching import match

    class Config:
        class base_model:
            id = "other"

    anchor = Anchor(Config, {"other.weight": torch.zeros(2)}, "folder")
    with pytest.raises(DBAError, match="No trainable tensor matches"):
        match(anchor, {"lora.weight": torch.nn.Parameter(torch.zeros(2))}, 8)


def test_rank_above_every_dimension(world, tmp_path, no_model_loading):
    message = error_of(
        support.arguments(
            world,
            tmp_path / "run",
            dba_anchor_path=str(tmp_path / "new"),
            dba_anchor_dataset="general",
            dba_svd_rank=512,
        )
    )
    assert "above the dimensions" in message
    assert "1 to 64" in message


def test_folder_that_holds_another_anchor(world, tmp_path, no_model_loading):
    before = (world / "anchor" / "anchor.safetensors").read_bytes()
    args = support.arguments(world, world / "anchor", dba_stage="anchor", dataset="other", dba_anchor_path=None)
    args.pop("dba_anchor_path", None)
    message = error_of(args)
    assert "already holds an anchor" in message
    assert "overwrite_output_dir" in message
    assert (world / "anchor" / "anchor.safetensors").read_bytes() == before


def test_folder_that_holds_something_else(world, tmp_path, no_model_loading):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.txt").write_text("years of work")
    args = support.arguments(
        world, tmp_path / "run", dba_anchor_path=str(tmp_path / "notes"), dba_anchor_dataset="general"
    )
    assert "other files" in error_of(args)
    assert (tmp_path / "notes" / "thesis.txt").read_text() == "years of work"


def test_domain_typo_is_found_before_the_general_pass(world, tmp_path, no_model_loading):
    args = support.arguments(
        world,
        tmp_path / "run",
        dataset="domian",
        dba_anchor_path=str(tmp_path / "new"),
        dba_anchor_dataset="general",
    )
    with pytest.raises(ValueError, match="Undefined dataset domian"):
        support.run_here(args)


def test_general_data_without_usable_answers(world, tmp_path, no_model_loading):
    """Rows without an answer: the host drops them and says so itself."""
    args = support.arguments(
        world,
        tmp_path / "run",
        dba_anchor_path=str(tmp_path / "new"),
        dba_anchor_dataset="unanswered",
    )
    with pytest.raises((DBAError, RuntimeError), match=r"general data|Cannot find valid samples"):
        support.run_here(args)
    assert not (tmp_path / "new").exists()


def test_an_engine_that_replaces_the_optimizer_is_noticed(world, tmp_path, monkeypatch):
    """As DeepSpeed's offload does: the hooks sit on an optimizer that never steps."""
    from llamafactory_dba.training import attached

    original = attached.attach

    def attach_elsewhere(optimizer, *rest):
        return original(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1), *rest)

    monkeypatch.setattr(attached, "attach", attach_elsewhere)
    message = error_of(support.arguments(world, tmp_path / "run"))
    assert "without calling the optimizer" in message


@pytest.mark.parametrize("engine", ["DEEPSPEED", "FSDP", "MEGATRON_LM"])
def test_engines_configured_behind_the_hosts_back(engine):
    from types import SimpleNamespace

    from llamafactory_dba.training.callback import DBACallback

    accelerator = SimpleNamespace(distributed_type=SimpleNamespace(value=engine))
    with pytest.raises(DBAError, match="engine"):
        DBACallback(SimpleNamespace(dba_variant="paper"), accelerator).on_train_begin(None, None, None)


def test_pure_bf16_warns(world, tmp_path, monkeypatch, caplog):
    """The host refuses `pure_bf16` on CPUs, so the check is called as the run does."""
    from types import SimpleNamespace

    from llamafactory_dba.training import checks

    said = []
    monkeypatch.setattr(checks.logger, "warning_rank0", said.append)
    finetuning = SimpleNamespace(
        dba_stage="train",
        dba_anchor_path=str(world / "anchor"),
        dba_anchor_dataset=None,
        dba_allow_added_tokens=False,
        dba_variant="paper",
        needs_anchor=True,
        pure_bf16=True,
    )
    training = SimpleNamespace(
        deepspeed=None, fsdp=None, optim="adamw_torch", fp16=False, output_dir=str(tmp_path), learning_rate=1e-6
    )
    model = SimpleNamespace(model_name_or_path=str(world / "model"), cache_dir=None, model_revision="main")
    monkeypatch.setattr(checks, "check_template", lambda *args: None)
    checks.check_run(model, None, training, finetuning)
    assert "vanish" in said[0]


def test_an_anchor_without_use_dba_is_said_to_be_unused(world, tmp_path, monkeypatch):
    from llamafactory.extras import logging

    said = []
    monkeypatch.setattr(
        logging.get_logger("llamafactory.dba").__class__, "warning_rank0", lambda self, text: said.append(text)
    )
    support.run_here(support.arguments(world, tmp_path / "run", use_dba=False, max_steps=1))
    assert any("trains without DBA" in text for text in said)
    assert not (tmp_path / "run" / "dba_log.jsonl").exists()
