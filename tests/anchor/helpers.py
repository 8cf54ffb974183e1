"""Small anchors and model folders, without any real model."""

import json

import torch
from safetensors.torch import save_file

from llamafactory_dba.anchor.curvature import Curvature, CurvatureParts, CurvatureTerm
from llamafactory_dba.anchor.fingerprint import BaseModel, Fingerprint
from llamafactory_dba.anchor.format import AnchorConfig, GeneralData, load_anchor
from llamafactory_dba.core.lowrank import reconstruct, truncate


# fp32 factors through QR, SVD and two products: some tens of roundings of 6e-8, relative to the largest entry
FP32 = 1e-5


def truncations(rank=4, seed=0):
    """Singular values that fall, as those of gradients do: where two of them nearly meet, what is left of the matrix
    is known only to rounding over their distance, which differs from one processor to the next."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        "model.embed_tokens.weight": (60, 20),
        "model.layers.0.self_attn.q_proj.weight": (30, 20),
        "model.layers.0.mlp.up_proj.weight": (40, 20),
        "model.layers.0.input_layernorm.weight": (20,),
        "model.layers.1.conv.weight": (4, 10, 20),
        "model.layers.1.small.weight": (4, 4),
        "scale": (),
    }
    return {name: truncate(_falling(shape, generator), rank) for name, shape in shapes.items()}


def _falling(shape, generator):
    noise = torch.randn(shape, generator=generator)
    return noise * 0.8 ** torch.arange(shape[-1]) if len(shape) > 1 else noise


def config(**changes):
    values = {
        "base_model": BaseModel("maker/model", "abc", "Qwen3ForCausalLM", "qwen3", 60, 20, 2, True),
        "fingerprint": Fingerprint(),
        "data": GeneralData(("alpaca_en", "own"), 100, 5000, "beef"),
        "steps": 13,
        "global_batch": 8,
        "stage": "sft",
        "rank": 4,
        "seed": 7,
        "template": "qwen3",
        "half_cosine": ((5, 0.5), (13, 0.75)),
        "versions": {"llamafactory-dba": "0.1.0"},
        "licence": "apache-2.0",
        "created": "2026-01-01T00:00:00+00:00",
    }
    return AnchorConfig(**{**values, **changes})


def curvature():
    """Of each way to store a term, on the tensors of `truncations`."""
    q, up, norm = (f"model.layers.0.{name}.weight" for name in ("self_attn.q_proj", "mlp.up_proj", "input_layernorm"))
    generator = torch.Generator().manual_seed(9)

    def side(key, size):
        vectors = torch.linalg.qr(torch.randn(size, 3, generator=generator)).Q.contiguous()
        return {
            f"{key}.values": torch.tensor([3.0, 2.0, 1.0]),
            f"{key}.vectors": vectors,
            f"{key}.rest": torch.tensor(0.1),
        }

    tensors = {f"{norm}.diagonal": torch.ones(20), **side("rows", 30), **side("columns", 20)}
    tensors |= {f"{up}.rows.values": torch.arange(40.0), f"{up}.columns.values": torch.ones(20)}
    terms = {
        norm: (CurvatureTerm("diagonal", f"{norm}.diagonal", "", 20.0, 1.0, True),),
        q: (CurvatureTerm("kronecker", "rows", "columns", 60.0, 0.5, False),),
        up: (CurvatureTerm("factored", f"{up}.rows", f"{up}.columns", 780.0, 1.0, True),),
    }
    return CurvatureParts(Curvature("kronecker", 3, 100, 5000, 700, "data", "float32", 860.0, 0.9, terms), tensors)


def model_tensors(vocabulary=50, layers=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"model.embed_tokens.weight": (vocabulary, 16), "model.norm.weight": (16,)}
    for layer in range(layers):
        shapes[f"model.layers.{layer}.self_attn.q_proj.weight"] = (16, 16)
        shapes[f"model.layers.{layer}.mlp.up_proj.weight"] = (32, 16)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def write_model(folder, tensors, *, architecture="Qwen3ForCausalLM", shards=1):
    folder.mkdir(parents=True, exist_ok=True)
    text = {"architectures": [architecture], "model_type": architecture[:5].lower(), "vocab_size": 50}
    (folder / "config.json").write_text(json.dumps(text))
    names = list(tensors)
    if shards == 1:
        save_file(tensors, folder / "model.safetensors")
        return folder
    weight_map = {}
    for number in range(shards):
        file = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: tensors[name] for name in names[number::shards]}
        save_file(part, folder / file)
        weight_map.update(dict.fromkeys(part, file))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def dense(folder):
    anchor = load_anchor(folder)
    shapes = {name: info.shape for name, info in anchor.config.tensors.items()}
    return {name: reconstruct(value).double().numpy().reshape(shapes[name]) for name, value in anchor.tensors.items()}


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name in found:
        assert abs(found[name] - expected[name]).max() <= FP32 * abs(expected[name]).max(), name
