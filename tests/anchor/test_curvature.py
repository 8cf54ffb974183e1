"""curvature.safetensors: written with the anchor or not at all, read and checked, carried along, never mixed up."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from anchor.helpers import config, curvature, model_tensors, truncations, write_model
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from llamafactory_dba.anchor.curvature import CURVATURE, load_curvature
from llamafactory_dba.anchor.fingerprint import fingerprint_folder
from llamafactory_dba.anchor.format import load_anchor, read_config, save_anchor
from llamafactory_dba.anchor.lower import lower_rank
from llamafactory_dba.anchor.merge import merge
from llamafactory_dba.anchor.verify import verify_content
from llamafactory_dba.cli.program import app
from llamafactory_dba.errors import AnchorError


Q, UP, NORM = (f"model.layers.0.{name}.weight" for name in ("self_attn.q_proj", "mlp.up_proj", "input_layernorm"))


@pytest.fixture
def anchor(tmp_path):
    save_anchor(tmp_path / "anchor", truncations(), config(), curvature=curvature())
    return tmp_path / "anchor"


def change(folder, **changes):
    """Other tensors in the file."""
    tensors = load_file(folder / CURVATURE)
    tensors |= changes
    save_file({key: value for key, value in tensors.items() if value is not None}, folder / CURVATURE)


def test_what_is_written_is_read(anchor):
    given, known = curvature(), read_config(anchor)
    assert replace(known.curvature, hash="") == given.header
    found = load_curvature(anchor, known, [*known.tensors, "unknown"])
    assert found.keys() == {Q, UP, NORM}
    (term,) = found[Q].terms
    assert torch.equal(term.rows.vectors, given.tensors["rows.vectors"])
    assert torch.equal(term.columns.values, given.tensors["columns.values"])
    assert term.rows.rest == pytest.approx(0.1)
    assert torch.equal(found[UP].diagonal.rows, torch.arange(40.0))
    assert found[NORM].diagonal.shape == (20,)
    assert load_anchor(anchor).tensors.keys() == known.tensors.keys(), "the anchor itself is what it was"


def test_without_one_the_header_is_what_it_was(tmp_path):
    save_anchor(tmp_path / "anchor", truncations(), config())
    assert "curvature" not in json.loads((tmp_path / "anchor" / "anchor_config.json").read_text())
    assert not (tmp_path / "anchor" / CURVATURE).exists()
    with pytest.raises(AnchorError, match="has no curvature"):
        load_curvature(tmp_path / "anchor", read_config(tmp_path / "anchor"), [Q])


def test_an_old_curvature_does_not_outlive_its_anchor(anchor):
    save_anchor(anchor, truncations(seed=1), config(), overwrite=True)
    assert not (anchor / CURVATURE).exists()


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"rows.vectors": None}, "damaged"),
        ({"rows.values": torch.tensor([1.0, float("nan"), 0.0])}, "NaN"),
        ({f"{UP}.rows.values": torch.ones(39)}, "another shape"),
        ({"rows.vectors": torch.ones(29, 3)}, "another shape"),
        ({f"{NORM}.diagonal": torch.ones(21)}, "another shape"),
    ],
)
def test_damage_is_refused(anchor, changes, text):
    change(anchor, **changes)
    known = read_config(anchor)
    with pytest.raises(AnchorError, match=text):
        load_curvature(anchor, known, known.tensors)
    assert any(CURVATURE in problem.what for problem in verify_content(anchor).problems)


def test_a_missing_file_is_said_at_once(anchor):
    (anchor / CURVATURE).unlink()
    with pytest.raises(AnchorError, match="missing") as caught:
        read_config(anchor)
    assert CURVATURE in str(caught.value)


def test_a_broken_header_is_refused(anchor):
    path = anchor / "anchor_config.json"
    raw = json.loads(path.read_text())
    del raw["curvature"]["tensors"][Q][0]["rows"]
    path.write_text(json.dumps(raw))
    with pytest.raises(AnchorError, match="incomplete or damaged"):
        read_config(anchor)


def test_nan_is_not_written(tmp_path):
    parts = curvature()
    parts.tensors["rows.values"][0] = float("inf")
    with pytest.raises(AnchorError, match="NaN or Inf"):
        save_anchor(tmp_path / "anchor", truncations(), config(), curvature=parts)
    assert not (tmp_path / "anchor").exists()


def test_truncating_takes_it_along(anchor, tmp_path):
    lower_rank(anchor, 2, tmp_path / "small")
    assert (tmp_path / "small" / CURVATURE).read_bytes() == (anchor / CURVATURE).read_bytes()
    assert read_config(tmp_path / "small").curvature == read_config(anchor).curvature
    assert not verify_content(tmp_path / "small").problems


def test_merging_drops_it_and_says_so(tmp_path):
    known = config(fingerprint=fingerprint_folder(write_model(tmp_path / "model", model_tensors())))
    for seed, name in enumerate("ab"):
        parts = None if seed else curvature()
        save_anchor(tmp_path / name, truncations(seed=seed), known, curvature=parts)
    result = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "merged")
    assert any("curvature, which cannot be merged" in note for note in result.notes)
    assert result.config.curvature is None and not (tmp_path / "merged" / CURVATURE).exists()


def test_info_shows_it(anchor):
    result = CliRunner().invoke(app, ["anchor", "info", str(anchor)])
    assert "kronecker, rank 3, energy in its directions 0.9000, 100 sequences" in " ".join(result.output.split())


def test_a_copy_of_the_folder_is_an_anchor(anchor, tmp_path):
    shutil.copytree(anchor, tmp_path / "copy")
    assert not verify_content(tmp_path / "copy").problems
