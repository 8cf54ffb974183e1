"""Runs with `dba_variant: elastic` through the host: limits, resume, logs, refusals."""

import importlib.util
import json

import pytest
import reference
import support
import torch

from llamafactory_dba.anchor.config import read_config
from llamafactory_dba.anchor.curvature import load_curvature, mean_curvature
from llamafactory_dba.errors import AnchorError, DBAError


ELASTIC = {"dba_variant": "elastic", "dba_elastic_every": 4, "dba_elastic_strength": 1.0e4}


@pytest.fixture(scope="module")
def anchors(world, tmp_path_factory):
    """One of each kind."""
    folder = tmp_path_factory.mktemp("curved")
    for kind in ("factored", "diagonal", "kronecker"):
        changes = {"dba_anchor_curvature": True, "dba_curvature_kind": kind}
        support.run_here(support.anchor_arguments(world, folder / kind, **changes))
    return folder


@pytest.fixture(scope="module")
def curved(anchors):
    return anchors / "factored"


@pytest.fixture(scope="module")
def model(world, tmp_path_factory):
    return support.without_dropout(world / "model", tmp_path_factory.mktemp("model") / "model")


def run(world, out, anchor, **changes):
    args = support.arguments(world, out, dba_anchor_path=str(anchor), **{**ELASTIC, **changes})
    support.run_here(args)
    return out


def log(folder):
    return [json.loads(line) for line in (folder / "dba_elastic.jsonl").read_text().splitlines()]


def plain(world, out, **changes):
    support.run_here(support.arguments(world, out, use_dba=None, dba_anchor_path=None, **changes))
    return out


def distance(world, folder):
    base = support.weights(world / "model")
    return {name: float((value - base[name]).norm()) for name, value in support.weights(folder).items()}


@pytest.mark.parametrize("kind", ["factored", "diagonal", "kronecker"])
def test_restores_and_logs(world, anchors, tmp_path, kind):
    out = run(world, tmp_path / "run", anchors / kind, num_train_epochs=2, dba_record=True)
    records = log(out)
    assert [record["step"] for record in records] == [3, 7, 11]
    assert all(0 < record["predicted_kl"] < record["predicted_kl_before"] for record in records)
    # linear from 1e-3 to 0 over 12 steps
    assert records[0]["pending_rate"] == pytest.approx(1e-3 * (12 + 11 + 10 + 9) / 12)
    free = plain(world, tmp_path / "plain", num_train_epochs=2)
    mine, others = distance(world, out), distance(world, free)
    assert sum(mine.values()) < 0.9 * sum(others.values())
    logged = [entry["dba_predicted_kl"] for entry in support.log_history(out) if "dba_predicted_kl" in entry]
    assert logged == [record["predicted_kl"] for record in records]
    facts = json.loads((out / "dba_run.json").read_text())
    assert (facts["variant"], facts["matched_tensors"], facts["unmatched_tensors"]) == ("elastic", 24, [])
    assert json.loads((out / "run_record.json").read_text())["method"] == "elastic"
    assert not (out / "dba_log.jsonl").exists()


@pytest.mark.parametrize("kind", ["factored", "diagonal", "kronecker"])
def test_the_mean_curvature_is_that_of_the_stored_one(anchors, kind):
    config = read_config(anchors / kind)
    total = count = 0.0
    for item in load_curvature(anchors / kind, config, config.tensors).values():
        matrix = reference.curvature_diagonal(*item)
        total, count = total + float(matrix.sum()), count + matrix.size
    # the header's trace is summed in fp64 before the numbers were rounded to fp32
    assert mean_curvature(anchors / kind, config) == pytest.approx(total / count, rel=1e-4)


def test_strength_zero_is_plain_training_bit_for_bit(world, curved, tmp_path):
    out = run(world, tmp_path / "run", curved, dba_elastic_strength=0.0)
    assert support.same_weights(out, plain(world, tmp_path / "plain"))
    assert all(record["predicted_kl"] == record["predicted_kl_before"] > 0 for record in log(out))


def test_infinite_strength_and_full_rank_keep_the_weights(world, curved, tmp_path):
    free = distance(world, plain(world, tmp_path / "plain"))
    held = distance(world, run(world, tmp_path / "run", curved, dba_elastic_strength=1e30, dba_elastic_every=1))
    for name, value in held.items():
        # fp32: 1e30 times the smallest number of a product may be below 1, and the subtraction rounds
        assert value < 1e-4 * free[name], name


GALORE = {"use_galore": True, "optim": "adamw_torch", "galore_rank": 4, "galore_target": "all"}


@pytest.mark.skipif(
    importlib.util.find_spec("galore_torch") is None,
    reason="galore_torch is not installed (pip install 'llamafactory-dba[galore]')",
)
def test_on_the_steps_of_galore(world, curved, tmp_path):
    """Both limits, and between them a strength that holds a part."""
    free = plain(world, tmp_path / "plain", **GALORE)
    measured = run(world, tmp_path / "measured", curved, dba_elastic_strength=0.0, **GALORE)
    assert support.same_weights(measured, free)
    held = run(world, tmp_path / "held", curved, dba_elastic_strength=1e30, dba_elastic_every=1, **GALORE)
    some = run(world, tmp_path / "some", curved, dba_elastic_strength=1e3, **GALORE)
    moved = distance(world, free)
    assert all(value < 1e-4 * moved[name] for name, value in distance(world, held).items())
    assert 0 < sum(distance(world, some).values()) < 0.95 * sum(moved.values())
    assert all(record["predicted_kl"] < record["predicted_kl_before"] for record in log(some))


