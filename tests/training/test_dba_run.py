"""DBA runs through the host's own entry point: what they write, resume, limits, stages, optimizers."""

import importlib.util
import json
import shutil

import pytest
import support
import torch

from llamafactory_dba.anchor.format import read_config


METRICS = ("dba_gamma", "dba_similarity", "dba_correction", "dba_domain_grad_norm")


@pytest.fixture(scope="module")
def finished(world, tmp_path_factory):
    """A DBA run with checkpoints, plots and tensorboard."""
    out = tmp_path_factory.mktemp("finished") / "run"
    support.run_here(
        support.arguments(
            world, out, save_strategy="steps", save_steps=2, plot_loss=True, report_to="tensorboard", logging_steps=2
        )
    )
    return out


def test_metrics_reach_every_log(finished, capsys):
    history = [row for row in support.log_history(finished) if "loss" in row]
    assert len(history) == 3
    assert all(set(METRICS) <= set(row) for row in history)
    records = support.step_log(finished)
    assert [row["step"] for row in records] == list(range(6))
    # logged values are means over the steps since the last log
    assert history[0]["dba_similarity"] == pytest.approx((records[0]["similarity"] + records[1]["similarity"]) / 2)
    for name in METRICS:
        assert (finished / f"training_{name}.png").stat().st_size > 1000
    run = json.loads((finished / "dba_run.json").read_text())
    assert run["matched_tensors"] == 24
    assert run["total_steps"] == 6
    assert run["unmatched_tensors"] == []


