"""The gauge in whole trainings of the host: same weights as without, lines, resume, stop, the best weights."""

import json
import math
import shutil

import pytest
import support
import torch

from llamafactory_dba.errors import DBAError
from llamafactory_dba.training.gauge import callback as gauge_callback
from llamafactory_dba.training.gauge.meter import Meter


OFF = {"use_dba": None, "dba_anchor_path": None, "dba_svd_rank": None, "dba_anchor_check_steps": None}
ON = {"dba_gauge_steps": 2, "dba_gauge_dataset": "general", "dba_gauge_domain_dataset": "other"}
LORA = {"finetuning_type": "lora", "lora_rank": 4, "lora_target": "all", "lora_dropout": 0.1}


def plain(world, out, **changes):
    """A training without DBA."""
    return support.arguments(world, out, **{**OFF, **changes})


def lines(folder):
    text = (folder / "dba_gauge.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def timeless(records):
    return [{key: value for key, value in item.items() if key != "seconds"} for item in records]


RUNS = {
    "full": {**ON},
    "DBA": {**ON, "use_dba": True},
    "LoRA": {**ON, **LORA},
    "divergence": {"dba_gauge_steps": 2},
    "LoRA, divergence": {"dba_gauge_steps": 2, **LORA},
    "pt": {"stage": "pt", "dataset": "text", "cutoff_len": 32, "dba_gauge_steps": 3, "dba_gauge_dataset": "held"},
    "freeze": {**ON, "finetuning_type": "freeze", "freeze_trainable_layers": 1},
    "split": {"dba_gauge_steps": 2, "dba_gauge_dataset": "general", "val_size": 0.25, "dba_gauge_keep_best": True},
    "packed": {**ON, "packing": True},
    "checkpointing, bf16": {**ON, "disable_gradient_checkpointing": False, "bf16": True},
}
SLOW = ("freeze", "packed", "checkpointing, bf16", "LoRA, divergence")


@pytest.fixture(scope="session")
def held(world):
    """Texts that are not trained on, as one more data set of the world."""
    rows = [{"text": f"held out text number {number}"} for number in range(40)]
    (world / "data" / "held.json").write_text(json.dumps(rows), encoding="utf-8")
    info = json.loads((world / "data" / "dataset_info.json").read_text(encoding="utf-8"))
    info["held"] = {"file_name": "held.json", "columns": {"prompt": "text"}}
    (world / "data" / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    return world


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in RUNS])
def test_a_training_is_the_same_bit_for_bit(held, tmp_path, name):
    """The tiny model has dropout, so one random number drawn in between would change every weight."""
    changes = dict(RUNS[name])
    if changes.get("use_dba"):
        changes["dba_anchor_path"] = str(held / "anchor")
    common = {key: value for key, value in changes.items() if not key.startswith("dba_gauge")}
    common |= {"save_strategy": "steps", "save_steps": 3}
    support.run_here(plain(held, tmp_path / "off", **common))
    support.run_here(plain(held, tmp_path / "on", **common, **{k: v for k, v in changes.items() if k not in common}))
    file = "adapter_model.safetensors" if "lora_rank" in changes else "model.safetensors"
    for folder in (".", "checkpoint-3"):
        assert (tmp_path / "off" / folder / file).read_bytes() == (tmp_path / "on" / folder / file).read_bytes()
    one, two = (torch.load(tmp_path / x / "checkpoint-3" / "rng_state.pth", weights_only=False) for x in ("off", "on"))
    assert str(one) == str(two)
    logged = [entry for entry in support.log_history(tmp_path / "on") if "dba_gauge_seconds" not in entry]
    ignored = {"train_runtime", "train_samples_per_second", "train_steps_per_second"}
    assert [{k: v for k, v in entry.items() if k not in ignored} for entry in logged] == [
        {k: v for k, v in entry.items() if k not in ignored} for entry in support.log_history(tmp_path / "off")
    ]
    assert not (tmp_path / "off" / "dba_gauge.jsonl").exists()
    steps = {line["step"] for line in lines(tmp_path / "on")}
    assert 0 in steps and max(steps) == logged[-1]["step"]


