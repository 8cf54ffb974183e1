"""Two processes under torchrun against one process at the same global batch."""

import shutil

import pytest
import support
from safetensors.torch import load_file

from llamafactory_dba.anchor.format import read_config


pytestmark = pytest.mark.distributed


def test_two_processes_equal_one(world, tmp_path):
    results = {}
    model = support.without_dropout(world / "model", tmp_path / "model")
    for name, variables, batch in (("one", {}, 8), ("two", {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": "2"}, 4)):
        folder = tmp_path / name
        folder.mkdir()
        args = support.arguments(
            world,
            folder / "run",
            model_name_or_path=str(model),
            dba_anchor_path=str(folder / "anchor"),
            dba_anchor_dataset="general",
            dba_anchor_dtype="float32",
            per_device_train_batch_size=batch,
        )
        result = support.run_cli(args, folder, **variables)
        assert result.returncode == 0, result.stderr[-2000:]
        results[name] = folder
    first, second = (support.step_log(results[name] / "run") for name in ("one", "two"))
    assert len(first) == len(second) == 6
    for left, right in zip(first, second, strict=True):
        assert left["gamma"] == right["gamma"]
        # fp32 gradients of about 1e5 entries summed in another order: a few 1e-6, growing over the steps
        assert left["similarity"] == pytest.approx(right["similarity"], rel=1e-4)
        assert left["domain_grad_norm"] == pytest.approx(right["domain_grad_norm"], rel=1e-4)
    anchors = [load_file(results[name] / "anchor" / "anchor.safetensors") for name in ("one", "two")]
    vector = "model.norm.weight"
    assert float((anchors[0][vector] - anchors[1][vector]).norm() / anchors[0][vector].norm()) < 1e-4
    one, two = (read_config(results[name] / "anchor") for name in ("one", "two"))
    assert (one.steps, one.data.tokens, one.global_batch) == (two.steps, two.data.tokens, two.global_batch)


def test_killed_run_resumes_to_the_same_weights(world, tmp_path):
    """SIGKILL after the first checkpoint, then the same command again, as users do it."""
    import subprocess
    import time

    import yaml

    changes = {"save_strategy": "steps", "save_steps": 2, "num_train_epochs": 2}
    (tmp_path / "whole").mkdir()
    assert support.run_cli(support.arguments(world, tmp_path / "whole" / "run", **changes), tmp_path).returncode == 0
    out = tmp_path / "killed"
    args = support.arguments(world, out, **changes)
    (tmp_path / "killed.yaml").write_text(yaml.safe_dump(args))
    process = subprocess.Popen(
        ["llamafactory-cli", "train", str(tmp_path / "killed.yaml")],
        env=support.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 200
    while not (out / "checkpoint-4" / "trainer_state.json").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not (out / "model.safetensors").exists(), "the run ended before it could be killed"
    for folder in sorted(out.glob("checkpoint-*"))[1:]:
        if folder.name != "checkpoint-2":
            shutil.rmtree(folder)  # the newest one may be half written
    assert support.run_cli(args, tmp_path).returncode == 0
    assert support.same_weights(tmp_path / "whole" / "run", out)
    assert support.step_log(tmp_path / "whole" / "run") == support.step_log(out)


def test_the_micro_recipe_on_two_processes(tmp_path):
    """examples/micro/dba.yaml as it stands, but for the batch per process and the folders."""
    import subprocess
    from pathlib import Path

    root = Path(__file__).parents[2]
    logs = {}
    for name, variables, batch in (("one", {}, 8), ("two", {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": "2"}, 4)):
        overrides = [
            f"per_device_train_batch_size={batch}",
            f"output_dir={tmp_path / name}",
            f"dba_anchor_path={tmp_path / 'anchor'}",  # made by the first run, found by the second
            "dba_anchor_samples=256",
        ]
        subprocess.run(
            ["llamafactory-cli", "train", "examples/micro/dba.yaml", *overrides],
            cwd=root,
            env=support.environment(**variables),
            check=True,
            capture_output=True,
            timeout=500,
        )
        logs[name] = support.step_log(tmp_path / name)
    assert len(logs["one"]) == len(logs["two"]) == 336  # 896 rows, 3 epochs, whole batches
    for left, right in zip(logs["one"], logs["two"], strict=True):
        # similarities of about 2e-3 from fp32 sums of 6e5 products: 1e-7 absolute, and some growth over the run
        assert left["similarity"] == pytest.approx(right["similarity"], abs=2e-6)
        assert left["domain_grad_norm"] == pytest.approx(right["domain_grad_norm"], rel=1e-3, abs=1e-6)


def test_elastic_on_two_processes_equals_one(world, tmp_path):
    """Anchor with a curvature and training, both on two ranks."""
    import json

    results = {}
    model = support.without_dropout(world / "model", tmp_path / "model")
    for name, variables, batch in (("one", {}, 8), ("two", {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": "2"}, 4)):
        folder = results[name] = tmp_path / name
        folder.mkdir()
        args = support.arguments(
            world,
            folder / "run",
            model_name_or_path=str(model),
            dba_variant="elastic",
            dba_anchor_path=str(folder / "anchor"),
            dba_anchor_dataset="general",
            dba_anchor_dtype="float32",
            dba_anchor_save_steps=2,  # ranks are averaged in the middle, too
            per_device_train_batch_size=batch,
        )
        result = support.run_cli(args, folder, **variables)
        assert result.returncode == 0, result.stderr[-2000:]
    one, two = (read_config(results[name] / "anchor").curvature for name in ("one", "two"))
    assert (one.sequences, one.tokens, one.answers) == (two.sequences, two.tokens, two.answers)
    assert one.trace == pytest.approx(two.trace, rel=1e-4)
    parts = [load_file(results[name] / "anchor" / "curvature.safetensors") for name in ("one", "two")]
    for key, value in parts[0].items():
        if not key.endswith(".diagonal"):  # of vectors, from whole batches: those are other ones on two ranks
            assert float((parts[1][key] - value).norm() / value.norm()) < 1e-4, key
    logs = [
        [json.loads(line) for line in (results[name] / "run" / "dba_elastic.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    assert len(logs[0]) == len(logs[1]) == 2
    for left, right in zip(*logs, strict=True):
        # vectors have other estimates of their curvature, and fp32 gradients are summed in another order
        assert left["predicted_kl_before"] == pytest.approx(right["predicted_kl_before"], rel=0.05)
