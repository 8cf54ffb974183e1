import json

import pytest
import torch
from anchor.helpers import config, truncations
from safetensors.torch import load_file, save_file

from llamafactory_dba.anchor.format import is_anchor, load_anchor, read_config, save_anchor
from llamafactory_dba.core.lowrank import LowRank, norm, reconstruct
from llamafactory_dba.errors import AnchorError


@pytest.fixture
def folder(tmp_path):
    save_anchor(tmp_path / "anchor", truncations(), config())
    return tmp_path / "anchor"


def edit(folder, change):
    path = folder / "anchor_config.json"
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))


def edit_weights(folder, change):
    path = folder / "anchor.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def parts(value):
    return tuple(value) if isinstance(value, LowRank) else (value,)


def test_round_trip(folder):
    anchor, items = load_anchor(folder), truncations()
    assert anchor.folder == folder and is_anchor(folder) and anchor.tensors.keys() == items.keys()
    for name, item in items.items():
        assert isinstance(anchor.tensors[name], LowRank) == bool(item.rank)
        assert all(torch.equal(a, b) for a, b in zip(parts(anchor.tensors[name]), parts(item.value), strict=True))
        info = anchor.config.tensors[name]
        assert (info.shape, info.rank, info.norm, info.energy_kept, info.exact) == (
            item.shape,
            item.rank,
            item.norm,
            item.energy_kept,
            item.exact,
        )
    assert any(item.rank for item in items.values()) and any(not item.rank for item in items.values())
    assert sorted(path.name for path in folder.iterdir()) == ["anchor.safetensors", "anchor_config.json"]


def test_the_config_comes_back_as_it_was_with_totals_filled_in(folder):
    found, items = read_config(folder), truncations()
    expected = config(tensors=found.tensors, totals=found.totals, files=found.files)
    assert found == expected
    assert found.totals.norm == pytest.approx(sum(item.norm**2 for item in items.values()) ** 0.5)
    kept = sum(norm(item.value) ** 2 for item in items.values())
    assert found.totals.energy_kept == pytest.approx(kept / found.totals.norm**2, rel=1e-5)  # factors are fp32
    assert found.totals.full_numbers == 60 * 20 + 30 * 20 + 40 * 20 + 20 + 800 + 16 + 1
    assert found.totals.stored_numbers == sum(p.numel() for item in items.values() for p in parts(item.value))


def test_bf16_halves_the_file_and_stays_close(tmp_path, folder):
    save_anchor(tmp_path / "half", truncations(), config(dtype="bfloat16"))
    full, half = load_anchor(folder), load_anchor(tmp_path / "half")
    sizes = [(path / "anchor.safetensors").stat().st_size for path in (folder, tmp_path / "half")]
    assert sizes[1] < 0.65 * sizes[0]  # the headers are the same and weigh something in so small a file
    for name, value in full.tensors.items():
        assert all(part.dtype == torch.bfloat16 for part in parts(half.tensors[name]))
        exact = reconstruct(value)
        error = (reconstruct(half.tensors[name], dtype=torch.float32) - exact).norm()
        assert error <= 2**-7 * exact.norm()  # 8 bits in each of the two factors


def test_loading_casts_and_selects(folder):
    anchor = load_anchor(folder, dtype=torch.float64, names=["scale", "model.embed_tokens.weight", "unknown"])
    assert sorted(anchor.tensors) == ["model.embed_tokens.weight", "scale"]
    assert all(part.dtype == torch.float64 for value in anchor.tensors.values() for part in parts(value))
    assert len(anchor.config.tensors) == 7


def test_shards_and_index(tmp_path, folder):
    save_anchor(tmp_path / "sharded", truncations(), config(), shard_bytes=2000)
    files = sorted(path.name for path in (tmp_path / "sharded").glob("*.safetensors"))
    index = json.loads((tmp_path / "sharded" / "anchor.safetensors.index.json").read_text())
    assert len(files) > 2 and files[0] == f"anchor-00001-of-{len(files):05d}.safetensors"
    assert set(index["weight_map"].values()) == set(files)
    one, many = load_anchor(folder), load_anchor(tmp_path / "sharded")
    for name, value in one.tensors.items():
        assert all(torch.equal(a, b) for a, b in zip(parts(value), parts(many.tensors[name]), strict=True))
    (tmp_path / "sharded" / files[1]).unlink()
    with pytest.raises(AnchorError, match="missing"):
        read_config(tmp_path / "sharded")


def test_an_index_does_not_lead_out_of_its_folder(tmp_path):
    save_anchor(tmp_path / "a", truncations(), config(), shard_bytes=2000)
    path = tmp_path / "a" / "anchor.safetensors.index.json"
    raw = json.loads(path.read_text())
    raw["weight_map"] = {key: "../../" + name for key, name in raw["weight_map"].items()}
    path.write_text(json.dumps(raw))
    assert load_anchor(tmp_path / "a").tensors


