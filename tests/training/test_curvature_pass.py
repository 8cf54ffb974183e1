"""The anchor run's curvature against gradients of single sequences in float64, and what must not change it."""

import json

import pytest
import reference
import support
import torch
from safetensors.torch import load_file
from support import anchor_arguments

from llamafactory_dba.anchor.curvature import CURVATURE, load_curvature
from llamafactory_dba.anchor.format import read_config


RANK = 512  # above all dimensions of the tiny model: nothing is cut off
QKV = "model.layers.1.self_attn.{}_proj.weight"


def make(world, folder, **changes):
    base = {
        "dba_anchor_curvature": True,
        "dba_curvature_kind": "kronecker",
        "dba_curvature_rank": RANK,
        "disable_shuffling": True,
        "cutoff_len": 128,
    }
    support.run_here(anchor_arguments(world, folder, **{**base, **changes}))
    return read_config(folder)


def tensors(folder):
    return load_file(folder / CURVATURE)


def dense(parts, key):
    vectors = parts.get(f"{key}.vectors")
    return reference.from_spectrum(parts[f"{key}.values"], vectors, float(parts.get(f"{key}.rest", 0.0)))


@pytest.fixture(scope="module")
def made(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("curvature") / "anchor"
    make(world, folder, per_device_train_batch_size=4, gradient_accumulation_steps=2, dba_anchor_samples=20)
    return folder


@pytest.fixture(scope="module")
def single(world):
    """Sequence by sequence in float64: inputs and output gradients of modules, gradients of all parameters."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(world / "model")
    model = AutoModelForCausalLM.from_pretrained(world / "model", dtype=torch.float64).eval()
    rows = json.loads((world / "data" / "general.json").read_text())[:20]
    seen, kept, grads = {}, {}, []
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Embedding):

            def hook(module, inputs, output, name=name):
                seen.setdefault(name, ([], []))[0].append(inputs[0][0].detach().clone())
                output.register_hook(lambda g: seen[name][1].append(g[0].clone()))

            module.register_forward_hook(hook)
    for row in rows:
        prompt = f"<|im_start|>user\n{row['instruction']}<|im_end|>\n<|im_start|>assistant\n"
        ids = tokenizer(prompt)["input_ids"], tokenizer(f"{row['output']}<|im_end|>\n")["input_ids"]
        tokens = torch.tensor([ids[0] + ids[1]])
        model.zero_grad()
        logits = model(tokens).logits[0, len(ids[0]) - 1 : -1]
        torch.nn.functional.cross_entropy(logits, tokens[0, len(ids[0]) :], reduction="sum").backward()
        grads.append({name: parameter.grad.clone() for name, parameter in model.named_parameters()})
        kept.setdefault("prompt", []).append(len(ids[0]) - 1)
    return seen, grads, kept["prompt"]


def close(found, expected, name=""):
    expected = torch.as_tensor(expected)
    # fp32 forward, backward and sums: a few 1e-6 relative
    assert float((torch.as_tensor(found) - expected).norm() / expected.norm()) < 2e-5, name


def test_linear_layers(made, single):
    parts, header = tensors(made), read_config(made).curvature
    for name in ("model.layers.0.mlp.down_proj", QKV.format("k").removesuffix(".weight")):
        (term,) = header.tensors[f"{name}.weight"]
        a, g, trace = reference.fisher_of_linear(*single[0][name])
        close(dense(parts, term.columns), a, name)
        close(dense(parts, term.rows), g * trace / (a.trace() * g.trace()), name)
        assert term.trace == pytest.approx(trace, rel=1e-4)
        assert (term.kind, term.energy_kept, term.exact) == ("kronecker", pytest.approx(1, abs=1e-5), True)


def test_traces_are_those_of_whole_gradients(made, single):
    header = read_config(made).curvature
    for name in (QKV.format("q"), "model.layers.0.mlp.gate_proj.weight"):
        expected = sum(float(grad[name].square().sum()) for grad in single[1]) / 20
        assert header.tensors[name][0].trace == pytest.approx(expected, rel=1e-4)


def token_squares(seen, grads_of, name, tokens=None):
    """Σ over tokens of single tokens' squared gradients, the mean over sequences."""
    total = 0.0
    for number, (x, g) in enumerate(zip(*seen[name], strict=True)):
        part = slice(None) if tokens is None else slice(tokens[number], len(g) - 1)
        x = torch.nn.functional.one_hot(x, grads_of).double() if x.dim() == 1 else x
        total = total + g[part].square().T @ x[part].square()
    return total / 20


@pytest.mark.parametrize("changes", [{}, {"per_device_train_batch_size": 5, "gradient_accumulation_steps": 2}])
def test_diagonal_and_its_product_of_rows_and_columns(world, single, tmp_path, changes):
    for kind in ("diagonal", "factored"):
        make(world, tmp_path / kind, dba_curvature_kind=kind, dba_anchor_samples=20, **changes)
    whole, product = tensors(tmp_path / "diagonal"), tensors(tmp_path / "factored")
    names = ["model.layers.0.mlp.down_proj.weight", QKV.format("v")]
    expected = {name: token_squares(single[0], 0, name.removesuffix(".weight")) for name in names}
    embedding = "model.embed_tokens.weight"
    size = len(product[f"{embedding}.rows.values"])
    expected[embedding] = token_squares(single[0], size, "model.embed_tokens").T
    expected[embedding] = expected[embedding] + token_squares(single[0], size, "lm_head", single[2])
    for name, dense in expected.items():
        close(whole[f"{name}.diagonal"].double(), dense, name)
        close(product[f"{name}.rows.values"].double(), dense.sum(1), name)
        close(product[f"{name}.columns.values"].double(), dense.sum(0) / dense.sum(), name)
    header = read_config(tmp_path / "factored").curvature
    assert (header.kind, header.rank, header.energy_kept, header.sequences) == ("factored", 0, 1.0, 20)
    assert header.trace == pytest.approx(read_config(tmp_path / "diagonal").curvature.trace, rel=1e-5)
    size = (tmp_path / "factored" / CURVATURE).stat().st_size
    assert size < (tmp_path / "diagonal" / CURVATURE).stat().st_size / 8


def test_shared_inputs_are_stored_once(made):
    header = read_config(made).curvature
    q, k, v = (header.tensors[QKV.format(letter)][0] for letter in "qkv")
    assert q.columns == k.columns == v.columns
    assert len({q.rows, k.rows, v.rows}) == 3
    assert header.tensors["model.layers.1.self_attn.o_proj.weight"][0].columns != q.columns


def test_tied_embeddings_have_two_terms(made, single):
    parts, header = tensors(made), read_config(made).curvature
    terms = {term.rows.split(".")[-2]: term for term in header.tensors["model.embed_tokens.weight"]}
    ids, grads = single[0]["model.embed_tokens"]
    size = len(parts[terms["embedding"].rows + ".values"])
    one_hot = [torch.nn.functional.one_hot(row, size) for row in ids]
    a, g, trace = reference.fisher_of_linear(one_hot, grads)
    close(dense(parts, terms["embedding"].columns), g)
    close(parts[terms["embedding"].rows + ".values"].double(), a.diagonal() * trace / (a.trace() * g.trace()))
    x, grads = single[0]["lm_head"]
    answers = [row[start : len(row) - 1] for row, start in zip(x, single[2], strict=True)]
    a, _, _ = reference.fisher_of_linear(answers, answers)
    grads = [row[start : len(row) - 1] for row, start in zip(grads, single[2], strict=True)]
    _, g, trace = reference.fisher_of_linear(answers, grads)
    close(dense(parts, terms["head"].columns), a)
    close(parts[terms["head"].rows + ".values"].double(), g.diagonal() * trace / (a.trace() * g.trace()))


def test_vectors_have_a_diagonal(world, single, tmp_path):
    """With batches of one the squares of batches are those of sequences."""
    make(world, tmp_path / "anchor", per_device_train_batch_size=1, dba_anchor_samples=20)
    parts = tensors(tmp_path / "anchor")
    for name in ("model.norm.weight", "model.layers.0.self_attn.q_norm.weight"):
        close(parts[f"{name}.diagonal"].double(), sum(grad[name].square() for grad in single[1]) / 20, name)


@pytest.mark.parametrize(
    "changes",
    [
        {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8},
        {"per_device_train_batch_size": 20},
        {"disable_gradient_checkpointing": True},
        {"disable_shuffling": False},
    ],
)
def test_batches_accumulation_and_checkpointing_do_not_matter(world, made, tmp_path, changes):
    make(world, tmp_path / "anchor", **{"per_device_train_batch_size": 8, "dba_anchor_samples": 20, **changes})
    one, two = tensors(made), tensors(tmp_path / "anchor")
    assert one.keys() == two.keys()
    for key in one:
        if key.endswith(".values"):
            close(dense(two, key.removesuffix(".values")), dense(one, key.removesuffix(".values")), key)
    first, second = read_config(made).curvature, read_config(tmp_path / "anchor").curvature
    assert (first.sequences, first.tokens, first.answers) == (second.sequences, second.tokens, second.answers)
    assert first.sequences == 20


def test_the_mean_is_not_touched_and_off_writes_nothing(world, made, tmp_path):
    changes = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "dba_anchor_samples": 20}
    config = make(world, tmp_path / "anchor", dba_anchor_curvature=False, **changes)
    assert config.curvature is None and not (tmp_path / "anchor" / CURVATURE).exists()
    assert "curvature" not in json.loads((tmp_path / "anchor" / "anchor_config.json").read_text())
    one, two = (load_file(folder / "anchor.safetensors") for folder in (made, tmp_path / "anchor"))
    assert all(torch.equal(one[name], two[name]) for name in two)


