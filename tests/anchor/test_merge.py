import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import reference
import torch
from anchor.helpers import FP32, assert_close, config, dense, model_tensors, truncations, write_model
from safetensors.torch import load_file, save_file

from llamafactory_dba.anchor import merge as module
from llamafactory_dba.anchor.fingerprint import fingerprint_folder
from llamafactory_dba.anchor.format import BaseModel, GeneralData, read_config, save_anchor
from llamafactory_dba.anchor.merge import by_samples, merge
from llamafactory_dba.core.lowrank import truncate
from llamafactory_dba.errors import AnchorError


MATRIX = "model.embed_tokens.weight"


def mean(folders, weights):
    every = [dense(folder) for folder in folders]
    return {name: reference.weighted_mean([one[name] for one in every], weights) for name in every[0]}


@pytest.mark.parametrize("weights", [None, (2.0, 1.0), (0.1, 0.7)])
def test_the_weighted_mean_where_the_ranks_suffice(tmp_path, make, weights):
    folders = [make("a"), make("b", seed=1, rank=3)]
    written, notes = merge(folders, tmp_path / "out", weights=weights, rank=7)
    assert_close(dense(tmp_path / "out"), mean(folders, weights or (1, 1)))
    assert notes == [] and written == read_config(tmp_path / "out")
    assert written.rank == 7 and written.tensors[MATRIX].rank == 7 and written.totals.added_error == 0.0
    assert written.tensors["model.layers.1.conv.weight"].shape == (4, 10, 20)


def test_a_lower_rank_is_as_good_as_the_dense_svd(tmp_path, make):
    folders = [make("a"), make("b", seed=1), make("c", seed=2)]
    written, _ = merge(folders, tmp_path / "out", weights=(3, 2, 1), rank=5)
    found, whole = dense(tmp_path / "out"), mean(folders, (3, 2, 1))
    cut = full = 0.0
    for name, info in written.tensors.items():
        if info.rank:
            matrix = whole[name].reshape(-1, whole[name].shape[-1])
            best, energy = reference.best_rank(matrix, 5)
            assert info.rank == 5
            assert abs(found[name].reshape(matrix.shape) - best).max() <= FP32 * abs(best).max()
            assert info.added_error == pytest.approx(math.sqrt(1 - energy), rel=1e-4)  # fp32, a difference near 1
        cut += float(((found[name] - whole[name]) ** 2).sum())
        full += float((whole[name] ** 2).sum())
    assert written.totals.added_error == pytest.approx(math.sqrt(cut / full), rel=1e-4)
    assert 0 < written.totals.added_error < 1


def test_the_default_rank_is_the_highest_of_the_inputs(tmp_path, make):
    written, _ = merge([make("a", rank=2), make("b", rank=5)], tmp_path / "out")
    assert written.rank == 5 and written.tensors[MATRIX].rank == 5
    written, _ = merge([make("c", rank=2), make("d", rank=5)], tmp_path / "more", rank=100)
    assert written.rank == 7, "no more than there can be"


def test_merging_in_two_steps_is_the_same(tmp_path, make):
    a, b, c = make("a", rank=2), make("b", seed=1, rank=2), make("c", seed=2, rank=2)
    merge([a, b], tmp_path / "inner", weights=(1, 3), rank=4)
    nested, _ = merge([tmp_path / "inner", c], tmp_path / "nested", weights=(0.4, 0.6), rank=6)
    flat, _ = merge([a, b, c], tmp_path / "flat", weights=(0.1, 0.3, 0.6), rank=6)
    assert_close(dense(tmp_path / "nested"), dense(tmp_path / "flat"))
    assert [source.name for source in nested.sources] == ["a", "b", "c"]
    assert [source.weight for source in nested.sources] == pytest.approx([0.1, 0.3, 0.6])
    for name, info in nested.tensors.items():
        # the lost parts add up the same way, too
        assert info.norm == pytest.approx(flat.tensors[name].norm, rel=FP32)
        assert info.energy_kept == pytest.approx(flat.tensors[name].energy_kept, rel=FP32)


def test_an_anchor_merged_with_itself_is_itself(tmp_path, make):
    a, b = make("a"), make("b")
    written, _ = merge([a, b], tmp_path / "out", weights=(1, 5))
    assert_close(dense(tmp_path / "out"), dense(a))
    for name, info in read_config(a).tensors.items():
        assert written.tensors[name].norm == pytest.approx(info.norm, rel=FP32)
        assert written.tensors[name].energy_kept == pytest.approx(info.energy_kept, rel=FP32)


