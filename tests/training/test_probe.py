"""The probe sees what a training sees at its first step, changes nothing, and its numbers equal dense float64 ones."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import reference
import support
import torch
import yaml

from llamafactory_dba.anchor.format import load_anchor
from llamafactory_dba.anchor.inspect import kind_of, layer_of
from llamafactory_dba.training import probe_watcher
from llamafactory_dba.training.probe import probe


@pytest.fixture
def recipe(world, tmp_path):
    """Arguments of a training that never wrote to its output folder."""

    def make(**changes):
        return support.arguments(world, tmp_path / "never", **changes)

    yield make
    assert not (tmp_path / "never").exists()


def logged(path) -> list[tuple]:
    return [(r["step"], r["similarity"], r["correction"], r["domain_grad_norm"]) for r in support.step_log(path)]


def probed(result) -> list[tuple]:
    return [(b.step, b.similarity, b.correction, b.domain_grad_norm) for b in result.batches]


STAGES = {
    "sft": {},
    "sft, two micro-batches": {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2},
    "sft, noise": {"neftune_noise_alpha": 5.0, "val_size": 0.25},
    "freeze": {"finetuning_type": "freeze", "freeze_trainable_layers": 1},
    "pt": {"stage": "pt", "dataset": "text", "cutoff_len": 32},
    "dpo": {"stage": "dpo", "dataset": "pairs"},
    "kto": {"stage": "kto", "dataset": "kto"},
    "rm": {"stage": "rm", "dataset": "pairs"},
    "bf16": {"bf16": True},
}


SLOW = ("sft, noise", "kto", "rm", "bf16")


@pytest.mark.parametrize(
    "stage", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in STAGES]
)
def test_equals_every_step_of_a_training_that_stands_still(world, tmp_path, recipe, stage):
    """With a rate of zero the training's weights stay at the base: the same numbers bit for bit, dropout included."""
    changes = dict(STAGES[stage])
    if stage == "rm":  # the host cannot save a reward model with tied embeddings
        support.build_model(tmp_path / "untied", tied=False)
        changes.update(model_name_or_path=str(tmp_path / "untied"), dba_anchor_path=str(tmp_path / "anchor"))
    support.run_here(
        support.arguments(world, tmp_path / "run", **changes, dba_anchor_dataset="general", learning_rate=0.0)
    )
    result = probe(recipe(**changes), batches=4)
    assert len(result.batches) == 4
    assert probed(result) == logged(tmp_path / "run")[:4]


def test_the_first_step_equals_that_of_the_real_training(world, tmp_path, recipe):
    support.run_here(support.arguments(world, tmp_path / "run", warmup_steps=2))
    result = probe(recipe(warmup_steps=2))
    records = support.step_log(tmp_path / "run")
    assert probed(result)[0] == logged(tmp_path / "run")[0]
    assert probed(result)[1:] != logged(tmp_path / "run")[1:]  # the training has moved on
    assert result.settings.total_steps == len(records) == 6
    assert result.plan.initial_boost == records[0]["gamma"]
    rates = [record["learning_rate"] for record in records]
    assert result.plan.rates.start == rates[0] == 0.0
    assert result.plan.rates.peak == pytest.approx(max(rates))
    assert result.plan.rates.total == pytest.approx(sum(rates))