@pytest.fixture(scope="session")
def run(world, tmp_path_factory):
    """One training of 12 steps with both sets."""
    out = tmp_path_factory.mktemp("gauge") / "run"
    support.run_here(plain(world, out, **ON, num_train_epochs=2, dba_gauge_samples=16, plot_loss=True))
    return out


def test_what_is_logged_and_where(run):
    found = lines(run)
    assert [line["step"] for line in found] == [0, 2, 4, 6, 8, 10, 12]
    keys = "step general_loss general_accuracy general_token_accuracy domain_loss domain_accuracy"
    assert set(found[0]) == {*keys.split(), "domain_token_accuracy", "s", "seconds"}
    logged = [entry for entry in support.log_history(run) if "dba_gauge_seconds" in entry]
    assert [entry["step"] for entry in logged] == [line["step"] for line in found]
    for entry, line in zip(logged, found, strict=True):
        assert all(entry[f"dba_gauge_{key}"] == value for key, value in line.items() if key != "step")
    losses = [entry["step"] for entry in support.log_history(run) if "loss" in entry]
    assert losses == [2, 4, 6, 8, 10, 12]  # the training's own lines are still there
    assert found[-1]["general_loss"] != found[0]["general_loss"]
    assert (run / "training_dba_gauge_general_loss.png").exists()


def test_the_first_line_is_the_base_model_in_float64(run, world):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from llamafactory_dba.training.gauge.rows import order

    tokenizer = AutoTokenizer.from_pretrained(world / "model")
    model = AutoModelForCausalLM.from_pretrained(world / "model", dtype=torch.float64).eval()
    for name, data in (("general", "general"), ("domain", "other")):
        rows = json.loads((world / "data" / f"{data}.json").read_text())
        nll, tokens, right = 0.0, 0, 0
        for index in order(len(rows), 16)[:16]:
            prompt = f"<|im_start|>user\n{rows[index]['instruction']}<|im_end|>\n<|im_start|>assistant\n"
            ids = tokenizer(prompt)["input_ids"], tokenizer(f"{rows[index]['output']}<|im_end|>\n")["input_ids"]
            row = torch.tensor([ids[0] + ids[1]])
            with torch.no_grad():
                logits = model(row).logits[0, len(ids[0]) - 1 : -1].log_softmax(-1)
            target = row[0, len(ids[0]) :]
            nll -= float(logits[torch.arange(len(target)), target].sum())
            right += int((logits.argmax(-1) == target).sum())
            tokens += len(target)
        assert lines(run)[0][f"{name}_loss"] == pytest.approx(nll / tokens, rel=1e-5)  # float32 forward pass
        assert lines(run)[0][f"{name}_token_accuracy"] == pytest.approx(100 * right / tokens)


@pytest.mark.parametrize("extra", [{}, LORA], ids=["full", "LoRA"])
def test_divergence_from_the_base_equals_dense_float64(world, tmp_path, extra):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    support.run_here(plain(world, tmp_path / "run", dba_gauge_steps=3, dba_gauge_samples=8, **extra))
    found = lines(tmp_path / "run")
    assert set(found[0]) == {"step", "forward_kl", "seconds"}
    assert found[0]["forward_kl"] == 0.0
    assert 0.0 < found[1]["forward_kl"] < found[2]["forward_kl"]
    load = AutoModelForCausalLM.from_pretrained
    before = load(world / "model", dtype=torch.float64).eval()
    if extra:
        after = PeftModel.from_pretrained(load(world / "model", dtype=torch.float64), tmp_path / "run").double().eval()
    else:
        after = load(tmp_path / "run", dtype=torch.float64).eval()
    from transformers import AutoTokenizer

    from llamafactory_dba.training.gauge.rows import order

    tokenizer = AutoTokenizer.from_pretrained(world / "model")
    rows = json.loads((world / "data" / "domain.json").read_text())
    total, count = 0.0, 0
    for index in order(48, 8)[:8]:
        prompt = f"<|im_start|>user\n{rows[index]['instruction']}<|im_end|>\n<|im_start|>assistant\n"
        ids = tokenizer(prompt)["input_ids"], tokenizer(f"{rows[index]['output']}<|im_end|>\n")["input_ids"]
        with torch.no_grad():
            p, q = (
                model(torch.tensor([ids[0] + ids[1]])).logits[0, len(ids[0]) - 1 : -1].log_softmax(-1)
                for model in (before, after)
            )
        total += float((p.exp() * (p - q)).sum())
        count += len(p)
    # the float32 logarithms of two models are 1e-6 apart from float64's; the divergence is about 0.1
    assert found[-1]["forward_kl"] == pytest.approx(total / count, rel=1e-3)