def test_sketches_keep_the_largest_directions(world, made, tmp_path):
    config = make(world, tmp_path / "anchor", dba_curvature_rank=12, dba_anchor_samples=20)
    parts, whole = tensors(tmp_path / "anchor"), tensors(made)
    (term,) = config.curvature.tensors["model.layers.0.mlp.down_proj.weight"]
    assert not term.exact and parts[f"{term.columns}.vectors"].shape == (160, 12)  # 160 > 4·12
    found, expected = parts[f"{term.columns}.values"], whole[f"{term.columns}.values"]
    assert float(found[0]) == pytest.approx(float(expected[0]), rel=0.1)  # twice the columns: near, from below
    # what is beyond the directions counts by its mean: the trace is kept exactly
    total = float(found.sum()) + float(parts[f"{term.columns}.rest"]) * (160 - 12)
    assert total == pytest.approx(float(expected.sum()), rel=1e-4)
    assert 0.3 < config.curvature.energy_kept < 1


@pytest.mark.parametrize(
    "kind, placement", [("factored", "auto"), ("diagonal", "host"), ("diagonal", "disk"), ("kronecker", "auto")]
)
def test_interrupted_run_resumes_bit_for_bit(world, tmp_path, kind, placement):
    changes = {
        "dba_anchor_save_steps": 2,
        "per_device_train_batch_size": 4,
        "dba_anchor_curvature": True,
        "dba_curvature_rank": 12,
        "dba_curvature_kind": kind,
        "dba_anchor_placement": placement,
    }
    support.run_here(anchor_arguments(world, tmp_path / "whole", **changes))
    support.interrupt_anchor_run(anchor_arguments(world, tmp_path / "broken", **changes), step=5)
    support.run_here(anchor_arguments(world, tmp_path / "broken", **changes))
    one, two = tensors(tmp_path / "whole"), tensors(tmp_path / "broken")
    assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)
    first, second = (read_config(tmp_path / name).curvature for name in ("whole", "broken"))
    assert first == second


def test_state_without_curvature_is_not_resumed_with_it(world, tmp_path):
    from llamafactory_dba.errors import AnchorError

    support.interrupt_anchor_run(anchor_arguments(world, tmp_path / "anchor", dba_anchor_save_steps=1), step=2)
    with pytest.raises(AnchorError, match="curvature: None before, factored now"):
        support.run_here(
            anchor_arguments(world, tmp_path / "anchor", dba_anchor_save_steps=1, dba_anchor_curvature=True)
        )


def test_text_stage_and_untied_embeddings(world, tmp_path):
    support.build_model(tmp_path / "model", tied=False)
    config = make(
        world,
        tmp_path / "anchor",
        model_name_or_path=str(tmp_path / "model"),
        stage="pt",
        dataset="text",
        cutoff_len=32,
    )
    assert config.curvature.tensors["lm_head.weight"][0].kind == "rows"
    assert len(config.curvature.tensors["model.embed_tokens.weight"]) == 1
    loaded = load_curvature(tmp_path / "anchor", config, config.tensors)
    assert loaded.keys() == config.tensors.keys()
