"""Writes the micro world's data files, the same bytes for the same seed: ``python -m llamafactory_dba.data.micro``."""

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path

from .domains import CLASSES, DOMAINS
from .preference import ranked, tagged
from .skills import SKILLS, Example, draw
from .text import raw_text
from .world import SEED, World, make_world


TRAIN_PER_SKILL = 1000
TEST_PER_SKILL = 120
# Multiples of the batch of 8: with several processes accelerate fills a partial last batch with repeated rows, and a
# run on two processes would then differ from one on one.
DOMAIN_TRAIN = {"finance": 896, "medicine": 896, "law": 1000, "news": 1000}
DOMAIN_TEST = {"finance": 200, "medicine": 200, "law": 200, "news": 80}
TEXT_LINES = 16000


def general_rows(world: World, split: str, per_skill: int, seed: str = "general") -> list[Example]:
    """All general skills in equal parts; shuffled for training, by skill for the test."""
    examples = [item for name in SKILLS for item in draw(name, SKILLS, world, split, per_skill, seed)]
    if split == "train":
        random.Random(f"{world.seed}/{seed}/order").shuffle(examples)

    return examples


def domain_rows(world: World, name: str, split: str) -> list[Example]:
    """One domain's rows, its classes balanced where it has classes."""
    count = (DOMAIN_TRAIN if split == "train" else DOMAIN_TEST)[name]
    return draw(name, DOMAINS, world, split, count, "domain", CLASSES[name])


def _as_row(example: Example) -> dict[str, str]:
    return {"skill": example.skill, "instruction": example.prompt, "output": example.answer}


def write_jsonl(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """One JSON object a line, keys in the order given, line feeds on every system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=True) + "\n")


def write_all(folder: str | Path, seed: int = SEED) -> list[Path]:
    """Write every data file of the micro world.

    Args:
        folder: Where they go; ``data/micro`` in the repository.
        seed: Seed of the world.

    Returns:
        The files written.
    """
    folder = Path(folder)
    world = make_world(seed)
    tables: dict[str, Iterable[Mapping[str, object]]] = {
        "general_train": map(_as_row, general_rows(world, "train", TRAIN_PER_SKILL)),
        "general_test": map(_as_row, general_rows(world, "test", TEST_PER_SKILL)),
        "general_text": ({"text": text} for text in raw_text(world, TEXT_LINES)),
        "pref": ranked(world),
        "kto": tagged(world),
    }
    for name in DOMAINS:
        for split in ("train", "test"):
            tables[f"{name}_{split}"] = map(_as_row, domain_rows(world, name, split))

    paths = []
    for name, rows in tables.items():
        paths.append(folder / f"{name}.jsonl")
        write_jsonl(paths[-1], rows)

    return paths


def dataset_entries(prefix: str = "micro/") -> dict[str, dict[str, object]]:
    """The entries of LLaMA-Factory's ``dataset_info.json`` for these files."""
    chat = {"prompt": "instruction", "response": "output"}
    names = ["general_train", "general_test"] + [f"{name}_{split}" for name in DOMAINS for split in ("train", "test")]
    entries: dict[str, dict[str, object]] = {
        f"micro_{name}": {"file_name": f"{prefix}{name}.jsonl", "columns": chat} for name in names
    }
    entries["micro_general_text"] = {"file_name": f"{prefix}general_text.jsonl", "columns": {"prompt": "text"}}
    entries["micro_pref"] = {
        "file_name": f"{prefix}pref.jsonl",
        "ranking": True,
        "columns": {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected"},
    }
    entries["micro_kto"] = {
        "file_name": f"{prefix}kto.jsonl",
        "columns": {"prompt": "instruction", "response": "output", "kto_tag": "tag"},
    }
    return entries
