"""`dba_embedding_lr_ratio`: its groups against an optimizer that was built with them, and runs through the host."""

import copy
import importlib.util
import json
import shutil

import pytest
import support
import torch
from torch import nn

from llamafactory_dba.errors import DBAError
from llamafactory_dba.training.embedding_rate import KEY, embeddings, scale_embedding_rate


FREE = {"dba_variant": "l2sp", "dba_l2sp_strength": 0.0, "dba_anchor_path": None}  # plain training, through the hook


class Model(nn.Module):
    """An embedding, a matrix, a norm and an output layer, in float64."""

    def __init__(self, *, tied: bool):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.middle = nn.Embedding(11, 6), nn.Linear(6, 6)
        self.norm, self.head = nn.LayerNorm(6), nn.Linear(6, 11, bias=False)
        if tied:
            self.head.weight = self.embed.weight
        self.double()

    def get_input_embeddings(self):
        return self.embed

    def get_output_embeddings(self):
        return self.head

    def loss(self, step):
        ids = torch.arange(step, step + 4) % 11
        logits = self.head(self.norm(self.middle(self.embed(ids))))
        return nn.functional.cross_entropy(logits, (ids * 3) % 11)


def optimizer_of(model, rate, ratio=None):
    """The groups of the host's trainer, decay and no decay; with ``ratio``, the embeddings in one of their own."""
    matrices = [item for item in model.parameters() if item.dim() > 1]
    vectors = [item for item in model.parameters() if item.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    if ratio is not None:
        own = embeddings(model)
        groups[0]["params"] = [item for item in matrices if not any(item is other for other in own)]
        groups.append({"params": own, "weight_decay": 0.1, "lr": rate * ratio})
    return torch.optim.AdamW(groups, lr=rate)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("ratio", [0.0, 0.25, 4.0])
def test_equals_an_optimizer_that_was_built_so(tied, ratio):
    mine, built = Model(tied=tied), Model(tied=tied)
    first, second = optimizer_of(mine, 1e-2), optimizer_of(built, 1e-2, ratio)
    assert scale_embedding_rate(first, mine, ratio) == (1 if tied else 2)
    assert scale_embedding_rate(first, mine, ratio) == 0  # a trainer may ask again
    fade = [torch.optim.lr_scheduler.LambdaLR(item, lambda step: 1 - step / 8) for item in (first, second)]
    assert len(embeddings(mine)) == (1 if tied else 2)
    for step in range(8):
        for model, optimizer, scheduler in ((mine, first, fade[0]), (built, second, fade[1])):
            optimizer.zero_grad()
            model.loss(step).backward()
            optimizer.step()
            scheduler.step()
        rates = [group["lr"] for group in first.param_groups]
        assert rates == pytest.approx([1e-2 * (1 - (step + 1) / 8) * factor for factor in (1, 1, ratio)])
    for name, value in mine.state_dict().items():
        assert torch.equal(value, built.state_dict()[name]), name


def test_one_leaves_the_groups_alone():
    model = Model(tied=True)
    optimizer = optimizer_of(model, 1e-2)
    before = copy.copy(optimizer.param_groups)
    scale_embedding_rate(optimizer, model, 1.0)
    assert optimizer.param_groups == before and not any(KEY in group for group in before)


def test_a_group_of_embeddings_alone_is_not_left_empty():
    model = Model(tied=False)
    optimizer = torch.optim.SGD([{"params": embeddings(model)}, {"params": model.middle.parameters()}], lr=1.0)
    scale_embedding_rate(optimizer, model, 3.0)
    assert [(len(group["params"]), group["lr"]) for group in optimizer.param_groups] == [(2, 1.0), (2, 3.0)]


def run(world, out, **changes):
    support.run_here(support.arguments(world, out, **changes))
    return out


def moved(world, folder):
    base = support.weights(world / "model")
    return {name: float((value - base[name]).norm()) for name, value in support.weights(folder).items()}


def test_zero_freezes_the_embeddings_and_more_moves_them_more(world, tmp_path):
    plain = moved(world, run(world, tmp_path / "plain", use_dba=None, dba_anchor_path=None))
    none = moved(world, run(world, tmp_path / "none", **FREE, dba_embedding_lr_ratio=0.0))
    more = moved(world, run(world, tmp_path / "more", **FREE, dba_embedding_lr_ratio=4.0))
    name = "model.embed_tokens.weight"
    assert none[name] == 0 < plain[name] < 0.5 * more[name]
    assert all(value > 0 for other, value in none.items() if other != name)
    facts = json.loads((tmp_path / "more" / "run_record.json").read_text())
    assert facts["settings"]["dba_embedding_lr_ratio"] == 4.0


def test_a_reward_model_which_wraps_the_causal_one(world, tmp_path):
    support.build_model(tmp_path / "untied", tied=False)  # the host cannot save a reward model with tied ones
    stage = {"stage": "rm", "dataset": "pairs", "model_name_or_path": str(tmp_path / "untied")}
    run(world, tmp_path / "none", **FREE, **stage, dba_embedding_lr_ratio=0.0)
    before, after = support.weights(tmp_path / "untied"), support.weights(tmp_path / "none")
    still = {name for name, value in before.items() if torch.equal(value, after[name])}
    assert still == {"model.embed_tokens.weight", "lm_head.weight"}


def test_one_is_plain_training_bit_for_bit(world, tmp_path):
    plain = run(world, tmp_path / "plain", use_dba=None, dba_anchor_path=None)
    assert support.same_weights(plain, run(world, tmp_path / "one", **FREE, dba_embedding_lr_ratio=1.0))


def test_resume_is_exact(world, tmp_path):
    """With the paper's variant, whose correction scales the rates of all groups and puts them back."""
    model = support.without_dropout(world / "model", tmp_path / "model")
    anchor = tmp_path / "anchor"
    support.run_here(support.anchor_arguments(world, anchor, model_name_or_path=str(model)))
    changes = {"model_name_or_path": str(model), "dba_anchor_path": str(anchor), "dba_embedding_lr_ratio": 4.0}
    changes |= {"save_strategy": "steps", "save_steps": 2}
    whole = run(world, tmp_path / "whole", **changes)
    shutil.copytree(whole, tmp_path / "again")
    for number in (4, 6):
        shutil.rmtree(tmp_path / "again" / f"checkpoint-{number}")
    (tmp_path / "again" / "model.safetensors").unlink()
    assert support.same_weights(whole, run(world, tmp_path / "again", **changes))
    even = run(world, tmp_path / "even", **{**changes, "dba_embedding_lr_ratio": 1.0})
    assert not support.same_weights(whole, even)


@pytest.mark.skipif(
    importlib.util.find_spec("galore_torch") is None,
    reason="galore_torch is not installed (pip install 'llamafactory-dba[galore]')",
)
def test_beside_galore(world, tmp_path):
    galore = {"use_galore": True, "optim": "adamw_torch", "galore_rank": 4, "galore_target": "all"}
    even = moved(world, run(world, tmp_path / "even", **FREE, **galore))
    more = moved(world, run(world, tmp_path / "more", **FREE, **galore, dba_embedding_lr_ratio=4.0))
    assert more["model.embed_tokens.weight"] > 2 * even["model.embed_tokens.weight"]


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"dba_embedding_lr_ratio": -1.0}, "`dba_embedding_lr_ratio` must be >= 0, found -1.0"),
        ({"dba_embedding_lr_ratio": float("nan")}, "`dba_embedding_lr_ratio` must be >= 0, found nan"),
        (
            {"dba_embedding_lr_ratio": 4.0, "finetuning_type": "freeze", "freeze_trainable_layers": 1, "bf16": True},
            "this run trains no embeddings",
        ),
    ],
)
def test_bad_settings_are_refused(world, tmp_path, changes, text):
    with pytest.raises((DBAError, ValueError), match=text):
        run(world, tmp_path / "run", **FREE, **changes)