def test_metrics_reach_tensorboard(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = next(finished.rglob("events.out.tfevents.*"))
    accumulator = EventAccumulator(str(events)).Reload()
    assert {f"train/{name}" for name in METRICS} <= set(accumulator.Tags()["scalars"])
    assert len(accumulator.Scalars("train/dba_similarity")) == 3


def test_schedule_and_learning_rate_are_the_true_ones(finished):
    records = support.step_log(finished)
    assert [row["gamma"] for row in records] == pytest.approx([1 - step / 6 for step in range(6)])
    assert [row["learning_rate"] for row in records] == pytest.approx([1e-3 * (1 - step / 6) for step in range(6)])
    logged = [row["learning_rate"] for row in support.log_history(finished) if "loss" in row]
    assert logged == pytest.approx(
        [records[1]["learning_rate"], records[3]["learning_rate"], records[5]["learning_rate"]]
    )
    for row in records:
        assert row["correction"] == pytest.approx(1 / (row["similarity"] + 0.1))


def test_resume_is_exact(world, finished, tmp_path):
    """Stopped after 4 of 6 steps and resumed: weights and log are equal bit for bit."""
    out = tmp_path / "run"
    out.mkdir()
    shutil.copytree(finished / "checkpoint-4", out / "checkpoint-4")
    shutil.copy(finished / "dba_log.jsonl", out)  # has lines of the steps that will be made again
    support.run_here(
        support.arguments(world, out, save_strategy="steps", save_steps=2, plot_loss=True, logging_steps=2)
    )
    assert support.same_weights(finished, out)
    assert support.step_log(out) == support.step_log(finished)


def test_boost_zero_and_correction_off_is_plain_training_bit_for_bit(world, tmp_path):
    plain, switched_off, full = (tmp_path / name for name in ("plain", "off", "dba"))
    support.run_here(
        {k: v for k, v in support.arguments(world, plain, use_dba=None).items() if not k.startswith("dba_")}
    )
    support.run_here(support.arguments(world, switched_off, dba_boost_magnitude=0.0, dba_use_correction=False))
    support.run_here(support.arguments(world, full))
    assert support.same_weights(plain, switched_off)
    assert not support.same_weights(plain, full)  # so the edits do reach the weights


@pytest.mark.parametrize(
    "changes", [{"dba_boost_magnitude": 0.0}, {"dba_use_correction": False}], ids=["DC only", "GGB only"]
)
def test_parts_switch_off_separately(world, tmp_path, changes):
    support.run_here(support.arguments(world, tmp_path / "run", **changes))
    records = support.step_log(tmp_path / "run")
    if "dba_boost_magnitude" in changes:
        assert all(row["gamma"] == 0 for row in records)
        assert all(row["correction"] > 1 for row in records)
    else:
        assert records[0]["gamma"] > 0
        assert all(row["correction"] == 1 for row in records)


def test_missing_anchor_is_made_first_and_found_next_time(world, tmp_path):
    anchor = tmp_path / "made" / "anchor"
    changes = {
        "dba_anchor_path": str(anchor),
        "dba_anchor_dataset": "general, other",
        "dba_anchor_samples": 12,
        "max_samples": 40,
    }
    support.run_here(support.arguments(world, tmp_path / "first", **changes))
    config = read_config(anchor)
    assert tuple(config.data.datasets) == ("general", "other")
    assert config.data.samples == 24
    assert not anchor.with_name("anchor.partial").exists()
    before = (anchor / "anchor.safetensors").stat().st_mtime_ns
    support.run_here(support.arguments(world, tmp_path / "second", **changes))
    assert (anchor / "anchor.safetensors").stat().st_mtime_ns == before
    assert support.same_weights(tmp_path / "first", tmp_path / "second")


STAGES = {
    "pt": {"stage": "pt", "dataset": "text", "cutoff_len": 32},
    "dpo": {"stage": "dpo", "dataset": "pairs", "pref_beta": 0.1, "pref_loss": "sigmoid"},
    "kto": {"stage": "kto", "dataset": "kto"},
    "rm": {"stage": "rm", "dataset": "pairs"},
    "freeze": {"finetuning_type": "freeze", "freeze_trainable_layers": 1},
    "accumulation": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
    "bf16": {"bf16": True},
    "no clipping": {"max_grad_norm": 0.0},
}


@pytest.mark.parametrize("name", STAGES)
def test_stages_and_fine_tuning_types(world, tmp_path, name):
    changes = dict(STAGES[name])
    if name == "rm":
        # the host cannot save a reward model with tied embeddings (safetensors refuses shared memory), with or
        # without DBA
        support.build_model(tmp_path / "untied", tied=False)
        changes["model_name_or_path"] = str(tmp_path / "untied")
        changes["dba_anchor_path"] = str(tmp_path / "anchor")
        changes["dba_anchor_dataset"] = "general"
    support.run_here(support.arguments(world, tmp_path / "run", max_steps=3, logging_steps=1, **changes))
    records = support.step_log(tmp_path / "run")
    assert [row["step"] for row in records] == [0, 1, 2]
    assert all(0 < row["similarity"] <= 1 for row in records)
    run = json.loads((tmp_path / "run" / "dba_run.json").read_text())
    if name == "freeze":
        assert 0 < run["matched_tensors"] < 24
    else:
        assert run["matched_tensors"] == (25 if name == "rm" else 24)
    assert run["unmatched_tensors"] == (["v_head.summary.weight", "v_head.summary.bias"] if name == "rm" else [])
    assert all(set(METRICS) <= set(row) for row in support.log_history(tmp_path / "run") if "loss" in row)


OPTIMIZERS = {
    "adamw_torch": {"optim": "adamw_torch"},
    "adamw_torch_fused": {"optim": "adamw_torch_fused"},
    "sgd": {"optim": "sgd"},
    "adafactor": {"optim": "adafactor"},
    "adagrad": {"optim": "adagrad"},
    "rmsprop": {"optim": "rmsprop"},
    "muon": {"use_muon": True},
    "adam_mini": {"use_adam_mini": True, "needs": "adam_mini"},
    "galore": {
        "use_galore": True,
        "optim": "adamw_torch",
        "galore_rank": 4,
        "galore_target": "all",
        "needs": "galore_torch",
    },
    "apollo": {
        "use_apollo": True,
        "optim": "adamw_torch",
        "apollo_rank": 4,
        "apollo_target": "all",
        "needs": "apollo_torch",
    },
}


# The rest of the list runs with the slow tests; tests/training/test_hooks.py has torch's own ones in float64.
EVERY_TIME = ("adamw_torch_fused", "adafactor", "muon")


@pytest.mark.parametrize(
    "name", [name if name in EVERY_TIME else pytest.param(name, marks=pytest.mark.slow) for name in OPTIMIZERS]
)
def test_optimizers_of_the_host(world, tmp_path, name):
    changes = dict(OPTIMIZERS[name])
    package = changes.pop("needs", None)
    if package and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed (pip install 'llamafactory-dba[galore]')")
    for run, extra in (("dba", {}), ("off", {"dba_boost_magnitude": 0.0, "dba_use_correction": False})):
        support.run_here(support.arguments(world, tmp_path / run, max_steps=2, logging_steps=1, **changes, **extra))
    assert len(support.step_log(tmp_path / "dba")) == 2
    assert not support.same_weights(tmp_path / "dba", tmp_path / "off")
    rates = [row["learning_rate"] for row in support.log_history(tmp_path / "dba") if "loss" in row]
    assert rates == [row["learning_rate"] for row in support.log_history(tmp_path / "off") if "loss" in row]


def test_untied_embeddings_are_two_tensors(world, tmp_path):
    support.build_model(tmp_path / "model", tied=False)
    support.run_here(
        support.arguments(
            world,
            tmp_path / "run",
            model_name_or_path=str(tmp_path / "model"),
            dba_anchor_path=str(tmp_path / "anchor"),
            dba_anchor_dataset="general",
            max_steps=1,
        )
    )
    names = set(read_config(tmp_path / "anchor").tensors)
    assert {"lm_head.weight", "model.embed_tokens.weight"} <= names
    # while the tied model of the other tests has one tensor for both
    assert "lm_head.weight" not in read_config(world / "anchor").tensors


def test_lower_rank_than_the_anchors_is_used(world, tmp_path):
    for rank in (8, 2):
        support.run_here(support.arguments(world, tmp_path / f"r{rank}", dba_svd_rank=rank, max_steps=1))
    norms = [json.loads((tmp_path / f"r{r}" / "dba_run.json").read_text())["anchor_norm"] for r in (8, 2)]
    assert 0 < norms[1] < norms[0]


def test_nan_in_a_gradient_stops_before_the_weights(world, tmp_path, monkeypatch):
    from llamafactory.train.sft.trainer import CustomSeq2SeqTrainer

    from llamafactory_dba.errors import DBAError

    original = CustomSeq2SeqTrainer.training_step

    def poisoned(self, model, *args, **kwargs):
        loss = original(self, model, *args, **kwargs)
        if self.state.global_step == 1:
            next(model.parameters()).grad[0, 0] = float("nan")
        return loss

    monkeypatch.setattr(CustomSeq2SeqTrainer, "training_step", poisoned)
    with pytest.raises(DBAError, match="NaN or Inf") as error:
        support.run_here(support.arguments(world, tmp_path / "run", max_grad_norm=0.0))
    assert "model.embed_tokens.weight" in str(error.value)
    assert len(support.step_log(tmp_path / "run")) == 1 or not (tmp_path / "run" / "model.safetensors").exists()


def test_pure_functions_agree_with_what_the_run_did(world, tmp_path):
    """Two SGD steps recomputed by hand in float64 from the anchor's files and the model's own gradients."""
    import reference
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from llamafactory_dba.anchor.format import load_anchor

    support.without_dropout(world / "model", tmp_path / "model")
    out = tmp_path / "run"
    support.run_here(
        support.arguments(
            world,
            out,
            model_name_or_path=str(tmp_path / "model"),
            optim="sgd",
            max_grad_norm=0.0,
            max_steps=2,
            disable_shuffling=True,
            learning_rate=0.05,
            lr_scheduler_type="constant",
            cutoff_len=128,
        )
    )
    tokenizer = AutoTokenizer.from_pretrained(world / "model")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float64)
    rows = json.loads((world / "data" / "domain.json").read_text())
    anchor = {
        name: value if isinstance(value, torch.Tensor) else value.left.double() @ value.right.double()
        for name, value in load_anchor(world / "anchor").tensors.items()
    }
    records = support.step_log(out)
    for step in range(2):
        model.zero_grad()
        total, count = 0.0, 0
        for row in rows[8 * step : 8 * step + 8]:
            prompt = f"<|im_start|>user\n{row['instruction']}<|im_end|>\n<|im_start|>assistant\n"
            answer = f"{row['output']}<|im_end|>\n"
            ids = tokenizer(prompt)["input_ids"], tokenizer(answer)["input_ids"]
            tokens = torch.tensor([ids[0] + ids[1]])
            logits = model(tokens).logits[0, len(ids[0]) - 1 : -1]
            total = total + torch.nn.functional.cross_entropy(logits, tokens[0, len(ids[0]) :], reduction="sum")
            count += len(ids[1])
        (total / count).backward()
        grads = {name: parameter.grad for name, parameter in model.named_parameters()}
        gamma = reference.boost_weight(step, 2, 200.0)
        s = reference.similarity(list(grads.values()), [anchor[name] for name in grads])
        factor = reference.correction(s, 0.1)
        # fp32 training against fp64: gradients agree to about 1e-6 relative, products of them a little worse
        assert records[step]["similarity"] == pytest.approx(s, rel=2e-4)
        assert records[step]["correction"] == pytest.approx(factor, rel=2e-4)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                boosted = torch.from_numpy(reference.blend(grads[name], anchor[name], gamma))
                parameter -= 0.05 * factor * boosted.reshape(parameter.shape)
    found = support.weights(out)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name].double(), parameter.detach(), rtol=1e-3, atol=2e-6)


def test_what_speaks_against_the_boost_is_said_before_the_first_step(world, tmp_path, monkeypatch):
    from llamafactory_dba.training import callback

    said = []
    monkeypatch.setattr(callback.logger, "warning_rank0", said.append)
    support.run_here(support.arguments(world, tmp_path / "short", max_steps=1))
    assert any("the boost starts at 1" in text for text in said)
    said.clear()
    support.run_here(support.arguments(world, tmp_path / "off", max_steps=1, dba_boost_magnitude=0.0))
    assert said == []


@pytest.mark.parametrize(
    ("initial", "cosine", "expected"),
    [(0.02, 0.99, 0), (0.02, 0.1, 1), (0.59, 0.99, 1), (0.59, -0.06, 2), (0.0, 0.1, 0)],
)
def test_boost_warnings(initial, cosine, expected):
    from llamafactory_dba.methods.paper import boost_warnings

    assert len(boost_warnings(initial, [(10, 0.0), (20, cosine)])) == expected
    assert boost_warnings(0.02, []) == []
