import pytest
import reference
import torch
from anchor.helpers import config, model_tensors, truncations, write_model

from llamafactory_dba.anchor.fingerprint import fingerprint_folder
from llamafactory_dba.anchor.format import load_anchor, read_config, save_anchor
from llamafactory_dba.anchor.inspect import Sums, compare_anchors, groups, kind_of, layer_of
from llamafactory_dba.core.lowrank import reconstruct, truncate
from llamafactory_dba.errors import AnchorError


# inner products of fp32 numbers in fp64, against numpy's: only the order of the sums differs
FP64 = 1e-12


@pytest.fixture
def pair(tmp_path):
    first = truncations(rank=4)
    # related, of another rank: some matrices are dense in one anchor and factored in the other
    second = {
        name: truncate(
            reconstruct(item.value).reshape(item.shape) + 0.5 * torch.randn(item.shape), 16 if "q_proj" in name else 3
        )
        for name, item in first.items()
    }
    save_anchor(tmp_path / "a", first, config())
    save_anchor(tmp_path / "b", second, config(rank=16))
    return tmp_path / "a", tmp_path / "b"


def dense(folder, names):
    tensors = load_anchor(folder).tensors
    return torch.cat([reconstruct(tensors[name], dtype=torch.float64).reshape(-1) for name in names])


def test_cosines_equal_dense_ones(pair):
    result = compare_anchors(*pair)
    names = sorted(read_config(pair[0]).tensors)
    assert list(result.tensors) == names and not result.only_first and not result.only_second
    for name in names:
        expected = reference.cosine(dense(pair[0], [name]), dense(pair[1], [name]))
        assert result.tensors[name].cosine == pytest.approx(expected, abs=FP64), name
    assert result.total.cosine == pytest.approx(
        reference.cosine(dense(pair[0], names), dense(pair[1], names)), abs=FP64
    )
    assert 0.3 < result.total.cosine < 0.99


@pytest.mark.parametrize("label", [kind_of, layer_of])
def test_groups_of_cosines_equal_dense_ones(pair, label):
    result = compare_anchors(*pair)
    rows = result.by(label)
    for key, sums in rows.items():
        names = [name for name in result.tensors if label(name) == key]
        assert sums.cosine == pytest.approx(reference.cosine(dense(pair[0], names), dense(pair[1], names)), abs=FP64)
    assert sum(sums.dot for sums in rows.values()) == pytest.approx(result.total.dot, rel=FP64)


def test_an_anchor_compared_with_itself_and_its_opposite(pair, tmp_path):
    assert compare_anchors(pair[0], pair[0]).total.cosine == pytest.approx(1.0, abs=FP64)
    turned = {name: truncate(-reconstruct(item.value).reshape(item.shape), 4) for name, item in truncations().items()}
    save_anchor(tmp_path / "turned", turned, config())
    assert compare_anchors(pair[0], tmp_path / "turned").total.cosine == pytest.approx(-1.0, abs=1e-6)  # fp32 SVD


def test_a_zero_tensor_has_no_angle():
    assert Sums(0.0, 0.0, 1.0).cosine is None and Sums(0.0, 1.0, 0.0).cosine is None
    assert Sums(1e-320, 1e-160, 1e-160).cosine == pytest.approx(1e-160), "the product of the squares would underflow"


def test_anchors_that_share_only_some_tensors(pair, tmp_path):
    items = truncations()
    del items["scale"]
    items["more"] = truncate(torch.ones(3), 4)
    save_anchor(tmp_path / "c", items, config())
    result = compare_anchors(pair[0], tmp_path / "c")
    assert (result.only_first, result.only_second) == (["scale"], ["more"]) and len(result.tensors) == 6


def test_what_cannot_be_compared(pair, tmp_path):
    save_anchor(tmp_path / "shape", {"scale": truncate(torch.ones(3), 4)}, config())
    with pytest.raises(AnchorError, match="scale has another shape"):
        compare_anchors(pair[0], tmp_path / "shape")
    save_anchor(tmp_path / "names", {"other": truncate(torch.ones(3), 4)}, config())
    with pytest.raises(AnchorError, match="no tensor in common"):
        compare_anchors(pair[0], tmp_path / "names")


def test_notes_on_the_base_models(pair, tmp_path):
    assert "no fingerprint" in compare_anchors(*pair).notes[0]
    folders = []
    for seed in (0, 1):
        model = write_model(tmp_path / f"model{seed}", model_tensors(seed=seed))
        folders.append(tmp_path / f"known{seed}")
        save_anchor(folders[-1], truncations(), config(fingerprint=fingerprint_folder(model)))
    assert "different base models" in compare_anchors(*folders).notes[0]
    assert compare_anchors(folders[0], folders[0]).notes == []


@pytest.mark.parametrize(
    "name, kind, layer",
    [
        ("model.layers.11.self_attn.q_proj.weight", "q_proj", "11"),
        ("model.layers.0.self_attn.q_proj.bias", "q_proj.bias", "0"),
        ("transformer.h.3.attn.c_attn.weight", "c_attn", "3"),
        ("model.embed_tokens.weight", "embed_tokens", "outside"),
        ("scale", "scale", "outside"),
    ],
)
def test_kind_and_layer(name, kind, layer):
    assert (kind_of(name), layer_of(name)) == (kind, layer)


@pytest.mark.parametrize("label", [kind_of, layer_of])
def test_groups_add_up(pair, label):
    header = read_config(pair[0])
    rows = groups(header, label)
    assert sum(row.tensors for row in rows) == len(header.tensors)
    assert sum(row.numbers for row in rows) == header.totals.full_numbers
    assert sum(row.norm**2 for row in rows) == pytest.approx(header.totals.norm**2)
    assert sum(row.share for row in rows) == pytest.approx(1.0)
    kept = sum(row.energy_kept * row.norm**2 for row in rows)
    assert kept == pytest.approx(header.totals.energy_kept * header.totals.norm**2)


def test_layers_are_sorted_as_numbers(tmp_path):
    items = {f"h.{number}.w": truncate(torch.ones(2), 1) for number in (10, 9, 2)}
    save_anchor(tmp_path / "a", {**items, "head": truncate(torch.zeros(2), 1)}, config())
    rows = groups(read_config(tmp_path / "a"), layer_of)
    assert [row.label for row in rows] == ["2", "9", "10", "outside"]
    assert rows[-1].share == 0.0 and rows[-1].energy_kept == 1.0
