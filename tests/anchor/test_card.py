import dataclasses

import pytest
import yaml
from anchor.helpers import config, truncations

from llamafactory_dba.anchor.card import family, per_layer, render, write_card
from llamafactory_dba.anchor.fingerprint import BaseModel
from llamafactory_dba.anchor.format import read_config, save_anchor
from llamafactory_dba.core.lowrank import truncate
from llamafactory_dba.errors import AnchorError


@pytest.fixture
def folder(tmp_path):
    save_anchor(tmp_path / "anchor", truncations(), config())
    return tmp_path / "anchor"


def test_the_card_says_what_it_must(folder):
    text = write_card(folder).read_text(encoding="utf-8")
    for part in ("maker/model", "alpaca_en", "13 steps of 8 samples", "0.7500", "| Rank | 4 |", "apache-2.0", "qwen3"):
        assert part in text
    assert f"{read_config(folder).totals.energy_kept:.2%}" in text
    assert "use_dba: true\ndba_anchor_path:" in text


def test_the_metadata_block_is_yaml_that_the_hub_reads(folder):
    header = yaml.safe_load(render(read_config(folder)).split("---")[1])
    assert header["base_model"] == "maker/model" and header["license"] == "apache-2.0"
    assert header["library_name"] == "llamafactory-dba" and "datasets" not in header  # names, not hub ids


def test_a_local_base_model_and_no_licence(folder):
    plain = dataclasses.replace(read_config(folder), base_model=BaseModel("/local/path"), licence="", half_cosine=())
    header = yaml.safe_load(render(plain).split("---")[1])
    assert "base_model" not in header and "license" not in header
    assert "not stated" in render(plain) and "not measured" in render(plain)


def test_the_picture_is_light(folder):
    write_card(folder)
    picture = (folder / "anchor.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) < 150_000


def test_a_model_without_layers_or_with_zero_gradients(tmp_path):
    save_anchor(tmp_path / "a", {"w": truncate(truncations()["scale"].value.new_zeros(30, 20), 2)}, config())
    assert write_card(tmp_path / "a").is_file()


def test_families_and_layers(folder):
    assert [
        family(name) for name in ("a.self_attn.q_norm.weight", "x.self_attn.q_proj", "m.mlp.up", "lm_head", "z")
    ] == [
        "norm",
        "attention",
        "mlp",
        "embedding",
        "other",
    ]
    layers = per_layer(read_config(folder))
    assert set(layers) == {"attention", "mlp", "norm", "other"} and set(layers["other"]) == {1}
    assert layers["norm"][0][0] == 1.0


def test_no_card_for_a_damaged_anchor(folder):
    (folder / "anchor.safetensors").unlink()
    with pytest.raises(AnchorError):
        write_card(folder)
