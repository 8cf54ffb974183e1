"""The committed checkpoints: small, and as able as the data card says."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open
from transformers import AutoConfig

from llamafactory_dba.data.micro.domains import CHANCE
from llamafactory_dba.evaluation.micro import evaluate, table


ROOT = Path(__file__).parents[2]
MODELS = ROOT / "examples" / "micro" / "models"
NAMES = ("micro-instruct", "micro-base")


@pytest.mark.parametrize("name", NAMES)
def test_architecture_and_size(name: str) -> None:
    config = AutoConfig.from_pretrained(MODELS / name)
    assert config.model_type == "qwen3"
    with safe_open(MODELS / name / "model.safetensors", "pt") as file:
        slices = [file.get_slice(key) for key in file.keys()]
        assert {part.get_dtype() for part in slices} == {"BF16"}
        sizes = [part.get_shape() for part in slices]
    count = sum(shape[0] * (shape[1] if len(shape) > 1 else 1) for shape in sizes)
    assert count < 3_000_000
    assert "/" not in str(json.loads((MODELS / name / "config.json").read_text("utf-8")).get("_name_or_path", ""))


def test_a_few_questions_are_answered() -> None:
    result = evaluate(MODELS / "micro-instruct", ROOT / "data" / "micro", domains=[], limit=10, device="cpu")
    assert len(result.general) >= 6
    assert result.s_g >= 80, table(result)  # 10 questions a skill; the floor for all of them is in the slow test


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_floors(name: str) -> None:
    result = evaluate(MODELS / name, ROOT / "data" / "micro", device="cpu")
    text = table(result)
    if name == "micro-instruct":
        assert all(score.accuracy >= 90 for score in result.general.values()), text
    else:
        assert 40 <= result.s_g <= 75, text
    for domain, score in result.domains.items():
        # three standard errors of a blind guess, on the test's number of questions
        chance = CHANCE[domain] / 100
        assert score.accuracy <= 100 * (chance + 3 * (chance * (1 - chance) / score.total) ** 0.5), text