def dense_gradients(world, rows: list[dict], clip: float) -> dict[str, np.ndarray]:
    """Of the mean loss per answer token, in float64, by plain autograd, one sample at a time and without the host."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(world / "model")
    model = AutoModelForCausalLM.from_pretrained(world / "model", dtype=torch.float64).eval()
    total, count = 0.0, 0
    for row in rows:
        prompt = f"<|im_start|>user\n{row['instruction']}<|im_end|>\n<|im_start|>assistant\n"
        ids = tokenizer(prompt)["input_ids"], tokenizer(f"{row['output']}<|im_end|>\n")["input_ids"]
        tokens = torch.tensor([ids[0] + ids[1]])
        logits = model(tokens).logits[0, len(ids[0]) - 1 : -1]
        total = total + torch.nn.functional.cross_entropy(logits, tokens[0, len(ids[0]) :], reduction="sum")
        count += len(ids[1])
    (total / count).backward()
    grads = {name: parameter.grad.numpy() for name, parameter in model.named_parameters()}
    norm = math.sqrt(sum((grad**2).sum() for grad in grads.values()))
    factor = min(1.0, clip / norm) if clip else 1.0
    return {name: grad * factor for name, grad in grads.items()}


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_equals_the_dense_float64_reference(world, tmp_path, recipe, clip):
    model = support.without_dropout(world / "model", tmp_path / "model")
    result = probe(
        recipe(
            model_name_or_path=str(model),
            disable_shuffling=True,
            per_device_train_batch_size=4,
            gradient_accumulation_steps=2,
            max_grad_norm=clip,
            cutoff_len=128,
        ),
        batches=3,
    )
    rows = json.loads((world / "data" / "domain.json").read_text())
    steps = [dense_gradients(world, rows[start : start + 8], clip) for start in (0, 8, 16)]
    anchor = {
        name: (v.double() if isinstance(v, torch.Tensor) else v.left.double() @ v.right.double()).numpy()
        for name, v in load_anchor(world / "anchor").tensors.items()
    }
    names = sorted(anchor)
    assert steps[0].keys() == anchor.keys()
    # float32 forward and backward through two layers, a few 1e-6 of the norms; the cosines are about 0.1
    for batch, step in zip(result.batches, steps, strict=True):
        s = reference.similarity([step[n] for n in names], [anchor[n] for n in names])
        assert batch.similarity == pytest.approx(s, abs=1e-5)
        assert batch.correction == pytest.approx(reference.correction(s, 0.1), rel=1e-4)
        assert batch.domain_grad_norm == pytest.approx(math.sqrt(sum((step[n] ** 2).sum() for n in names)), rel=1e-5)
        assert abs(batch.cosine) == batch.similarity
    mean = {name: reference.mean_gradient([step[name] for step in steps]) for name in names}

    def cosine(chosen):
        g, a = (np.concatenate([x[n].ravel() for n in chosen]) for x in (mean, anchor))
        return reference.cosine(g, a)

    assert result.mean_gradient.cosine == pytest.approx(cosine(names), abs=1e-5)
    for label, groups in ((layer_of, result.layers), (kind_of, result.kinds)):
        assert set(groups) == {label(name) for name in names}
        for key, item in groups.items():
            # single vectors of 16 numbers lose more to rounding than the whole
            assert item.cosine == pytest.approx(cosine([n for n in names if label(n) == key]), abs=1e-4), key
    k0 = reference.initial_weight(200, 6)
    norms = [
        np.mean([b.domain_grad_norm for b in result.batches]),
        math.sqrt(sum((a**2).sum() for a in anchor.values())),
    ]
    assert k0 == result.plan.initial_boost == 1.0
    assert (result.plan.anchor_share, result.plan.anchor_ratio) == (1.0, None)
    assert result.mean_gradient.anchor_norm == pytest.approx(norms[1], rel=1e-5)
    expected = sum(reference.boost_weight(t, 6, 200) * 1e-3 * (1 - t / 6) * _factor(result, t) for t in range(6))
    assert result.plan.boost_push == pytest.approx(expected)


def _factor(result, step):
    """The probed λ, and their mean where none was probed."""
    factors = [batch.correction for batch in result.batches]
    return factors[step] if step < len(factors) else np.mean(factors)


OPTIMIZERS = [{"optim": name} for name in ("adamw_torch", "adamw_torch_fused", "sgd", "adafactor", "rmsprop")]


@pytest.mark.parametrize("changes", [*OPTIMIZERS, {"use_muon": True}], ids=lambda item: item.get("optim", "muon"))
def test_no_weight_changes_and_the_optimizer_gets_nothing(recipe, monkeypatch, changes):
    seen = {}
    original = probe_watcher.Watcher.on_train_begin

    def on_train_begin(self, args, state, control, **kwargs):
        seen["model"], seen["optimizer"] = kwargs["model"], kwargs["optimizer"].optimizer
        seen["before"] = {name: p.detach().clone() for name, p in kwargs["model"].named_parameters()}
        original(self, args, state, control, **kwargs)

    monkeypatch.setattr(probe_watcher.Watcher, "on_train_begin", on_train_begin)
    probe(recipe(**changes, learning_rate=1.0, weight_decay=0.5), batches=3)
    assert all(torch.equal(p, seen["before"][name]) for name, p in seen["model"].named_parameters())
    assert len(seen["before"]) == 24
    stored = [value for state in seen["optimizer"].state.values() for value in state.values()]
    assert not any(isinstance(value, torch.Tensor) for value in stored)  # Muon notes a flag per tensor
    assert not seen["optimizer"]._optimizer_step_pre_hooks


def test_nothing_is_written(world, tmp_path, recipe, monkeypatch):
    here, scratch = tmp_path / "here", tmp_path / "scratch"
    here.mkdir()
    scratch.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    before = {path: path.stat().st_mtime_ns for path in world.rglob("*")}
    probe(
        recipe(
            tokenized_path=str(tmp_path / "tokens"),
            save_strategy="steps",
            save_steps=1,
            plot_loss=True,
            report_to="tensorboard",
            eval_strategy="steps",
            eval_steps=1,
            val_size=0.2,
            load_best_model_at_end=True,
        ),
        batches=2,
    )
    assert list(here.iterdir()) == list(scratch.iterdir()) == []
    assert not (tmp_path / "tokens").exists()
    assert before == {path: path.stat().st_mtime_ns for path in world.rglob("*")}


def test_an_earlier_run_in_the_output_folder_is_left_alone(world, tmp_path):
    """A training would resume from its checkpoint; the probe is about the base model."""
    out = tmp_path / "run"
    support.run_here(support.arguments(world, out, save_strategy="steps", save_steps=3))
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    result = probe(support.arguments(world, out), batches=2)
    assert probed(result)[0] == logged(out)[0]
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*")}


@pytest.mark.parametrize("changes, steps", [({}, 6), ({"max_steps": 3}, 3), ({"num_train_epochs": 3}, 6)])
def test_more_batches_than_there_are(recipe, changes, steps):
    result = probe(recipe(**changes), batches=50)
    assert len(result.batches) == steps
    assert f"50 batches were asked for; one pass over the data, or the whole training, has {steps}" in result.notes


def test_notes(world, recipe):
    result = probe(recipe(use_dba=None, dba_use_correction=False, lr_scheduler_type="reduce_lr_on_plateau",
                          eval_strategy="steps", val_size=0.1), batches=1)  # fmt: skip
    said = " ".join(result.notes)
    assert "does not set `use_dba: true`" in said
    assert "`dba_use_correction: false`" in said
    assert "scheduler depend on the run" in said
    assert result.plan.rates is None and result.plan.corrected_rates is None and result.plan.boost_push is None
    assert result.mean_gradient.error is None
    json.loads(result.to_json())


def test_without_correction_the_rates_are_the_recipes(recipe):
    plan = probe(recipe(dba_use_correction=False), batches=2).plan
    assert plan.corrected_rates == plan.rates


def test_the_json(recipe):
    result = probe(recipe(dba_boost_magnitude=0.6), batches=2)
    content = json.loads(result.to_json())
    assert content["schema"] == "llamafactory-dba/probe/1"
    assert content["advice"] == list(result.advice) and content["notes"] == list(result.notes)
    assert content["told"]["advice"] == [{"kind": item.kind, "values": item.values} for item in result.advice]
    assert content["datasets"] == ["domain"]
    assert [batch["step"] for batch in content["batches"]] == [0, 1]
    assert content["settings"] == {
        "boost_magnitude": 0.6, "use_correction": True, "base_correction": 0.1, "total_steps": 6, "global_batch": 8
    }  # fmt: skip
    assert {"0", "1", "outside"} == set(content["layers"])
    general = 0.1 * content["mean_gradient"]["anchor_norm"]
    domain = 0.9 * np.mean([batch["domain_grad_norm"] for batch in content["batches"]])
    assert content["plan"]["anchor_ratio"] == pytest.approx(general / domain)
    assert content["plan"]["anchor_share"] == pytest.approx(general / (general + domain))


@pytest.mark.distributed
def test_two_processes_equal_one(world, tmp_path):
    model = support.without_dropout(world / "model", tmp_path / "model")
    results = []
    for processes in (1, 2):
        args = support.arguments(
            world, tmp_path / "run", model_name_or_path=str(model), per_device_train_batch_size=8 // processes
        )
        path = tmp_path / f"{processes}.yaml"
        path.write_text(yaml.safe_dump(args))
        launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2"] if processes == 2 else []
        command = [sys.executable, *launch, "-m", "llamafactory_dba.cli", "anchor", "probe", str(path), "--json"]
        done = subprocess.run(command, env=support.environment(), capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        results.append(json.loads(done.stdout))  # one object: the second rank is silent
    one, two = results
    assert one["settings"] == two["settings"]
    for left, right in zip(one["batches"], two["batches"], strict=True):
        # fp32 gradients of about 1e5 entries summed in another order: a few 1e-6
        assert left["cosine"] == pytest.approx(right["cosine"], rel=1e-4)