@pytest.mark.parametrize(
    "kind, changes",
    [
        ("factored", {"dba_elastic_every": 3}),
        ("diagonal", {"dba_elastic_base": "host"}),
        ("kronecker", {}),
        ("kronecker", {"dba_elastic_base": "none"}),
        ("kronecker", {"dba_elastic_products": "bfloat16", "dba_curvature_rank": 5}),
    ],
)
def test_resume_is_exact(world, model, tmp_path, kind, changes):
    import shutil

    anchor = tmp_path / "anchor"
    support.run_here(
        support.anchor_arguments(
            world,
            anchor,
            model_name_or_path=str(model),
            dba_anchor_curvature=True,
            dba_curvature_kind=kind,
            dba_curvature_rank=12,
        )
    )
    steps = {"save_strategy": "steps", "save_steps": 2, "model_name_or_path": str(model), **changes}
    whole = run(world, tmp_path / "whole", anchor, **steps)
    shutil.copytree(whole, tmp_path / "again")
    for folder in ("checkpoint-4", "checkpoint-6"):
        shutil.rmtree(tmp_path / "again" / folder)
    (tmp_path / "again" / "model.safetensors").unlink()
    run(world, tmp_path / "again", anchor, **steps)  # from checkpoint-2, in the middle of two restorations
    assert support.same_weights(whole, tmp_path / "again")
    assert log(whole) == log(tmp_path / "again")
    rank = changes.get("dba_curvature_rank", 12) if kind == "kronecker" else 0
    assert json.loads((whole / "dba_run.json").read_text())["curvature_rank"] == rank  # of the anchor's 12
    (tmp_path / "again" / "checkpoint-4" / "dba_elastic.json").unlink()
    shutil.rmtree(tmp_path / "again" / "checkpoint-6")
    with pytest.raises(DBAError, match="cannot be resumed by an elastic run"):
        run(world, tmp_path / "again", anchor, **steps)


def test_freeze_tuning_and_added_tokens(world, curved, tmp_path):
    out = run(world, tmp_path / "run", curved, finetuning_type="freeze", freeze_trainable_layers=1)
    assert json.loads((out / "dba_run.json").read_text())["matched_tensors"] == 11
    assert len(log(out)) == 2


def test_makes_its_own_anchor_with_a_curvature(world, tmp_path):
    anchor = tmp_path / "anchor"
    run(world, tmp_path / "run", anchor, dba_anchor_dataset="general")
    assert json.loads((anchor / "anchor_config.json").read_text())["curvature"]["kind"] == "factored"


def test_an_anchor_without_curvature_is_refused_before_the_model_loads(world, tmp_path):
    with pytest.raises(AnchorError, match="has no curvature") as caught:
        run(world, tmp_path / "run", world / "anchor")
    assert "dba_anchor_curvature: true" in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"dba_elastic_strength": -1.0}, "dba_elastic_strength` must be >= 0"),
        ({"dba_elastic_strength": float("inf")}, "dba_elastic_strength"),
        ({"dba_elastic_every": 0}, "dba_elastic_every` must be > 0"),
        ({"dba_elastic_products": "fp8"}, "dba_elastic_products"),
        ({"dba_elastic_products": "bfloat16", "dba_elastic_base": "none"}, "rounds the small difference"),
        ({"dba_variant": "elastik"}, "dba_variant"),
        ({"dba_elastic_base": "none"}, "needs the base weights"),
        ({"finetuning_type": "lora"}, "adapter"),
    ],
)
def test_bad_settings_are_refused(world, curved, tmp_path, changes, text):
    with pytest.raises((DBAError, ValueError), match=text):
        run(world, tmp_path / "run", curved, **changes)


def test_a_damaged_curvature_is_refused(world, curved, tmp_path):
    import shutil

    anchor = shutil.copytree(curved, tmp_path / "anchor")
    path = anchor / "curvature.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(AnchorError, match="damaged or cut off"):
        run(world, tmp_path / "run", anchor)
    path.unlink()
    with pytest.raises(AnchorError, match="missing"):
        run(world, tmp_path / "run", anchor)


@pytest.mark.parametrize("kind", ["diagonal", "kronecker"])
def test_bf16_anchor(world, tmp_path, kind):
    anchor = tmp_path / "anchor"
    changes = {"dba_anchor_curvature": True, "dba_anchor_dtype": "bfloat16", "dba_curvature_kind": kind}
    support.run_here(support.anchor_arguments(world, anchor, **changes))
    out = run(world, tmp_path / "run", anchor)
    assert all(torch.isfinite(value).all() for value in support.weights(out).values())
    assert log(out)[-1]["predicted_kl"] < log(out)[-1]["predicted_kl_before"]
