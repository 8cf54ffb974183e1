"""The heat map: what is read of dba_layers.jsonl, how tensors become panels, and that a long run stays small."""

import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from reporting.runs import write_layers, write_lines, write_run

from llamafactory_dba.reporting.page import canvas
from llamafactory_dba.reporting.page.collect import collect
from llamafactory_dba.reporting.page.heatmap import heat_map
from llamafactory_dba.reporting.page.layers import MOST, common_scale, read_layers, split
from llamafactory_dba.reporting.page.write import to_html


MATRICES = tuple(f"self_attn.{x}_proj" for x in "qkvo") + tuple(f"mlp.{x}_proj" for x in ("gate", "up", "down"))


@pytest.mark.parametrize(
    "name, expected",
    [
        ("model.layers.3.mlp.up_proj.weight", ("mlp.up_proj", 3)),
        ("base_model.model.model.layers.12.self_attn.q_proj.lora_A.default.weight", ("self_attn.q_proj.lora_A", 12)),
        ("transformer.h.0.attn.c_attn.bias", ("attn.c_attn.bias", 0)),
        ("model.layers.1.mlp.experts.17.down_proj.weight", ("mlp.experts.*.down_proj", 1)),
        ("model.embed_tokens.weight", ("outside the layers", "embed_tokens")),
        ("lm_head", ("outside the layers", "lm_head")),
    ],
)
def test_names_of_tensors(name, expected):
    assert split(name) == expected


def row(step, **values):
    return {"step": step, "similarity": {f"model.layers.{name[1:]}.q.weight": value for name, value in values.items()}}


def test_layers_over_steps(tmp_path):
    # out of order, and one step made again after a resume
    write_lines(tmp_path / "dba_layers.jsonl", [row(10, l0=0.5, l10=-0.5), row(0, l0=0.1), row(10, l0=0.4, l2=0.2)])
    found = read_layers(tmp_path, {})
    (panel,) = found.panels
    assert (found.steps, panel.kind, panel.rows) == ((0.0, 10.0), "q", ("0", "2"))
    assert np.allclose(panel.values, [[0.1, 0.4], [np.nan, 0.2]], equal_nan=True)


def test_experts_are_averaged_and_steps_thinned(tmp_path):
    names = [f"model.layers.0.experts.{place}.up.weight" for place in range(4)]
    rows = [{"step": step, "similarity": {name: 0.1 * place for place, name in enumerate(names)}} for step in range(7)]
    write_lines(tmp_path / "dba_layers.jsonl", rows)
    found = read_layers(tmp_path, {}, columns=3)
    assert found.mixed and found.steps == (0.0, 3.0, 6.0)
    assert np.allclose(found.panels[0].values, [[0.15] * 3])


def test_damaged_lines_are_counted_and_left_out(tmp_path):
    good = json.dumps(row(0, l0=0.5, l1=-0.25))
    bad = [
        "{",
        "[]",
        '{"step": 1}',
        '{"step": "a", "similarity": {}}',
        '{"step": 2, "similarity": {"model.layers.0.q": 7}}',
    ]
    (tmp_path / "dba_layers.jsonl").write_text("\n".join([good, *bad, '{"step": 3, "simi']))
    damaged = {}
    found = read_layers(tmp_path, damaged)
    assert damaged == {"dba_layers.jsonl": 4}, "a line cut off by a kill is no damage"
    assert np.allclose(found.panels[0].values[:, 0], [0.5, -0.25]) and np.isnan(found.panels[0].values[:, 1:]).all()
    write_run(tmp_path, "run", 0.5, 0.5)
    assert any("4 damaged lines of dba_layers.jsonl" in note for note in collect([tmp_path]).notes)


@pytest.mark.parametrize(
    "text", ["", "\n", "null\n", '{"step": 0, "similarity": {}}\n', '{"step": 0, "similarity": {"a": NaN}}\n']
)
def test_nothing_readable_is_no_map(tmp_path, text):
    (tmp_path / "dba_layers.jsonl").write_text(text)
    assert read_layers(tmp_path, {}) is None
    assert read_layers(tmp_path / "none", {}) is None
    write_run(tmp_path, "run", 0.5, 0.5)
    assert 'class="layers"' not in to_html(collect([tmp_path]))


def test_too_many_kinds_are_named(tmp_path):
    write_layers(tmp_path, 2, 3, kinds=[f"k{place}" for place in range(20)])
    found = read_layers(tmp_path, {})
    assert len(found.panels) == MOST and found.panels[-1].kind == "outside the layers"
    assert found.dropped == tuple(f"k{place}" for place in range(MOST - 1, 20))


def test_the_drawing_is_an_image_with_the_texts_of_the_page(tmp_path):
    write_layers(tmp_path, 36, 100, MATRICES)
    layers = read_layers(tmp_path, {})
    svg = canvas.inline_svg(heat_map(layers, common_scale([layers])), "layers-1-1", "Layers")
    ElementTree.fromstring(svg)
    assert len(re.findall("<image", svg)) == len(MATRICES) + 2  # a panel each, what is outside the layers, the bar
    assert "image-rendering:pixelated" in svg
    assert len(svg) < 500_000
    assert all(kind in svg for kind in MATRICES) and "signed cosine" in svg
    assert not re.search(r"(fill|stroke): #(000000|ffffff)", svg)


def test_the_colours_are_symmetric_and_one_spike_does_not_pale_them(tmp_path):
    rows = [row(step, **{f"l{layer}": 0.01 for layer in range(20)}) for step in range(20)]
    rows[0]["similarity"]["model.layers.0.q.weight"] = -1.0
    write_lines(tmp_path / "dba_layers.jsonl", rows)
    layers = read_layers(tmp_path, {})
    assert layers.largest == pytest.approx(0.01)
    image = heat_map(layers, common_scale([layers])).axes[0].images[0]
    assert image.get_clim() == pytest.approx((-0.01, 0.01))
    assert common_scale([]) > 0


def test_short_vectors_do_not_set_the_scale(tmp_path):
    names = {
        "model.layers.0.mlp.up.weight": 0.02,
        "model.layers.0.input_layernorm.weight": 0.9,
        "model.norm.weight": -0.8,
    }
    write_lines(tmp_path / "dba_layers.jsonl", [{"step": 0, "similarity": names}])
    assert read_layers(tmp_path, {}).largest == pytest.approx(0.02)
    del names["model.layers.0.mlp.up.weight"]
    write_lines(tmp_path / "dba_layers.jsonl", [{"step": 0, "similarity": names}])
    assert read_layers(tmp_path, {}).largest > 0.7, "all there is"


def test_maps_of_the_first_runs_only(tmp_path):
    for place in range(6):
        for seed in range(2):
            path = write_run(tmp_path / f"{place}-{seed}", "run", 0.5, 0.5, seed=seed, settings={"rate": place})
            write_layers(path.parent, 2, 3)
    report = collect([tmp_path])
    assert sum(entry.layers is not None for entry in report.groups[0].runs) == 4
    assert any("8 more were logged" in note for note in report.notes)
    assert to_html(report).count('<figure class="layers">') == 4
