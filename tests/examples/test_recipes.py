"""Every YAML under examples/ is complete, parses through the host, and its twins differ only where they say so."""

import json
import re
from pathlib import Path

import pytest
import torch  # noqa: F401  torch first: importing it is what activates the extension
import yaml
from llamafactory.data.template import TEMPLATES
from llamafactory.hparams.parser import _parse_train_args

from llamafactory_dba.arguments import argument_names
from llamafactory_dba.data.catalogue import catalogue


ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
RECIPES = sorted(EXAMPLES.rglob("*.yaml"))
TRAINING = [path for path in RECIPES if "stage" in yaml.safe_load(path.read_text(encoding="utf-8"))]
MIXTURES = sorted((EXAMPLES / "mixtures").glob("*.yaml"))
PREPARED = "data/corpora"  # where `llamafactory-dba data prepare`, `mix` and `newsqa` write
MODELS = ("qwen3", "llama3", "phi4")
HEADINGS = ("purpose", "needs", "command", "expected")


def name_of(path: Path) -> str:
    return str(path.relative_to(EXAMPLES))


def load(name: str | Path) -> dict:
    return yaml.safe_load((EXAMPLES / name).read_text(encoding="utf-8"))


def header(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").split("\n")
    end = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    return "\n".join(line[1:].strip() for line in lines[:end]).lower()


def prepared_names() -> list[str]:
    return [source.descriptor_name(split) for source in catalogue().values() for split in source.splits]


def names(value: str | list | None) -> list[str]:
    value = value or []
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else list(value)


def test_the_recipes_are_there():
    found = {name_of(path) for path in RECIPES}
    assert {f"{kind}_{model}.yaml" for kind in ("anchor", "dba", "direct", "elastic") for model in MODELS} <= found


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_opens_with_purpose_needs_command_and_result(path):
    text = header(path)
    positions = [re.search(rf"^{word}\b", text, re.MULTILINE) for word in HEADINGS]
    assert all(positions), f"missing: {[w for w, p in zip(HEADINGS, positions, strict=True) if not p]}"
    starts = [match.start() for match in positions]
    assert starts == sorted(starts), "in the order of DESIGN.md"
    assert name_of(path) in text, "the command names this file"


@pytest.mark.parametrize("path", TRAINING, ids=name_of)
def test_parses_through_the_host(path, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    config = load(path)
    # without a GPU, bf16 is only accepted together with use_cpu
    config |= {"output_dir": str(tmp_path / "out"), "use_cpu": True}
    *_, training, finetuning, _ = _parse_train_args(config)
    assert training.bf16 == config.get("bf16", False)
    assert finetuning.stage == config["stage"]
    for key in argument_names():
        if key in config:
            assert getattr(finetuning, key) == config[key], key


@pytest.mark.parametrize("path", TRAINING, ids=name_of)
def test_names_known_data_and_templates(path):
    config = load(path)
    assert config.get("template") in TEMPLATES or (config["stage"] == "pt" and "template" not in config)
    assert config["dataset_dir"] in ("data", PREPARED), "the host's wheel ships no data folder"
    known = json.loads((ROOT / "data" / "dataset_info.json").read_text(encoding="utf-8"))
    if config["dataset_dir"] == PREPARED:
        known = dict.fromkeys((*prepared_names(), *(path.stem for path in MIXTURES), "newsqa"))
    wanted = [name for key in ("dataset", "eval_dataset", "dba_anchor_dataset") for name in names(config.get(key))]
    assert wanted
    assert not set(wanted) - known.keys()
    if config["dataset_dir"] == PREPARED:
        assert all(re.search(rf"\b{name}\b", header(path)) for name in wanted), "the header says how to make them"


@pytest.mark.parametrize("path", TRAINING, ids=name_of)
def test_keeps_fp32_weights(path):
    assert not load(path).get("pure_bf16"), "annealing's updates are smaller than the spacing of bf16 weights"


@pytest.mark.parametrize("model", MODELS)
def test_direct_twin_differs_only_in_the_dba_block(model):
    dba, direct = load(f"dba_{model}.yaml"), load(f"direct_{model}.yaml")
    differing = {key for key in dba.keys() | direct.keys() if dba.get(key) != direct.get(key)}
    block = {key for key in dba if key in argument_names()}
    assert differing == block | {"output_dir"}
    assert not block & direct.keys()


@pytest.mark.parametrize("model", MODELS)
def test_elastic_differs_only_in_the_dba_block_and_the_rate(model):
    dba, elastic = load(f"dba_{model}.yaml"), load(f"elastic_{model}.yaml")
    differing = {key for key in dba.keys() | elastic.keys() if dba.get(key) != elastic.get(key)}
    assert differing - set(argument_names()) == {"output_dir", "learning_rate"}
    assert elastic["dba_variant"] == "elastic" and elastic["learning_rate"] > dba["learning_rate"]
    unused = {"dba_boost_magnitude", "dba_use_correction", "dba_base_correction"}
    assert not unused & elastic.keys(), "of the paper's variant alone"


@pytest.mark.parametrize("model", MODELS)
def test_anchor_recipe_makes_the_anchor_that_the_dba_recipe_looks_for(model):
    anchor, dba = load(f"anchor_{model}.yaml"), load(f"dba_{model}.yaml")
    assert anchor.get("dba_anchor_path", anchor["output_dir"]) == dba["dba_anchor_path"]
    assert anchor["dataset"] == dba["dba_anchor_dataset"]
    shared = ("model_name_or_path", "template", "cutoff_len", "stage", "dba_svd_rank", "bf16", "flash_attn")
    for key in (*shared, "per_device_train_batch_size", "gradient_accumulation_steps"):
        assert anchor[key] == dba[key], key


@pytest.mark.parametrize("model", MODELS)
def test_the_papers_hyper_parameters(model):
    config = load(f"dba_{model}.yaml")
    assert config["per_device_train_batch_size"] * config["gradient_accumulation_steps"] == 8
    assert (config["lr_scheduler_type"], config["warmup_steps"], config["num_train_epochs"]) == ("linear", 0, 1.0)
    assert (config["dba_svd_rank"], config["dba_boost_magnitude"]) == (512, 200.0)
    assert config["learning_rate"] < 1e-5, "below the host's own recipe for full fine-tuning"