def resumed(world, folder, **changes):
    """12 steps at once, and 6, a kill, and the rest."""
    common = {"num_train_epochs": 2, "save_strategy": "steps", "save_steps": 6, **changes}
    support.run_here(plain(world, folder / "whole", **common))
    support.run_here(plain(world, folder / "parts", **common))
    for name in ("model.safetensors", "adapter_model.safetensors"):
        (folder / "parts" / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "parts" / "checkpoint-12")
    support.run_here(plain(world, folder / "parts", **common))
    assert timeless(lines(folder / "parts")) == timeless(lines(folder / "whole"))
    return folder / "whole", folder / "parts"


def test_a_resumed_run_goes_on_exactly(world, tmp_path):
    whole, parts = resumed(world, tmp_path, **ON, dba_gauge_keep_best=True, dba_gauge_score="token")
    assert support.same_weights(whole, parts)
    assert support.same_weights(whole / "best", parts / "best")
    assert (whole / "best" / "gauge.json").read_text() == (parts / "best" / "gauge.json").read_text()


def test_a_resumed_divergence_needs_what_the_base_said(world, tmp_path):
    resumed(world, tmp_path, dba_gauge_steps=2)
    shutil.rmtree(tmp_path / "parts" / "checkpoint-12")
    again = plain(
        world, tmp_path / "parts", num_train_epochs=2, save_strategy="steps", save_steps=6, dba_gauge_steps=2
    )
    with pytest.raises(DBAError, match="other rows"):
        support.run_here({**again, "dba_gauge_samples": 5})
    shutil.rmtree(tmp_path / "parts" / "dba_gauge_base")
    with pytest.raises(DBAError, match="dba_gauge_base"):
        support.run_here(again)
    elsewhere = {**again, "output_dir": str(tmp_path / "new")}
    support.run_here({**elsewhere, "resume_from_checkpoint": str(tmp_path / "whole" / "checkpoint-6")})
    assert timeless(lines(tmp_path / "new")) == timeless(lines(tmp_path / "whole"))[4:]


def script(monkeypatch, values):
    """Let the gauge find these, one after the other, whatever the model is."""
    source = iter(values)
    monkeypatch.setattr(Meter, "measure", lambda self: dict(next(source)))


def scores(*numbers):
    return [{"general_loss": 1.0, "s": float(number)} for number in numbers]


def test_patience_ends_the_run_and_the_best_weights_are_those_of_its_step(world, tmp_path, monkeypatch):
    script(monkeypatch, scores(1, 5, 9, 7, math.nan, 8, 8))
    changes = {**ON, "num_train_epochs": 4, "save_strategy": "steps", "save_steps": 2, "save_total_limit": 10}
    support.run_here(
        plain(world, tmp_path / "run", **changes, dba_gauge_keep_best=True, dba_gauge_patience=3),
    )
    found = lines(tmp_path / "run")
    assert [(line["step"], line["s"]) for line in found] == [(0, 1), (2, 5), (4, 9), (6, 7), (8, None), (10, 8)]
    assert json.loads((tmp_path / "run" / "trainer_state.json").read_text())["global_step"] == 10
    best = tmp_path / "run" / "best"
    assert json.loads((best / "gauge.json").read_text()) == {"step": 4, "general_loss": 1.0, "s": 9.0}
    assert support.same_weights(best, tmp_path / "run" / "checkpoint-4")
    assert not support.same_weights(best, tmp_path / "run")
    assert sorted(path.name for path in tmp_path.joinpath("run").glob("best*")) == ["best"]
    entries = [entry for entry in support.log_history(tmp_path / "run") if entry["step"] == 8]
    assert "dba_gauge_s" not in entries[0] or "dba_gauge_s" not in entries[1]  # NaN is left out, not logged


