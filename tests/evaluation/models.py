"""Models and data that the tests of `evaluate` share: small enough to run in a second, real enough to be run."""

import json
import os
import shutil
from pathlib import Path

import support
import torch

from llamafactory_dba.evaluation.cache import Kept
from llamafactory_dba.evaluation.definitions import Task
from llamafactory_dba.evaluation.measure import ModelSpec, prompting_of
from llamafactory_dba.evaluation.model_hash import find_files
from llamafactory_dba.evaluation.questions import Question


ROOT = Path(__file__).parents[2]
MICRO = ROOT / "examples" / "micro" / "models" / "micro-instruct"
MICRO_BASE = ROOT / "examples" / "micro" / "models" / "micro-base"
MICRO_DATA = ROOT / "data"
REAL_DATA = Path(os.environ.get("DBA_REAL_DATA") or ROOT.parent / "shared" / "data")
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{% endif %}"
)


def tiny(folder: Path, *, chat: bool = True, seed: int = 0) -> Path:
    """A random two-layer model; with a chat template that thinks, as Qwen3's, or with none."""
    support.build_model(folder, seed=seed)
    if chat:
        (folder / "chat_template.jinja").write_text(CHATML, encoding="utf-8")
    return folder


def adapter_on(base, folder, *, named: str | None = None):
    """A LoRA adapter that peft saved."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base), LoraConfig(r=4, target_modules=["q_proj", "down_proj"])
    )
    model.save_pretrained(folder)
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = str(base) if named is None else named
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def copy_of(model: Path, folder: Path) -> Path:
    """A copy that results.json can be written into."""
    return Path(shutil.copytree(model, folder))


def task(output: str = "generate", **changes) -> Task:
    """A task; its questions are given by hand."""
    kinds = {
        "generate": {"scorer": "exact", "metric": "exact_match", "max_new_tokens": 8},
        "likelihood": {"scorer": "likelihood", "metric": "accuracy"},
        "perplexity": {"scorer": "perplexity", "metric": "nats_per_token"},
    }
    raw = {"name": "t", "version": "1", "title": "t", "citation": "none", "language": "en", "output": output}
    return Task(**{**raw, **kinds[output], "dataset": "t", **changes})


def answers(model: Path, wanted: Task, questions: list[Question], **settings) -> Kept:
    """What a model answers, without a cache."""
    from llamafactory_dba.evaluation.engine import ask
    from llamafactory_dba.evaluation.engine_hf import load_hf

    adapter = settings.pop("adapter", None)
    batch_size = settings.pop("batch_size", "auto")
    spec = ModelSpec(str(model), adapter, device="cpu", **settings)
    files = find_files(spec.model, spec.adapter)
    prompting = prompting_of(spec, files)
    loaded = load_hf(
        files.folder, prompting, adapter=files.adapter, device="cpu", dtype="float32", batch_size=batch_size
    )
    made = ask(loaded, prompting, wanted, questions)
    return Kept(made.answers, 0.0, made.notes)


def suite_file(folder: Path, **tasks: list[dict]) -> Path:
    """A data folder with a test set per task, and a YAML file with tasks and a suite of them."""
    folder.mkdir(parents=True, exist_ok=True)
    info, definitions = {}, {}
    for name, rows in tasks.items():
        (folder / f"{name}.json").write_text(json.dumps(rows), encoding="utf-8")
        info[name] = {"file_name": f"{name}.json"}
        definitions[name] = {
            "version": "1",
            "title": name,
            "citation": "none",
            "language": "en",
            "output": "generate",
            "scorer": "exact",
            "metric": "exact_match",
            "max_new_tokens": 6,
            "dataset": name,
        }
    first, *others = tasks
    roles = {"domain": [first]} | ({"general": others} if others else {})
    suite = {"mine": {"version": "1", "title": "mine", "tasks": roles}}
    (folder / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    path = folder / "mine.yaml"
    path.write_text(json.dumps({"tasks": definitions, "suites": suite}), encoding="utf-8")  # JSON is YAML
    return path


def rows(count: int, word: str = "red") -> list[dict]:
    """Questions with one-word answers."""
    return [{"instruction": f"say {word} {number}", "input": "", "output": word} for number in range(count)]
