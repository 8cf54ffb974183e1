"""Weights between two models: exact ends, a float64 twin in between, shards, adapters, and models that do not fit."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from llamafactory_dba.errors import DBAError
from llamafactory_dba.evaluation.interpolate import interpolate, merge_adapter, mix, tensors_of
from tests.support import build_model


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("models")
    build_model(folder / "base", seed=0)
    build_model(folder / "tuned", seed=1)
    (folder / "tuned" / "trainer_log.jsonl").write_text("{}\n")
    return folder / "base", folder / "tuned"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: value for path in folder.glob("*.safetensors") for name, value in load_file(path).items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5, 0.7, 1.0])
def test_one_tensor_is_the_formula(dtype, alpha):
    torch.manual_seed(0)
    base, tuned = torch.randn(17, 5, dtype=torch.float64).to(dtype), torch.randn(17, 5, dtype=torch.float64).to(dtype)
    twin = (1 - alpha) * base.double() + alpha * tuned.double()
    # one rounding to the dtype, plus a few of float32 in lerp itself
    found = mix(base, tuned, alpha).double()
    torch.testing.assert_close(
        found, twin, rtol=2 * torch.finfo(dtype).eps, atol=1e-6 if dtype.itemsize < 8 else 1e-15
    )
    if alpha in (0.0, 1.0):
        assert torch.equal(mix(base, tuned, alpha), tuned if alpha else base)


def test_ends_are_the_models_and_the_middle_is_loaded_by_transformers(models, tmp_path):
    base, tuned = models
    for alpha, expected in ((0.0, base), (1.0, tuned)):
        out = interpolate(base, tuned, alpha, tmp_path / str(alpha))
        ours, theirs = weights(out), weights(expected)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    half = interpolate(base, tuned, 0.5, tmp_path / "half")
    first, second = weights(base), weights(tuned)
    for name, value in AutoModelForCausalLM.from_pretrained(half).state_dict().items():
        if name in first:
            torch.testing.assert_close(value, (first[name] + second[name]) / 2, rtol=1e-6, atol=1e-7)  # fp32 rounding
    assert (half / "tokenizer.json").is_file()
    assert not (half / "trainer_log.jsonl").exists()


def test_other_shards_give_the_same_weights(models, tmp_path):
    base, tuned = models
    sharded = tmp_path / "sharded"
    shutil.copytree(base, sharded)
    (sharded / "model.safetensors").unlink()
    values = weights(base)
    names = sorted(values)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, part in shards.items():
        save_file({name: values[name] for name in part}, sharded / file)
    where = {name: file for file, part in shards.items() for name in part}
    (sharded / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    for first, second in ((sharded, tuned), (tuned, sharded)):
        plain = {sharded: base}.get(first, first), {sharded: base}.get(second, second)
        ours = weights(interpolate(first, second, 0.3, tmp_path / f"a-{first.name}"))
        theirs = weights(interpolate(*plain, 0.3, tmp_path / f"b-{first.name}"))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    (sharded / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(DBAError, match="Weights are missing"):
        tensors_of(sharded)


def test_models_that_do_not_belong_together(models, tmp_path):
    base, tuned = models
    build_model(tmp_path / "larger", extra_tokens=8)
    with pytest.raises(DBAError, match="no line between") as error:
        interpolate(base, tmp_path / "larger", 0.5, tmp_path / "out")
    assert "embed_tokens" in str(error.value)
    build_model(tmp_path / "untied", tied=False)
    with pytest.raises(DBAError, match=r"only in .*untied: lm_head.weight"):
        interpolate(base, tmp_path / "untied", 0.5, tmp_path / "out")
    for alpha in (-0.1, 1.5, float("nan")):
        with pytest.raises(DBAError, match="No such point"):
            interpolate(base, tuned, alpha, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "there").mkdir()
    with pytest.raises(DBAError, match="there already"):
        interpolate(base, tuned, 0.5, tmp_path / "there")


def test_whole_numbers_must_be_equal():
    counts = torch.tensor([1, 2])
    assert torch.equal(mix(counts, counts.clone(), 0.5), counts)
    with pytest.raises(DBAError, match="whole numbers"):
        mix(counts, counts + 1, 0.5, "buffer")


def test_nothing_is_left_of_a_failure(models, tmp_path):
    base, tuned = models
    broken = tmp_path / "broken"
    shutil.copytree(tuned, broken)
    data = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(data[:-100])
    with pytest.raises(DBAError, match="damaged"):
        interpolate(base, broken, 0.5, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"broken"}


def test_an_adapter_is_merged(models, tmp_path):
    from peft import LoraConfig, get_peft_model

    base, _ = models
    torch.manual_seed(0)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base),
        LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False),
    ).eval()
    tokens = torch.arange(1, 9)[None]
    wanted = model(tokens).logits
    model.save_pretrained(tmp_path / "adapter")
    merged = merge_adapter(base, tmp_path / "adapter", tmp_path / "merged")
    found = AutoModelForCausalLM.from_pretrained(merged).eval()(tokens).logits
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)  # fp32, another order of the same products
    assert tensors_of(merged).keys() == tensors_of(base).keys()

    build_model(tmp_path / "larger", extra_tokens=8)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    config["target_modules"] = ["k_proj"]
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(config | {"r": 3}))
    with pytest.raises(DBAError, match="cannot be merged"):
        merge_adapter(tmp_path / "larger", tmp_path / "adapter", tmp_path / "never")