def test_without_domain_rows_the_general_loss_decides(world, tmp_path, monkeypatch):
    script(monkeypatch, [{"general_loss": value} for value in (2.0, 1.0, 1.5, 1.2)])
    support.run_here(
        plain(world, tmp_path / "run", dba_gauge_steps=1, dba_gauge_dataset="general", dba_gauge_patience=2)
    )
    assert [line["step"] for line in lines(tmp_path / "run")] == [0, 1, 2, 3]


def test_the_base_is_no_weight_to_keep(world, tmp_path, monkeypatch):
    script(monkeypatch, scores(9, 5, 5, 5))
    (tmp_path / "run" / "best").mkdir(parents=True)  # of an earlier run
    (tmp_path / "run" / "best" / "gauge.json").write_text('{"step": 1, "s": 99.0}')
    support.run_here(plain(world, tmp_path / "run", **ON, dba_gauge_keep_best=True, overwrite_output_dir=True))
    assert not (tmp_path / "run" / "best").exists()


@pytest.mark.parametrize("extra", [{}, LORA], ids=["full", "LoRA"])
def test_the_best_weights_load_and_measure_as_logged(world, tmp_path, monkeypatch, extra):
    run = tmp_path / "run"
    changes = {**ON, **extra, "dba_gauge_score": "token", "dba_gauge_keep_best": True, "learning_rate": 5e-3}
    support.run_here(plain(world, run, **changes, num_train_epochs=2))
    kept = json.loads((run / "best" / "gauge.json").read_text())
    assert kept["step"] > 0 and kept["s"] == max(line["s"] for line in lines(run))
    (line,) = [line for line in lines(run) if line["step"] == kept["step"]]
    assert {**line, "seconds": 0} == {**kept, "seconds": 0}
    # trained on from there, the run's base line is what was logged for these weights
    start = {"adapter_name_or_path": str(run / "best")} if extra else {"model_name_or_path": str(run / "best")}
    support.run_here(plain(world, tmp_path / "again", **{**changes, **start}, max_steps=1))
    again = lines(tmp_path / "again")[0]
    assert {**again, "seconds": 0, "step": 0} == pytest.approx({**kept, "seconds": 0, "step": 0}, rel=1e-6)


def test_the_same_rows_whatever_the_seed_and_not_those_in_training(world, tmp_path, caplog):
    import logging

    mixed = {"dataset": "domain,general", "dba_gauge_dataset": "more", "dba_gauge_steps": 20}
    rows = json.loads((world / "data" / "general.json").read_text())[:10]
    rows += json.loads((world / "data" / "other.json").read_text())[:6]
    shutil.copytree(world / "data", tmp_path / "data")
    (tmp_path / "data" / "more.json").write_text(json.dumps(rows))
    info = json.loads((tmp_path / "data" / "dataset_info.json").read_text())
    (tmp_path / "data" / "dataset_info.json").write_text(json.dumps({**info, "more": {"file_name": "more.json"}}))
    caplog.set_level(logging.WARNING)
    logging.getLogger("llamafactory").propagate = True
    try:
        for seed in (1, 2):
            support.run_here(
                plain(world, tmp_path / str(seed), **mixed, seed=seed, dataset_dir=str(tmp_path / "data"), max_steps=1)
            )
    finally:
        logging.getLogger("llamafactory").propagate = False
    assert "10 rows of more ask what the training data asks" in caplog.text
    one, two = (timeless(lines(tmp_path / seed))[0] for seed in "12")
    assert one == two


def test_off_it_costs_nothing_and_is_not_even_imported(world, tmp_path, monkeypatch):
    monkeypatch.setattr(gauge_callback, "attach_gauge", None)
    support.run_here(plain(world, tmp_path / "run", max_steps=1))
    assert not list((tmp_path / "run").glob("dba_gauge*"))
