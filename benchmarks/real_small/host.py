"""Runs of the unmodified ``llamafactory-cli train``: the YAML, the subprocess, its time and peak memory."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import psutil
import torch
import yaml

from .base_model import TEMPLATE


class Cost(NamedTuple):
    """What one run took: wall-clock seconds and the largest resident memory of its process tree in MiB."""

    seconds: float
    peak_rss_mib: float


def settings(model: Path, data: Path, dataset: str, output: Path, **more: object) -> dict[str, object]:
    """Return the keys that every run of this benchmark shares, and ``more``, which wins.

    bfloat16 autocast with float32 master weights: twice as fast as float32 on a CPU with AVX-512 BF16.
    """
    base: dict[str, object] = {
        "model_name_or_path": str(model),
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "full",
        "template": TEMPLATE,
        "dataset": dataset,
        "dataset_dir": str(data),
        "cutoff_len": 256,
        "preprocessing_num_workers": 1,
        "output_dir": str(output),
        "overwrite_output_dir": True,
        "logging_steps": 10,
        "save_strategy": "no",
        "report_to": "none",
        "bf16": True,
        "disable_gradient_checkpointing": True,  # the same weights bit for bit, in less time
        "dataloader_num_workers": 0,
    }
    if not torch.cuda.is_available():
        base["use_cpu"] = True
    return base | more


def write_dataset_info(folder: Path, files: Mapping[str, list[dict]], text: tuple[str, ...] = ()) -> None:
    """Write ``<name>.json`` for every data set and the ``dataset_info.json`` that describes them.

    Args:
        folder: where to; files of other data sets there stay described.
        files: rows by data set name.
        text: the names among them that hold plain text (``{"text": ...}``) for stage pt.
    """
    folder.mkdir(parents=True, exist_ok=True)
    info_file = folder / "dataset_info.json"
    info = json.loads(info_file.read_text(encoding="utf-8")) if info_file.is_file() else {}
    for name, rows in files.items():
        (folder / f"{name}.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
        info[name] = {"file_name": f"{name}.json"}
        if name in text:
            info[name]["columns"] = {"prompt": "text"}
    info_file.write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")


def _watch(pid: int, peak: list[float], stop: threading.Event) -> None:
    """Keep the largest resident memory of the process tree, in MiB, until told to stop."""
    while not stop.wait(0.5):
        try:
            parent = psutil.Process(pid)
            tree = [parent, *parent.children(recursive=True)]
            peak[0] = max(peak[0], sum(p.memory_info().rss for p in tree) / 2**20)
        except psutil.Error:
            continue


def train(folder: Path, config: Mapping[str, object]) -> Cost:
    """Write ``folder/train.yaml``, run ``llamafactory-cli train`` on it, log to ``folder/train.log``."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe, log = folder / "train.yaml", folder / "train.log"
    recipe.write_text(yaml.safe_dump(dict(config), sort_keys=False), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("llamafactory-cli")), "train", str(recipe)]
    env = os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(folder / ".datasets"), "PYTHONUNBUFFERED": "1"}
    if not config.get("use_dba"):
        env["DBA_DISABLE"] = "1"  # the baselines are the host alone
    peak, stop, start = [0.0], threading.Event(), time.perf_counter()
    with log.open("w", encoding="utf-8") as out:
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=env)
        watcher = threading.Thread(target=_watch, args=(child.pid, peak, stop), daemon=True)
        watcher.start()
        code = child.wait()
    stop.set()
    watcher.join()
    shutil.rmtree(folder / ".datasets", ignore_errors=True)  # tokenized rows, of no use to another run
    if code != 0:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-25:])
        raise RuntimeError(f"llamafactory-cli ended with code {code}; the end of {log}:\n{tail}")
    return Cost(time.perf_counter() - start, peak[0])
