"""Which model was measured: its files, found and hashed by content, and whether an adapter fits its base.

Hashes of large files are remembered by path, size and time of change, so that a model's weights are read once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..anchor.fingerprint import find_model, fingerprint_folder
from ..errors import DBAError
from ..files import hash_file, write_file


INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.gguf")
# what decides the answers beside the weights; names of tools and dates in other files do not
CONFIGS = ("config.json", "generation_config.json")
TOKENIZER = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
)
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
MEMORY = "file_hashes.json"
REMEMBER_ABOVE = 1 << 20  # bytes; smaller files are read again


@dataclass(frozen=True)
class ModelFiles:
    """A model on this machine.

    Attributes:
        name: as the user wrote it.
        folder: of the full model.
        adapter: folder of a LoRA adapter; None without.
        tokenizer: folder that the tokenizer is from: the adapter's, if training saved one there.
    """

    name: str
    folder: Path
    adapter: Path | None
    tokenizer: Path

    @property
    def run_folder(self) -> Path:
        """Where training wrote: the adapter's folder, else the model's."""
        return self.adapter or self.folder


def find_files(model: str, adapter: str | None = None) -> ModelFiles:
    """Find a model and an adapter, and check that they belong together.

    Args:
        model: folder or hub id (fetched into the hub's cache if need be).
        adapter: folder or hub id of a LoRA adapter.

    Raises:
        DBAError: there is no such model or adapter, or the adapter is of another base model.
    """
    folder = _find(model, "model", "config.json")
    if (folder / ADAPTER_CONFIG).is_file() and not (folder / "config.json").is_file():
        raise DBAError(
            "This is an adapter, not a model.",
            expected="--model BASE --adapter FOLDER",
            found=f"--model {model}",
            next_step=f"name its base model: --model {_adapter_base(folder) or 'BASE'} --adapter {model}",
        )
    if not (folder / "config.json").is_file() or not weight_files(folder):
        raise DBAError(
            "There is no model in this folder.",
            expected="config.json and weights (*.safetensors)",
            found=f"{folder}: {', '.join(sorted(p.name for p in folder.iterdir())[:8]) or 'nothing'}",
            next_step="name the output_dir of a finished training, or a model's folder or hub id",
        )
    if adapter is None:
        return ModelFiles(model, folder, None, folder)
    found = _find(adapter, "adapter", ADAPTER_CONFIG)
    check_adapter(found, folder)
    own = any((found / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt"))
    return ModelFiles(model, folder, found, found if own else folder)


def weight_files(folder: Path) -> list[Path]:
    """The files with a model's weights: those of its index, or all of the first kind that is there."""
    for index in INDEXES:
        if (folder / index).is_file():
            with contextlib.suppress(ValueError, KeyError, AttributeError):
                names = set(json.loads((folder / index).read_text(encoding="utf-8"))["weight_map"].values())
                return [folder / name for name in sorted(names)]
    for pattern in WEIGHTS:
        # a trainer's state and an adapter may lie in the same folder
        found = [p for p in folder.glob(pattern) if not p.name.startswith(("adapter_", "training_args", "optimizer"))]
        if found:
            return sorted(found)
    return []


def hash_model(files: ModelFiles, memory: Path | None = None) -> str:
    """SHA-256 over everything that decides a model's answers: weights, configuration, tokenizer, adapter.

    Args:
        files: of `find_files`.
        memory: folder in which hashes of large files are remembered; None: not remembered.

    Raises:
        DBAError: a file cannot be read.
    """
    parts = [(f"model/{p.name}", p) for p in weight_files(files.folder)]
    parts += [(f"model/{name}", files.folder / name) for name in CONFIGS]
    parts += [(f"tokenizer/{name}", files.tokenizer / name) for name in TOKENIZER]
    if files.adapter is not None:
        parts += [(f"adapter/{name}", files.adapter / name) for name in (ADAPTER_CONFIG, *ADAPTER_WEIGHTS)]
    known = _read_memory(memory)
    digest, fresh = hashlib.sha256(), dict(known)
    for name, path in parts:
        try:
            if path.is_file():
                digest.update(f"{name} {_hash(path, fresh)}\n".encode())
            elif name.startswith("model/") and path.name not in CONFIGS:
                raise FileNotFoundError("it is named in the model's index, and missing")
        except OSError as error:
            raise DBAError("A file of the model cannot be read.", found=f"{path}: {error}") from error
    if memory is not None and fresh != known:
        with contextlib.suppress(OSError):  # only a memory; the cache's own folder is checked elsewhere
            memory.mkdir(parents=True, exist_ok=True)
            write_file(memory / MEMORY, json.dumps(fresh, indent=0))
    return digest.hexdigest()


def check_adapter(adapter: Path, base: Path) -> None:
    """Refuse an adapter that was trained on another base model.

    Told by the base that its adapter_config.json names, where that is on this machine, and by the shapes of its
    tensors. Another model of the same shapes whose base is nowhere to be found cannot be told.

    Raises:
        DBAError: it was, or there is no adapter in the folder.
    """
    if not any((adapter / name).is_file() for name in ADAPTER_WEIGHTS):
        raise DBAError(
            "There is no adapter in this folder.", expected=" or ".join(ADAPTER_WEIGHTS), found=f"none in {adapter}"
        )
    print_ = fingerprint_folder(base)
    named = _adapter_base(adapter)
    theirs = find_model(named) if named else None
    if theirs is not None and print_.known and theirs.resolve() != base.resolve():
        other = fingerprint_folder(theirs)
        if other.known and other.total != print_.total:
            raise _other_base(f"{base}, fingerprint {print_.total[:16]}", f"{named}, fingerprint {other.total[:16]}")
    path = adapter / ADAPTER_WEIGHTS[0]
    if not path.is_file() or not print_.known:
        return
    for name, shape in _shapes(path).items():
        # base_model.model.<module>.lora_A.weight is (rank, in), lora_B.weight (out, rank), of a Linear (out, in)
        for mark, side, own in ((".lora_A.", 1, 1), (".lora_B.", 0, 0)):
            module = name.partition(mark)[0].removeprefix("base_model.model.")
            tensor = print_.tensors.get(f"{module}.weight")
            if mark not in name or len(shape) != 2:
                continue
            if tensor is None:
                tied_or_other = module.endswith("lm_head")
                if not tied_or_other:
                    raise _other_base(f"a module {module} in {base}", f"{name}, for which there is none")
            elif tensor.shape[side] != shape[own]:
                raise _other_base(
                    f"{module} of shape {tensor.shape} in {base}", f"{name} of shape {shape}, which does not fit"
                )


def _other_base(expected: str, found: str) -> DBAError:
    return DBAError(
        "The adapter was trained on another base model.",
        expected=expected,
        found=found,
        next_step="name the model that the adapter was trained on as --model",
    )


def _adapter_base(folder: Path) -> str:
    try:
        return str(json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))["base_model_name_or_path"] or "")
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _shapes(path: Path) -> dict[str, Sequence[int]]:
    """Name → shape, from the header of a safetensors file."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header: dict[str, Any] = json.loads(file.read(length))
    except (OSError, ValueError, struct.error) as error:
        raise DBAError("The adapter is damaged.", found=f"{path}: {error}", next_step="save it again") from error
    return {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}


def _find(name: str, what: str, wanted: str) -> Path:
    """The folder of a local path or hub id."""
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.exists() or name.startswith(("/", ".", "~")) or name.count("/") > 1:
        raise DBAError(
            f"The {what} is not there.",
            expected="a folder, or a hub id such as Qwen/Qwen3-0.6B",
            found=f"{name}, {'a file' if path.exists() else 'which does not exist'}",
        )
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.jinja", "*.model", "*.txt", "*.safetensors"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:  # the library raises its own, its transport's and the system's errors
        if (cached := find_model(name)) is not None and (cached / wanted).is_file():
            return cached
        raise DBAError(
            f"The {what} is neither on this machine nor can it be fetched.",
            expected="a folder, or a hub id such as Qwen/Qwen3-0.6B",
            found=f"{name}: {str(error).splitlines()[0] if str(error) else error!r}",
            next_step="check the name and the network (HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE)",
        ) from error


def _hash(path: Path, known: dict[str, str]) -> str:
    status = path.stat()
    if status.st_size < REMEMBER_ABOVE:
        return hash_file(path)
    key = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"
    if key not in known:
        known[key] = hash_file(path)
    return known[key]


def _read_memory(folder: Path | None) -> dict[str, str]:
    if folder is None:
        return {}
    try:
        raw = json.loads((folder / MEMORY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in raw.items()} if isinstance(raw, dict) else {}
