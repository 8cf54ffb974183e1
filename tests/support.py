"""A tiny random model, a few rows of data, and a short way to run the host on them, in this process or as users do."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file


WORDS = "red green blue cat dog sun moon sky tree".split()


def build_model(folder: Path, *, seed: int = 0, extra_tokens: int = 0, tied: bool = True) -> None:
    """A two-layer Qwen3 with a byte-level tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    raw.train_from_iterator(
        WORDS * 5,
        trainers.BpeTrainer(
            vocab_size=300,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(tokenizer) + extra_tokens,
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        attention_dropout=0.1,  # so that a test fails if the anchor pass forgets to switch it off
        tie_word_embeddings=tied,
        max_position_embeddings=256,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)


def without_dropout(model: Path, copy: Path) -> Path:
    """A copy of the model whose training is deterministic across numbers of processes and implementations."""
    shutil.copytree(model, copy)
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    (copy / "config.json").write_text(json.dumps({**config, "attention_dropout": 0.0}), encoding="utf-8")
    return copy


def build_data(folder: Path) -> None:
    """General and domain rows in the formats of every stage, with their dataset_info.json."""
    folder.mkdir(parents=True, exist_ok=True)

    def rows(count: int, seed: int, verb: str) -> list[dict]:
        source = random.Random(seed)
        phrases = [" ".join(source.choices(WORDS, k=source.randint(2, 5))) for _ in range(count)]
        return [{"instruction": f"{verb} {phrase}", "input": "", "output": phrase} for phrase in phrases]

    domain = rows(48, 1, "say")
    files = {
        "general": rows(48, 0, "repeat"),
        "other": rows(20, 3, "list"),
        "domain": domain,
        "text": [{"text": row["output"] + " " + row["instruction"]} for row in rows(200, 2, "text")],
        "pairs": [{**row, "chosen": row["output"], "rejected": "no idea"} for row in domain],
        "kto": [{**row, "label": bool(number % 2)} for number, row in enumerate(domain)],
        "unanswered": [{"instruction": "word", "input": "", "output": None}],
    }
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    info = {name: {"file_name": f"{name}.json"} for name in files}
    info["text"]["columns"] = {"prompt": "text"}
    info["pairs"].update(ranking=True, columns={"prompt": "instruction", "chosen": "chosen", "rejected": "rejected"})
    info["kto"]["columns"] = {"prompt": "instruction", "response": "output", "kto_tag": "label"}
    (folder / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")


def arguments(world: Path, out: Path, **changes) -> dict:
    """Arguments of a DBA run on `world`; a value of None removes the key."""
    base = {
        "model_name_or_path": str(world / "model"),
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "full",
        "use_dba": True,
        "dba_anchor_path": str(world / "anchor"),
        "dba_svd_rank": 8,
        "dba_anchor_check_steps": 2,
        "dataset_dir": str(world / "data"),
        "dataset": "domain",
        "template": "qwen3_nothink",
        "cutoff_len": 64,
        "preprocessing_num_workers": None,
        "output_dir": str(out),
        "per_device_train_batch_size": 8,
        "learning_rate": 1.0e-3,
        "num_train_epochs": 1,
        "lr_scheduler_type": "linear",
        "logging_steps": 2,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "seed": 7,
    }
    return {key: value for key, value in {**base, **changes}.items() if value is not None}


def anchor_arguments(world: Path, out: Path, **changes) -> dict:
    """Settings of an anchor run over the world's general data, written to ``out``."""
    base = {
        "use_dba": None,
        "do_train": None,
        "dba_stage": "anchor",
        "dataset": "general",
        "dba_anchor_path": None,
        "dba_anchor_dtype": "float32",
    }
    return arguments(world, out, **{**base, **changes})


def run_here(args: dict) -> None:
    """What `llamafactory-cli train` does after parsing, in this process (saves its 10 s of imports)."""
    from llamafactory.train.tuner import run_exp

    run_exp(dict(args))


def interrupt_anchor_run(args: dict, step: int) -> None:
    """Run an anchor run here that ends as by Ctrl-C after this many steps."""
    from llamafactory_dba.training.anchor_progress import AnchorProgress

    original = AnchorProgress.on_step_end

    def stop(self, args, state, control, **kwargs):
        original(self, args, state, control, **kwargs)
        if state.global_step == step:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(AnchorProgress, "on_step_end", stop)
        run_here(args)


def environment(**variables: str) -> dict[str, str]:
    """The environment of a child as a user has it with the virtual environment activated."""
    path = str(Path(sys.executable).parent) + os.pathsep + os.environ.get("PATH", "")
    return {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", **variables}


def run_cli(args: dict, folder: Path, *, timeout: float = 300, **variables: str) -> subprocess.CompletedProcess:
    """The unmodified `llamafactory-cli train FILE.yaml` in a process of its own."""
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(args), encoding="utf-8")
    return subprocess.run(
        ["llamafactory-cli", "train", str(path)],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Weights of a saved model."""
    return load_file(folder / "model.safetensors")


def same_weights(first: Path, second: Path) -> bool:
    """Whether two saved models are equal bit for bit."""
    left, right = weights(first), weights(second)
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def step_log(folder: Path) -> list[dict]:
    """Records of dba_log.jsonl."""
    return [json.loads(line) for line in (folder / "dba_log.jsonl").read_text(encoding="utf-8").splitlines()]


def log_history(folder: Path) -> list[dict]:
    """What the trainer logged."""
    return json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
