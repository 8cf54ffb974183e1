"""Trains the micro world's two checkpoints with LLaMA-Factory itself.

    python scripts/train_micro_base.py

Stage pt on the world's raw text gives micro-base; stage sft on general instructions, from there, gives
micro-instruct. Both are cast to bfloat16 and put into examples/micro/models. The recipe is fixed: seeds, rows, steps
and rates stand in this file. It was chosen by looking at the general test set (data/micro/README.md says so).
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, Qwen3Config, Qwen3ForCausalLM

from llamafactory_dba.data.micro.files import TEXT_LINES, general_rows, write_jsonl
from llamafactory_dba.data.micro.text import raw_text
from llamafactory_dba.data.micro.tokenizer import TEMPLATE, save_tokenizer
from llamafactory_dba.data.micro.world import SEED, make_world
from llamafactory_dba.evaluation.micro import evaluate, table


ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "examples" / "micro" / "models"
SFT_ROWS_PER_SKILL = 5000

COMMON = {
    "do_train": True,
    "finetuning_type": "full",
    "template": TEMPLATE,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 50,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "save_strategy": "no",
    "save_only_model": True,
    "report_to": "none",
    "logging_steps": 50,
    "disable_tqdm": True,
    "overwrite_cache": True,
    "seed": SEED,
    "use_cpu": True,
    "dataloader_pin_memory": False,
}
PRETRAIN = {
    **COMMON,
    "stage": "pt",
    "dataset": "text",
    "packing": True,
    "cutoff_len": 128,
    "per_device_train_batch_size": 16,
    "learning_rate": 3.0e-3,
    "num_train_epochs": 4.0,
}
INSTRUCT = {
    **COMMON,
    "stage": "sft",
    "dataset": "instructions",
    "cutoff_len": 64,
    "per_device_train_batch_size": 32,
    "learning_rate": 2.0e-3,
    "num_train_epochs": 2.0,
}


def make_seedling(folder: Path) -> None:
    """Write an untrained model with its tokenizer."""
    vocabulary = save_tokenizer(make_world(), folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(SEED)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=vocabulary,
            hidden_size=128,
            num_hidden_layers=3,
            intermediate_size=256,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=False
    )
    model.save_pretrained(folder)
    print(f"{model.num_parameters():,} parameters, vocabulary {vocabulary}", flush=True)


def run_host(recipe: dict[str, object], model: Path, output: Path, data: Path) -> float:
    """Run ``llamafactory-cli train`` on a recipe; returns the seconds it took."""
    recipe = {
        "model_name_or_path": str(model),
        "output_dir": str(output),
        "dataset_dir": str(data),
        **recipe,
    }
    path = output.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    bin_folder = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": bin_folder + os.pathsep + os.environ.get("PATH", ""), "DBA_DISABLE": "1"}
    environment.setdefault("OMP_NUM_THREADS", "1")  # so small a model is fastest so, and sums keep their order
    start = time.perf_counter()
    subprocess.run(["llamafactory-cli", "train", str(path)], check=True, env=environment, cwd=ROOT)
    return time.perf_counter() - start


def publish(source: Path, tokenizer_folder: Path, target: Path) -> None:
    """Cast a trained model to bfloat16 and write it, with its tokenizer, where the examples expect it."""
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16)
    shutil.rmtree(target, ignore_errors=True)
    model.save_pretrained(target)
    (target / "model.safetensors").chmod(0o644)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"):
        if (tokenizer_folder / name).is_file():
            shutil.copyfile(tokenizer_folder / name, target / name)


def main() -> None:
    """Train, publish and evaluate both checkpoints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "cache" / "micro", help="folder for what is not kept")
    parser.add_argument("--models", type=Path, default=MODELS, help="where the checkpoints go")
    parser.add_argument("--keep-base", action="store_true", help="go on from the stage pt that is in --work already")
    args = parser.parse_args()
    work: Path = args.work.resolve()
    if not args.keep_base:
        shutil.rmtree(work, ignore_errors=True)
    seedling = work / "seedling"
    make_seedling(seedling)

    world = make_world()
    rows = general_rows(world, "train", SFT_ROWS_PER_SKILL, seed="base")
    write_jsonl(work / "text.jsonl", ({"text": text} for text in raw_text(world, TEXT_LINES)))
    write_jsonl(work / "instructions.jsonl", ({"instruction": row.prompt, "output": row.answer} for row in rows))
    entries = {
        "text": {"file_name": "text.jsonl", "columns": {"prompt": "text"}},
        "instructions": {
            "file_name": "instructions.jsonl",
            "columns": {"prompt": "instruction", "response": "output"},
        },
    }
    (work / "dataset_info.json").write_text(json.dumps(entries, indent=2), encoding="utf-8")

    if not args.keep_base:
        seconds = run_host(PRETRAIN, seedling, work / "base", work)
        print(f"stage pt: {seconds:.0f} s", flush=True)
    publish(work / "base", seedling, args.models / "micro-base")
    print(f"\nmicro-base\n{table(evaluate(args.models / 'micro-base', ROOT / 'data' / 'micro'))}", flush=True)
    seconds = run_host(INSTRUCT, work / "base", work / "instruct", work)
    publish(work / "instruct", seedling, args.models / "micro-instruct")
    print(f"stage sft: {seconds:.0f} s", flush=True)
    print(f"\nmicro-instruct\n{table(evaluate(args.models / 'micro-instruct', ROOT / 'data' / 'micro'))}", flush=True)


if __name__ == "__main__":
    main()
