"""Train the small base model once: tokenizer, pre-training on general text, instructions; kept outside git.

Usage: ``python -m benchmarks.real_small.build_base [--cache DIR]``. About 35 minutes on one core with AVX-512 BF16;
on a GPU a larger model is trained. The finance data is in none of it.
"""

import argparse
import json
import random
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from . import data
from .base_model import TEMPLATE, save_untrained
from .host import settings, train, write_dataset_info
from .paths import DEFAULT_CACHE, data_missing, data_root


def write_data(folder: Path) -> list[str]:
    """Write the base model's training data for LLaMA-Factory; return all of it as plain texts for the tokenizer."""
    splits = data.general_splits(data_root())
    general = [row for rows in splits.general_train.values() for row in rows]
    random.Random(data.SPLIT_SEED).shuffle(general)
    text = [{"text": block} for block in splits.text_train]
    write_dataset_info(folder, {"general_text": text, "general_train": general}, text=("general_text",))
    return splits.text_train + [f"{data.user_message(row)}\n{row['output']}" for row in general]


def check_template(folder: Path) -> None:
    """Raise where the tokenizer's chat template and LLaMA-Factory's template give different ids."""
    from llamafactory.data import get_template_and_fix_tokenizer
    from llamafactory.hparams import DataArguments

    tokenizer = AutoTokenizer.from_pretrained(folder)
    messages = [{"role": "user", "content": "Is it so?"}, {"role": "assistant", "content": "Yes."}]
    own = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    template = get_template_and_fix_tokenizer(tokenizer, DataArguments(template=TEMPLATE))
    host = [i for part in template.encode_oneturn(tokenizer, messages) for i in part]
    if own != host:
        raise ValueError(f"chat template differs from LLaMA-Factory's {TEMPLATE}: {own} and {host}")


def round_weights(folder: Path) -> int:
    """Round the weights to bfloat16 values (kept in float32 files): the host loads them so for a ``bf16`` run.

    Without this a fine-tuned model would differ from its base by rounding alone, before its first step.
    Returns the number of parameters.
    """
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.copy_(tensor.to(torch.bfloat16))
    model.save_pretrained(folder)
    return model.num_parameters()


def build(cache: Path, args: argparse.Namespace) -> Path:
    """Train what is not there yet; return the folder of the finished base model."""
    done = cache / "base" / "base.json"
    if done.is_file():
        print(f"base model found: {done.parent}")
        return done.parent
    texts = write_data(cache / "data")
    size = {"vocab_size": args.vocab, "hidden": args.hidden, "layers": args.layers, "seed": args.seed}
    common = {"lr_scheduler_type": "cosine", "warmup_steps": 100, "weight_decay": 0.01, "seed": args.seed}
    common |= {"per_device_train_batch_size": 8, "adam_beta2": 0.98}
    stage_done = cache / "base_pt" / "stage.json"
    if not stage_done.is_file():
        save_untrained(cache / "base_untrained", texts, **size)
        check_template(cache / "base_untrained")
        pt = settings(
            cache / "base_untrained", cache / "data", "general_text", cache / "base_pt", **common,
            stage="pt", learning_rate=1.5e-3, num_train_epochs=args.pt_epochs,
        )  # fmt: skip
        record = {"epochs": args.pt_epochs, "seconds": round(train(cache / "base_pt", pt).seconds)}
        stage_done.write_text(json.dumps(record) + "\n", encoding="utf-8")
    sft = settings(
        cache / "base_pt", cache / "data", "general_train", cache / "base", **common,
        learning_rate=1.0e-3, num_train_epochs=args.sft_epochs, packing=True, neat_packing=True,
    )  # fmt: skip
    seconds = train(cache / "base", sft).seconds
    record = {
        "parameters": round_weights(cache / "base"),
        "size": size,
        "pt": json.loads(stage_done.read_text(encoding="utf-8")),
        "sft": {"epochs": args.sft_epochs, "seconds": round(seconds)},
        "threads": torch.get_num_threads(),
    }
    done.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return done.parent


def main() -> None:
    gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    parser.add_argument("--vocab", type=int, default=8000 if gpu else 6000)
    parser.add_argument("--hidden", type=int, default=512 if gpu else 256)
    parser.add_argument("--layers", type=int, default=8 if gpu else 4)
    parser.add_argument("--pt-epochs", type=float, default=3.0 if gpu else 1.2)
    parser.add_argument("--sft-epochs", type=float, default=3.0 if gpu else 1.5)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if reason := data_missing():
        raise SystemExit(reason)
    print(build(args.cache.resolve(), args))


if __name__ == "__main__":
    main()