def test_energy_kept_is_never_too_high(tmp_path):
    """Against the dense means of what the inputs were made from, which the inputs themselves have lost."""
    full = [torch.randn(60, 20), torch.randn(60, 20)]
    for name, matrix in zip("ab", full, strict=True):
        save_anchor(tmp_path / name, {"w": truncate(matrix, 6)}, config(rank=6))
    written, _ = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out", rank=6)
    info, stored = written.tensors["w"], dense(tmp_path / "out")["w"]
    assert info.energy_kept * info.norm**2 == pytest.approx(float((stored**2).sum()), rel=FP32)
    true = reference.weighted_mean(full, (1, 1))
    assert info.norm**2 >= float((true**2).sum()) and not info.exact


@pytest.mark.parametrize("rank", [3, 8, 40])
def test_one_dense_and_one_factored(tmp_path, make, rank):
    """At rank 40 everything of the first is dense, of the second nothing that is large."""
    folders = [make("a", rank=40), make("b", seed=1, rank=4)]
    written, _ = merge(folders, tmp_path / "out", rank=rank)
    whole, found = mean(folders, (1, 1)), dense(tmp_path / "out")
    for name, info in written.tensors.items():
        expected = whole[name]
        if info.rank:
            matrix = expected.reshape(-1, expected.shape[-1])
            expected = reference.best_rank(matrix, rank)[0].reshape(expected.shape)
        assert abs(found[name] - expected).max() <= FP32 * abs(expected).max()
    assert (written.tensors[MATRIX].rank == 0) == (rank == 40)


def test_provenance(tmp_path, make):
    english = GeneralData(("alpaca_en", "shared"), 100, 5000, "aa")
    chinese = GeneralData(("alpaca_zh", "shared"), 300, 9000, "bb")
    a = make("en", data=english, steps=10, template="qwen3", licence="mit", tokenizer_hash="t")
    b = make("zh", seed=1, data=chinese, steps=30, template="qwen3", licence="cc-by-4.0", stage="pt")
    written, notes = merge([a, b], tmp_path / "out", weights=by_samples([a, b]))
    assert written.data.datasets == ("alpaca_en", "shared", "alpaca_zh")
    assert (written.data.samples, written.data.tokens, written.steps) == (400, 14000, 40)
    assert written.data.hash not in ("", "aa", "bb") and written.global_batch == 8
    assert (written.stage, written.template, written.licence) == ("sft+pt", "qwen3", "mit, cc-by-4.0")
    assert written.half_cosine == () and written.tokenizer_hash == ""
    assert [(s.name, s.weight, s.data, s.steps) for s in written.sources] == [
        ("en", 0.25, english, 10),
        ("zh", 0.75, chinese, 30),
    ]
    assert len(notes) == 1 and "tokenizer" in notes[0]
    assert str(tmp_path) not in (tmp_path / "out" / "anchor_config.json").read_text()


def test_dtypes(tmp_path, make):
    half, other, full = make("half", dtype="bfloat16"), make("other", seed=1, dtype="bfloat16"), make("full", seed=2)
    assert merge([half, other], tmp_path / "x").config.dtype == "bfloat16"
    assert merge([half, full], tmp_path / "y").config.dtype == "float32"


def refused(tmp_path, folders, match, **options):
    with pytest.raises(AnchorError, match=match) as caught:
        merge(folders, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))
    return caught.value


@pytest.mark.parametrize("weights", [(0, 1), (-1, 2), (math.nan, 1), (math.inf, 1), (1,), (1, 1, 1), ()])
def test_weights_that_make_no_sense(tmp_path, make, weights):
    refused(tmp_path, [make("a"), make("b")], "weights", weights=weights)


@pytest.mark.parametrize("rank", [0, -3])
def test_ranks_that_make_no_sense(tmp_path, make, rank):
    refused(tmp_path, [make("a"), make("b")], "rank", rank=rank)


def test_one_anchor_is_none_to_merge(tmp_path, make):
    refused(tmp_path, [make("a")], "nothing to merge")


def test_another_base_model(tmp_path, make):
    folders = []
    for seed in (0, 1):
        model = write_model(tmp_path / f"model{seed}", model_tensors(seed=seed))
        folders.append(make(f"anchor{seed}", fingerprint=fingerprint_folder(model)))
    error = refused(tmp_path, folders, "different base models")
    assert "other values" in error.found


