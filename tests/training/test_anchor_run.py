"""Anchor runs: the mean gradient is right, nothing else is written, interruptions resume bit for bit."""

import json

import pytest
import support
import torch
from safetensors.torch import load_file
from support import anchor_arguments

from llamafactory_dba.anchor.format import load_anchor, read_config
from llamafactory_dba.errors import DBAError


def test_writes_only_the_anchor_folder(world):
    assert sorted(path.name for path in world.iterdir()) == ["anchor", "data", "model"]
    files = {path.name for path in (world / "anchor").iterdir()}
    assert files == {"README.md", "anchor.png", "anchor.safetensors", "anchor_config.json"}
    config = read_config(world / "anchor")
    assert (config.steps, config.global_batch, config.stage, config.rank) == (6, 8, "sft", 8)
    assert config.data.samples == 48
    assert config.data.tokens > 48 * 20
    assert [step for step, _ in config.half_cosine] == [2, 4, 6]


def test_equals_the_dense_float64_mean(world, tmp_path):
    """Equation 5 against gradients computed one sample at a time in float64, without the host and without dropout."""
    import reference
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out = tmp_path / "anchor"
    # rank 56 keeps every matrix dense or nearly so (min dimension 64): only fp32 rounding is left
    support.run_here(
        anchor_arguments(
            world,
            out,
            disable_shuffling=True,
            dba_svd_rank=56,
            per_device_train_batch_size=4,
            gradient_accumulation_steps=2,
            dba_anchor_samples=20,
            cutoff_len=128,
        )
    )
    tokenizer = AutoTokenizer.from_pretrained(world / "model")
    model = AutoModelForCausalLM.from_pretrained(world / "model", dtype=torch.float64).eval()
    rows = json.loads((world / "data" / "general.json").read_text())[:20]
    steps = []
    for batch in (rows[:8], rows[8:16], rows[16:]):  # the last one is a partial batch
        model.zero_grad()
        total, count = 0.0, 0
        for row in batch:
            prompt = f"<|im_start|>user\n{row['instruction']}<|im_end|>\n<|im_start|>assistant\n"
            ids = tokenizer(prompt)["input_ids"], tokenizer(f"{row['output']}<|im_end|>\n")["input_ids"]
            tokens = torch.tensor([ids[0] + ids[1]])
            logits = model(tokens).logits[0, len(ids[0]) - 1 : -1]
            total = total + torch.nn.functional.cross_entropy(logits, tokens[0, len(ids[0]) :], reduction="sum")
            count += len(ids[1])
        (total / count).backward()
        steps.append({name: parameter.grad.numpy().copy() for name, parameter in model.named_parameters()})
    assert read_config(out).steps == 3
    for name, value in load_anchor(out).tensors.items():
        found = value if isinstance(value, torch.Tensor) else value.left @ value.right
        expected = reference.mean_gradient([step[name] for step in steps])
        error = (found.double() - torch.from_numpy(expected).reshape(found.shape)).norm()
        # fp32 forward and backward through two layers: a few 1e-6 relative
        assert float(error / torch.from_numpy(expected).norm()) < 2e-5, name


@pytest.mark.parametrize("samples", [1, 3, 9])
def test_any_number_of_samples(world, tmp_path, samples):
    support.run_here(anchor_arguments(world, tmp_path / "anchor", dba_anchor_samples=samples))
    config = read_config(tmp_path / "anchor")
    assert config.data.samples == samples
    assert config.steps == -(-samples // 8)


def test_text_stage(world, tmp_path):
    support.run_here(anchor_arguments(world, tmp_path / "anchor", stage="pt", dataset="text", cutoff_len=32))
    config = read_config(tmp_path / "anchor")
    assert config.stage == "pt"
    assert config.data.tokens == config.data.samples * 32  # packed


def test_interrupted_run_resumes_bit_for_bit(world, tmp_path, monkeypatch):
    from llamafactory_dba.training.anchor_progress import AnchorProgress

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    changes = {"dba_anchor_save_steps": 2, "dba_anchor_check_steps": 1, "per_device_train_batch_size": 4}
    support.run_here(anchor_arguments(world, whole, **changes))
    support.interrupt_anchor_run(anchor_arguments(world, broken, **changes), step=5)
    assert not broken.exists()
    assert (tmp_path / "broken.partial" / "state.pt").is_file()
    steps_made, original = [], AnchorProgress.on_step_end

    def count(self, args, state, control, **kwargs):
        steps_made.append(state.global_step)
        original(self, args, state, control, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(AnchorProgress, "on_step_end", count)
        support.run_here(anchor_arguments(world, broken, **changes))
    assert steps_made == list(range(5, 13))  # goes on after step 4, the last one saved
    left, right = (load_file(folder / "anchor.safetensors") for folder in (whole, broken))
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
    first, second = read_config(whole), read_config(broken)
    assert first.half_cosine == second.half_cosine
    assert first.data == second.data
    assert not (tmp_path / "broken.partial").exists()


def test_partial_state_of_other_settings_is_not_mixed_in(world, tmp_path):
    support.interrupt_anchor_run(anchor_arguments(world, tmp_path / "anchor", dba_anchor_save_steps=1), step=2)
    with pytest.raises(DBAError, match="seed: 7 before, 8 now"):
        support.run_here(anchor_arguments(world, tmp_path / "anchor", dba_anchor_save_steps=1, seed=8))
    assert (tmp_path / "anchor.partial" / "state.pt").is_file()  # still there to be resumed


def test_stops_early_above_the_threshold(world, tmp_path):
    support.run_here(
        anchor_arguments(
            world,
            tmp_path / "anchor",
            dba_anchor_check_steps=1,
            dba_anchor_stop_cosine=0.05,
            per_device_train_batch_size=2,
        )
    )
    config = read_config(tmp_path / "anchor")
    assert 2 <= config.steps < 24
    assert config.half_cosine[-1][1] >= 0.05
    assert all(cosine < 0.05 for _, cosine in config.half_cosine[:-1])


def test_full_disk_keeps_the_state_and_the_old_anchor(world, tmp_path, monkeypatch):
    import errno

    from llamafactory_dba.anchor import store

    out = tmp_path / "anchor"
    support.run_here(anchor_arguments(world, out))
    before = (out / "anchor.safetensors").read_bytes()

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    changes = {"seed": 9, "overwrite_output_dir": True, "dba_anchor_save_steps": 1}
    with monkeypatch.context() as patched, pytest.raises(DBAError, match="disk is full"):
        patched.setattr(store, "save_file", full)
        support.run_here(anchor_arguments(world, out, **changes))
    assert (out / "anchor.safetensors").read_bytes() == before
    support.run_here(anchor_arguments(world, out, **changes))  # room again: the pass is not made a second time
    assert (out / "anchor.safetensors").read_bytes() != before
    assert read_config(out).seed == 9