def test_missing_folder(tmp_path):
    with pytest.raises(AnchorError, match="not there") as caught:
        load_anchor(tmp_path / "nothing")
    assert "dba_anchor_dataset" in caught.value.next_step


def test_a_save_that_was_killed_between_its_renames_is_named(tmp_path, folder):
    folder.rename(tmp_path / ".anchor.old-xyz")
    with pytest.raises(AnchorError, match=r"\.anchor\.old-xyz"):
        load_anchor(folder)


def test_foreign_folders(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(AnchorError, match="it is empty"):
        load_anchor(tmp_path / "empty")
    (tmp_path / "empty" / "config.json").write_text("{}")
    with pytest.raises(AnchorError, match="a model folder"):
        load_anchor(tmp_path / "empty")
    (tmp_path / "file").write_text("")
    with pytest.raises(AnchorError, match="a file"):
        load_anchor(tmp_path / "file")


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00\xff"])
def test_a_config_that_is_no_json(folder, text):
    (folder / "anchor_config.json").write_text(text, encoding="latin-1")
    with pytest.raises(AnchorError, match="cannot be read"):
        read_config(folder)


def test_newer_and_missing_format_version(folder):
    edit(folder, lambda raw: raw.update(format_version=2))
    with pytest.raises(AnchorError, match="newer format") as caught:
        load_anchor(folder)
    assert "upgrade" in caught.value.next_step
    edit(folder, lambda raw: raw.pop("format_version"))
    with pytest.raises(AnchorError, match="which format"):
        load_anchor(folder)


def test_unknown_keys_of_the_same_format_are_ignored(folder):
    def add(raw):
        raw["later"] = 1
        raw["base_model"]["later"] = raw["data"]["later"] = raw["totals"]["later"] = 1
        raw["tensors"]["scale"]["later"] = 1

    edit(folder, add)
    assert load_anchor(folder).config.steps == 13


@pytest.mark.parametrize("key", ["base_model", "fingerprint", "data", "steps", "stage", "rank", "tensors", "totals"])
def test_missing_keys_are_named(folder, key):
    edit(folder, lambda raw: raw.pop(key))
    with pytest.raises(AnchorError, match=key):
        read_config(folder)


def test_missing_nested_keys_are_named(folder):
    edit(folder, lambda raw: raw["tensors"]["scale"].pop("norm"))
    with pytest.raises(AnchorError, match=r"tensors\.scale\.norm"):
        read_config(folder)


@pytest.mark.parametrize("key, value", [("tensors", {}), ("tensors", 3), ("dtype", "int4"), ("base_model", None)])
def test_values_that_make_no_sense(folder, key, value):
    edit(folder, lambda raw: raw.update({key: value}))
    with pytest.raises(AnchorError, match="damaged"):
        read_config(folder)


@pytest.mark.parametrize("keep", [0, 5, 100, 0.5, -1])
def test_truncated_weights(folder, keep):
    path = folder / "anchor.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(AnchorError, match="damaged or cut off"):
        load_anchor(folder)


def test_missing_weights(folder):
    (folder / "anchor.safetensors").unlink()
    with pytest.raises(AnchorError, match=r"missing[\s\S]*anchor\.safetensors"):
        load_anchor(folder)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("key", ["scale", "model.embed_tokens.weight.right"])
def test_nan_inside(folder, key, bad):
    edit_weights(folder, lambda tensors: tensors[key].view(-1)[-1:].fill_(bad))
    with pytest.raises(AnchorError, match=key):
        load_anchor(folder)


def test_tensor_lists_that_differ(folder):
    edit_weights(folder, lambda tensors: tensors.pop("scale"))
    with pytest.raises(AnchorError, match=r"not those[\s\S]*scale"):
        load_anchor(folder)
    edit_weights(folder, lambda tensors: tensors.update(scale=torch.tensor(1.0), extra=torch.ones(2)))
    with pytest.raises(AnchorError, match=r"not those[\s\S]*extra"):
        load_anchor(folder)


def test_shapes_that_differ(folder):
    edit_weights(folder, lambda tensors: tensors.update({"model.embed_tokens.weight.left": torch.ones(61, 4)}))
    with pytest.raises(AnchorError, match=r"another shape[\s\S]*\(60, 4\)[\s\S]*\(61, 4\)"):
        load_anchor(folder)


def test_nothing_is_unpickled(folder):
    """A pickle under the name of the weights is a damaged file, not code that runs."""
    torch.save({"scale": torch.tensor(1.0)}, folder / "anchor.safetensors")
    with pytest.raises(AnchorError, match="damaged"):
        load_anchor(folder)