def test_the_same_model_in_another_dtype_is_the_same(tmp_path, make):
    folders = []
    for name, dtype in (("a", torch.float32), ("b", torch.bfloat16)):
        model = write_model(tmp_path / f"model_{name}", {k: t.to(dtype) for k, t in model_tensors().items()})
        folders.append(make(name, fingerprint=fingerprint_folder(model)))
    merge(folders, tmp_path / "out")


def test_without_fingerprints_the_ids_must_agree(tmp_path, make):
    other = BaseModel("maker/other")
    error = refused(tmp_path, [make("a"), make("b", base_model=other)], "different base models")
    assert "no fingerprint" in error.found


def test_other_shapes_and_tensors(tmp_path, make):
    items = truncations(seed=1)
    items["scale"] = truncate(torch.ones(2), 4)
    assert "another shape of scale" in refused(tmp_path, [make("a"), make("b", items=items)], "different base").found
    items["more"] = truncate(torch.ones(2), 4)
    del items["scale"]
    found = refused(tmp_path, [tmp_path / "a", make("c", items=items)], "different base").found
    assert "1 tensors only in the first, such as scale" in found and "such as more" in found


def test_damaged_inputs_leave_what_was_there(tmp_path, make):
    a, b = make("a"), make("b", seed=1)
    merge([a, b], tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    tensors = load_file(b / "anchor.safetensors")
    tensors["scale"].fill_(math.nan)
    save_file(tensors, b / "anchor.safetensors")
    with pytest.raises(AnchorError, match=r"scale[\s\S]*NaN"):
        merge([a, b], tmp_path / "out", overwrite=True)
    (b / "anchor.safetensors").write_bytes((b / "anchor.safetensors").read_bytes()[:-9])
    with pytest.raises(AnchorError, match="cut off"):
        merge([a, b], tmp_path / "out", overwrite=True)
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert not list(tmp_path.glob(".out*"))


def test_ctrl_c_leaves_what_was_there(tmp_path, make, monkeypatch):
    a, b = make("a"), make("b", seed=1)
    merge([a, b], tmp_path / "out")
    before = (tmp_path / "out" / "anchor_config.json").read_bytes()
    calls = []

    def interrupted(*args, **options):
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*args, **options)

    real = module.combine
    monkeypatch.setattr(module, "combine", interrupted)
    with pytest.raises(KeyboardInterrupt):
        merge([a, b], tmp_path / "out", overwrite=True, shard_bytes=100)
    assert (tmp_path / "out" / "anchor_config.json").read_bytes() == before
    assert not list(tmp_path.glob(".out*"))


def test_where_the_result_may_go(tmp_path, make):
    a, b = make("a"), make("b", seed=1)
    with pytest.raises(AnchorError, match="replace one of its inputs"):
        merge([a, b], tmp_path / "x" / ".." / "a", overwrite=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(AnchorError, match="other files"):
        merge([a, b], tmp_path / "full", overwrite=True)
    merge([a, b], tmp_path / "out")
    with pytest.raises(AnchorError, match="already"):
        merge([a, b], tmp_path / "out")
    merge([a, b], tmp_path / "out", overwrite=True)


def test_several_files(tmp_path, make):
    folders = [make("a"), make("b", seed=1)]
    merge(folders, tmp_path / "one", rank=6)
    written, _ = merge(folders, tmp_path / "many", rank=6, shard_bytes=2000)
    assert len(written.files) > 2 and (tmp_path / "many" / "anchor.safetensors.index.json").is_file()
    assert_close(dense(tmp_path / "many"), dense(tmp_path / "one"))


@pytest.mark.slow
def test_memory_does_not_grow_with_the_anchor(tmp_path):
    """40 layers take as much memory as 8: tensors are read, merged and written one after the other."""
    script = Path(__file__).parents[2] / "benchmarks" / "merge_memory.py"
    peaks = {}
    for layers in (8, 40):
        out = tmp_path / f"{layers}.json"
        command = [sys.executable, str(script), "--shape", "tiny", "--layers", str(layers), "--rank", "96"]
        subprocess.run([*command, "--dtype", "float32", "--shards", "4000000", "--out", str(out)], check=True)
        result = json.loads(out.read_text())
        peaks[layers] = result["peak_bytes"] - result["imports_alone_bytes"]
    inputs = sum(result["bytes"].values())
    # 32 more layers are 70 MB in the three anchors; the noise of a process is some MB
    assert inputs > 60e6 and peaks[40] - peaks[8] < 0.15 * inputs
