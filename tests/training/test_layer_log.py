"""dba_layers.jsonl: signed cosines against their dense twin, exact across a resume, and never too many lines."""

import json
import math
import shutil

import pytest
import reference
import support
import torch
from safetensors.torch import load_file
from torch import nn

from llamafactory_dba.core.lowrank import LowRank
from llamafactory_dba.training.hooks import Settings, StepHook, Target, attach
from llamafactory_dba.training.layer_log import FILE_NAME, LINES, cosines, interval, read_layers


def test_equals_the_dense_twin():
    source = torch.Generator().manual_seed(1)
    anchors = {
        "0.weight": LowRank(*(torch.randn(n, m, generator=source, dtype=torch.float64) for n, m in ((8, 2), (2, 6)))),
        "0.bias": torch.randn(8, generator=source, dtype=torch.float64),
        "2.weight": torch.randn(3, 8, generator=source, dtype=torch.float64),
    }
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3, bias=False)).double()
    targets = [Target(name, parameter, anchors[name]) for name, parameter in model.named_parameters()]
    records, seen = [], []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)

    def on_sums(step, present, rows):
        norms = [attachment.hook.norms[target.name] for target in present]
        seen.append((step, cosines([target.name for target in present], rows, norms)))

    settings = Settings(5.0, True, 0.1, 6)
    attachment = attach(optimizer, StepHook(targets, settings, lambda: len(records), records.append, on_sums=on_sums))
    signs = set()
    for step in range(6):
        model.zero_grad()
        model(torch.randn(5, 6, generator=source, dtype=torch.float64)).square().mean().backward()
        gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
        optimizer.step()
        number, found = seen[-1]
        assert number == step
        assert list(found) == list(gradients)
        for name, gradient in gradients.items():
            value = anchors[name]
            expected = reference.cosine(gradient, value.left @ value.right if isinstance(value, LowRank) else value)
            assert found[name] == pytest.approx(expected, rel=1e-5)  # written with six digits
            signs.add(found[name] > 0)
        # the lines add up to equation 7
        parts = [found[name] * float(g.norm()) * attachment.hook.norms[name] for name, g in gradients.items()]
        s = abs(math.fsum(parts)) / records[step].domain_grad_norm / attachment.hook.anchor_norm
        assert s == pytest.approx(records[step].similarity, rel=1e-4)  # as above, and the terms cancel in part
    assert signs == {True, False}


def test_tensors_without_a_direction_are_left_out():
    found = cosines("abcd", [(0.0, 0.0), (1.0, 4.0), (-9.0, 9.0), (0.0, 4.0)], [1.0, 0.0, 1.0, 1.0])
    assert found == {"c": -1.0, "d": 0.0}  # -3 by its sums, which rounding may do by a little


@pytest.mark.parametrize(
    ("asked", "total", "every"),
    [(None, 6, 1), (None, 100, 1), (None, 101, 2), (None, 10_000, 100), (None, 10_001, 101), (7, 10, 7), (0, 10, 0)],
)
def test_interval(asked, total, every):
    assert interval(asked, total) == every
    if asked is None:
        assert len(range(0, total, every)) <= LINES


@pytest.fixture(scope="module")
def finished(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("layers") / "run"
    support.run_here(support.arguments(world, out, save_strategy="steps", save_steps=2))
    return out


def test_a_run_writes_every_matched_tensor(world, finished):
    records = read_layers(finished)
    assert [record.step for record in records] == list(range(6))
    anchor = load_file(world / "anchor" / "anchor.safetensors")
    names = {name.removesuffix(".left").removesuffix(".right") for name in anchor}
    assert all(set(record.similarity) == names for record in records)
    assert all(-1 <= value <= 1 for record in records for value in record.similarity.values())


def test_resume_is_exact(world, finished, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    shutil.copytree(finished / "checkpoint-4", out / "checkpoint-4")
    # lines of steps that will be made again, and one that a kill cut off
    (out / FILE_NAME).write_text((finished / FILE_NAME).read_text() + '{"step": 6, "simil')
    support.run_here(support.arguments(world, out, save_strategy="steps", save_steps=2))
    assert (out / FILE_NAME).read_bytes() == (finished / FILE_NAME).read_bytes()


def test_the_interval_is_kept_and_zero_is_off(world, tmp_path):
    support.run_here(support.arguments(world, tmp_path / "run", dba_layer_log_steps=4))
    assert [record.step for record in read_layers(tmp_path / "run")] == [0, 4]
    # the file of an earlier run in the same folder does not stay as if it were this one's
    support.run_here(
        support.arguments(
            world, tmp_path / "run", dba_layer_log_steps=0, overwrite_output_dir=True, num_train_epochs=2
        )
    )
    assert not (tmp_path / "run" / FILE_NAME).exists()
    assert read_layers(tmp_path / "run") == []


def test_a_negative_interval_is_refused(world, tmp_path):
    with pytest.raises(ValueError, match="dba_layer_log_steps"):
        support.run_here(support.arguments(world, tmp_path / "run", dba_layer_log_steps=-1))


def test_lines_are_small(finished):
    """A line is one JSON object without more digits than it needs."""
    line = (finished / FILE_NAME).read_text().splitlines()[0]
    assert all(len(repr(value)) <= 12 for value in json.loads(line)["similarity"].values())
