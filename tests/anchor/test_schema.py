"""docs/anchor-format.md, the JSON schema, the dataclasses and a freshly saved anchor say the same."""

import copy
import dataclasses
import json
import re
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from anchor.helpers import config, curvature, model_tensors, truncations, write_model

from llamafactory_dba.anchor import config as module
from llamafactory_dba.anchor.config import AnchorConfig, GeneralData, Source, TensorInfo, Totals
from llamafactory_dba.anchor.curvature import Curvature, CurvatureTerm
from llamafactory_dba.anchor.fingerprint import BaseModel, Fingerprint, fingerprint_folder
from llamafactory_dba.anchor.format import save_anchor
from llamafactory_dba.anchor.merge import merge


KINDS = (AnchorConfig, BaseModel, Fingerprint, GeneralData, TensorInfo, Totals, Source, Curvature, CurvatureTerm)
DOC = Path(__file__).parents[2] / "docs" / "anchor-format.md"
SCHEMA = json.loads((files("llamafactory_dba") / "anchor" / "schema" / "anchor_config.v1.json").read_text("utf-8"))
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}
KNOWN = {
    *("$schema", "title", "description", "$defs", "$ref", "type", "required", "properties", "additionalProperties"),
    *("const", "enum", "minimum", "maximum", "pattern", "items", "prefixItems", "minItems", "maxItems"),
    "minProperties",
}


def check(value, schema, where="$"):
    """As much of JSON Schema as ours uses; the same verdicts as a full validator on these keywords."""
    assert schema.keys() <= KNOWN, f"{where}: this test does not know {schema.keys() - KNOWN}"
    if "$ref" in schema:
        return check(value, SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")], where)
    kind = schema.get("type")
    if kind:
        wrong = isinstance(value, bool) and kind != "boolean"
        assert isinstance(value, TYPES[kind]) and not wrong, f"{where}: {value!r} is no {kind}"
    assert "const" not in schema or value == schema["const"], where
    assert "enum" not in schema or value in schema["enum"], where
    assert value >= schema["minimum"] if "minimum" in schema else True, where
    assert value <= schema["maximum"] if "maximum" in schema else True, where
    assert re.search(schema["pattern"], value) if "pattern" in schema else True, where
    if isinstance(value, list):
        first = schema.get("prefixItems", [])
        assert schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)), where
        for place, item in enumerate(value):
            check(item, first[place] if place < len(first) else schema.get("items", {}), f"{where}[{place}]")
    if isinstance(value, dict):
        assert not set(schema.get("required", ())) - value.keys(), where
        assert len(value) >= schema.get("minProperties", 0), where
        for key, item in value.items():
            other = schema.get("additionalProperties", {})
            check(item, schema.get("properties", {}).get(key, other), f"{where}.{key}")
    return None


def part(name):
    return SCHEMA if name == "AnchorConfig" else SCHEMA["$defs"][name]


@pytest.fixture(scope="module")
def header(tmp_path_factory):
    """Of a merged anchor, whose header has every field filled in."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("schema")
    model = write_model(folder / "model", model_tensors())
    for seed, name in enumerate("ab"):
        known = config(fingerprint=fingerprint_folder(model))
        save_anchor(folder / name, truncations(seed=seed), known, curvature=None if seed else curvature())
    merge([folder / "a", folder / "b"], folder / "merged")
    raw = {name: json.loads((folder / name / "anchor_config.json").read_text()) for name in ("a", "merged")}
    assert raw["a"]["half_cosine"] and raw["merged"]["sources"] and raw["a"]["curvature"]
    return raw


@pytest.mark.parametrize("name", ["a", "merged"])
def test_a_fresh_anchor_fits_the_schema(header, name):
    check(header[name], SCHEMA)


@pytest.mark.parametrize(
    "path, value",
    [
        (("format_version",), 2),
        (("steps",), "13"),
        (("steps",), True),
        (("dtype",), "int4"),
        (("tensors",), {}),
        (("tensors", "scale", "energy_kept"), 1.5),
        (("tensors", "scale", "shape"), [1.5]),
        (("half_cosine",), [[3]]),
        (("files",), {"anchor.safetensors": "beef"}),
        (("sources",), [{"name": "a"}]),
        (("fingerprint", "total"), "xyz"),
    ],
)
def test_a_broken_header_does_not(header, path, value):
    raw = copy.deepcopy(header["a"])
    place = raw
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(AssertionError):
        check(raw, SCHEMA)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_schema_and_dataclass_have_the_same_fields(kind):
    assert part(kind.__name__)["properties"].keys() == {field.name for field in dataclasses.fields(kind)}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_needed_is_what_the_reader_needs(kind, header):
    found = set(part(kind.__name__)["required"])
    none = dataclasses.MISSING
    needed = {f.name for f in dataclasses.fields(kind) if f.default is none and f.default_factory is none}
    # `save_anchor` fills these in, so that the dataclass needs a default; the reader looks at the version first
    filled = {"AnchorConfig": {"tensors", "totals", "format_version"}}.get(kind.__name__, set())
    if kind is Fingerprint:
        filled = {field.name for field in dataclasses.fields(kind)}  # `from_dict` asks for all
    if kind is GeneralData:
        filled = {"datasets"}
    if kind is Curvature:
        filled = {"tensors", "hash"}
    assert found == needed | filled


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_document_has_the_same_fields(kind):
    text = DOC.read_text(encoding="utf-8")
    section = text.split(f"\n### {kind.__name__}\n")[1].split("\n#")[0]
    rows = re.findall(r"^\| `(\w+)` \| (yes|) *\|", section, re.MULTILINE)
    assert [name for name, _ in rows] and len(rows) == len(set(rows))
    assert {name for name, _ in rows} == {field.name for field in dataclasses.fields(kind)}
    assert {name for name, needed in rows if needed} == set(part(kind.__name__)["required"])


def test_the_documents_way_to_read_an_anchor_works(tmp_path, monkeypatch):
    save_anchor(tmp_path / "anchor", truncations(), config())
    (code,) = re.findall(r"```python\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    scope = {}
    exec(code, scope)
    assert scope["matrix"].shape == truncations()[scope["name"]].shape


def test_the_document_names_the_version():
    assert f"format {module.FORMAT_VERSION}\n" in DOC.read_text(encoding="utf-8").split("\n\n")[0] + "\n"
    assert SCHEMA["properties"]["format_version"]["const"] == module.FORMAT_VERSION
