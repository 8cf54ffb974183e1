"""What tells one base model from another, read from the headers and a few bytes of its safetensors files.

The model is never loaded: of every tensor the name, shape, dtype and 64 sampled values are hashed, which takes well
under a second for 8 B parameters once the files are at hand.
"""

import hashlib
import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import AnchorError


# Evenly spaced places of a tensor, and neighbours read at each: few reads matter on network file systems.
PLACES, NEIGHBOURS = 16, 4

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
# tokenizer_config.json is left out: it names library versions and changes without the tokenizer changing
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "added_tokens.json", "vocab.txt")
EMBEDDING, HEAD = "embed_tokens.weight", "lm_head.weight"


@dataclass(frozen=True)
class TensorPrint:
    """One tensor: shape, dtype, hash of the sampled bytes, hash of the sampled values rounded to bf16."""

    shape: tuple[int, ...]
    dtype: str
    hash: str
    rounded: str


@dataclass(frozen=True)
class Fingerprint:
    """Of all tensors; ``total`` is "" and ``tensors`` empty where the folder has no safetensors (not `known`)."""

    architecture: str = ""
    model_type: str = ""
    total: str = ""
    tensors: dict[str, TensorPrint] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        """Whether weights could be read at all."""
        return bool(self.total)

    def to_dict(self) -> dict[str, Any]:
        """As JSON keeps it."""
        rows = {name: [list(p.shape), p.dtype, p.hash, p.rounded] for name, p in self.tensors.items()}
        return {"architecture": self.architecture, "model_type": self.model_type, "total": self.total, "tensors": rows}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> "Fingerprint":
        """The inverse of `to_dict`."""
        tensors = {n: TensorPrint(tuple(r[0]), str(r[1]), str(r[2]), str(r[3])) for n, r in raw["tensors"].items()}
        return cls(str(raw["architecture"]), str(raw["model_type"]), str(raw["total"]), tensors)


@dataclass(frozen=True)
class BaseModel:
    """The base model as its config.json and the user name it; what is not known stays empty or 0."""

    id: str
    revision: str = ""
    architecture: str = ""
    model_type: str = ""
    vocab_size: int = 0
    hidden_size: int = 0
    num_layers: int = 0
    tied_embeddings: bool = False


def read_base_model(folder: str | Path, *, model_id: str = "", revision: str = "") -> BaseModel:
    """`BaseModel` from the config.json of a model folder."""
    config = _read_config(Path(folder))
    text = {**config, **config.get("text_config", {})}
    return BaseModel(
        id=model_id or str(folder),
        revision=revision,
        architecture=(config.get("architectures") or [""])[0],
        model_type=config.get("model_type", ""),
        vocab_size=int(text.get("vocab_size") or 0),
        hidden_size=int(text.get("hidden_size") or 0),
        num_layers=int(text.get("num_hidden_layers") or 0),
        tied_embeddings=bool(text.get("tie_word_embeddings", False)),
    )


def fingerprint_folder(folder: str | Path) -> Fingerprint:
    """Fingerprint of the model in ``folder``.

    Raises:
        AnchorError: if the folder is not there, or one of its safetensors files is missing or damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise AnchorError("The folder of the base model is not there.", expected="a model folder", found=str(folder))
    base = read_base_model(folder)
    names = base.architecture, base.model_type
    tensors: dict[str, TensorPrint] = {}
    for path in _weight_files(folder):
        tensors.update(_prints(path))
    if not tensors:
        return Fingerprint(*names)
    tensors = dict(sorted(tensors.items()))
    digest = hashlib.sha256()
    for name, p in tensors.items():
        digest.update(json.dumps([name, p.shape, p.dtype, p.hash]).encode())
    return Fingerprint(*names, digest.hexdigest(), tensors)


def hash_tokenizer(folder: str | Path) -> str:
    """SHA-256 over the tokenizer's files; "" where there are none."""
    files = [path for name in TOKENIZER_FILES if (path := Path(folder) / name).is_file()]
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest() if files else ""


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise AnchorError("The config.json of the base model cannot be read.", found=f"{folder}: {error}") from error


def _weight_files(folder: Path) -> list[Path]:
    """The files of the model itself: those of its index, or the single one, or any (adapters and such left out)."""
    if (folder / INDEX).is_file():
        try:
            weight_map = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
            return [folder / name for name in sorted(set(weight_map.values()))]
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise AnchorError(f"{INDEX} of the base model cannot be read.", found=f"{folder}: {error!r}") from error
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    return sorted(folder.glob("model*.safetensors"))


def _prints(path: Path) -> Iterator[tuple[str, TensorPrint]]:
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > path.stat().st_size:
                raise ValueError("the header is longer than the file")
            header = json.loads(file.read(length))
            for name, entry in header.items():
                if name != "__metadata__":
                    yield name, _print_of(file, entry, 8 + length)
    except FileNotFoundError as error:
        raise AnchorError("A weight file of the base model is missing.", expected=str(path)) from error
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise AnchorError(
            "A weight file of the base model is damaged.",
            found=f"{path}: {error}",
            next_step="download the model again",
        ) from error


def _print_of(file: IO[bytes], entry: dict[str, Any], data_start: int) -> TensorPrint:
    shape, dtype = tuple(int(size) for size in entry["shape"]), str(entry["dtype"])
    begin, end = entry["data_offsets"]
    numbers = math.prod(shape)
    itemsize = (end - begin) // max(1, numbers)
    run = min(NEIGHBOURS, numbers)
    # a small tensor is read at fewer places, each of them once
    starts = sorted({place * (numbers - run) // (PLACES - 1) for place in range(PLACES)}) if numbers else []
    sample = b""
    for start in starts:
        file.seek(data_start + begin + start * itemsize)
        part = file.read(run * itemsize)
        if len(part) != run * itemsize:
            raise ValueError("the file is shorter than its header says")
        sample += part
    return TensorPrint(shape, dtype, _short(sample), _short(_rounded(sample, dtype)))


def _rounded(sample: bytes, dtype: str) -> bytes:
    """The sampled values in bf16, so that copies of one model in different dtypes can be told from other models."""
    if dtype == "BF16":
        return sample
    numpy_dtype = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}.get(dtype)
    if numpy_dtype is None:
        return sample
    bits = np.frombuffer(sample, dtype=numpy_dtype).astype("<f4").view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()  # round half to even, as torch does


def _short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def same_values(expected: Fingerprint, found: Fingerprint) -> bool:
    """Whether the two are one model, if need be in different dtypes."""
    left, right = _without_tied_head(expected, found)
    return left.keys() == right.keys() and all(
        left[name].shape == right[name].shape and left[name].rounded == right[name].rounded for name in left
    )


def compare(expected: Fingerprint, found: Fingerprint) -> list[str]:
    """Every difference in words, the telling ones first; empty for the same model.

    Where one side has no readable weights only the architecture is compared.
    """
    texts = []
    if expected.architecture and found.architecture and expected.architecture != found.architecture:
        texts.append(
            f"another architecture: the anchor was made for {expected.architecture}, the model is {found.architecture}"
        )
    if not (expected.known and found.known):
        return texts
    left, right = _without_tied_head(expected, found)
    shared = [name for name in left if name in right]
    resized = [name for name in shared if left[name].shape != right[name].shape]
    texts += _vocabulary(left, right, resized)
    resized = [name for name in resized if not _is_vocabulary(name, left[name].shape, right[name].shape)]
    if resized:
        name = resized[0]
        texts.append(
            f"other shapes in {len(resized)} of {len(left)} tensors, first {name}: "
            f"{list(left[name].shape)} in the anchor's model, {list(right[name].shape)} here"
        )
    for side, names in (("missing here", left.keys() - right.keys()), ("only here", right.keys() - left.keys())):
        if names:
            texts.append(f"{len(names)} tensors {side}: {_some(sorted(names))}")
    return texts + _dtypes_and_values(left, right, shared)


def _is_vocabulary(name: str, left: tuple[int, ...], right: tuple[int, ...]) -> bool:
    return name.endswith((EMBEDDING, HEAD)) and left[1:] == right[1:]


def _vocabulary(left: dict[str, TensorPrint], right: dict[str, TensorPrint], resized: list[str]) -> list[str]:
    for name in resized:
        if _is_vocabulary(name, left[name].shape, right[name].shape):
            before, now = left[name].shape[0], right[name].shape[0]
            how = "tokens were added or the embedding was padded" if now > before else "the embedding was cut"
            return [f"another vocabulary size: {before} when the anchor was made, {now} here ({how}; {name})"]
    return []


def _dtypes_and_values(left: dict[str, TensorPrint], right: dict[str, TensorPrint], shared: list[str]) -> list[str]:
    texts = []
    same_shape = [name for name in shared if left[name].shape == right[name].shape]
    cast = [name for name in same_shape if left[name].dtype != right[name].dtype]
    changed = [
        name
        for name in same_shape
        if (left[name].rounded != right[name].rounded if name in cast else left[name].hash != right[name].hash)
    ]
    if cast:
        name = cast[0]
        also = "" if changed else "; the values agree up to rounding"
        texts.append(
            f"another dtype in {len(cast)} of {len(shared)} tensors, first {name}: "
            f"{left[name].dtype} in the anchor's model, {right[name].dtype} here{also}"
        )
    if changed:
        kin = "an unrelated model" if len(changed) > 0.9 * len(shared) and len(shared) > 1 else "partly the same model"
        texts.append(
            f"other values in {len(changed)} of {len(shared)} tensors of the same name and shape "
            f"({kin if kin.startswith('partly') else 'a fine-tuned sibling or ' + kin}): {_some(changed)}"
        )
    return texts


def _without_tied_head(
    expected: Fingerprint, found: Fingerprint
) -> tuple[dict[str, TensorPrint], dict[str, TensorPrint]]:
    """A tied head may be saved or not; it says nothing that the embedding does not."""
    sides = []
    for this, other in ((expected.tensors, found.tensors), (found.tensors, expected.tensors)):
        embedding = next((p for name, p in this.items() if name.endswith(EMBEDDING)), None)
        extra = {n for n, p in this.items() if n.endswith(HEAD) and n not in other and p == embedding}
        sides.append({name: p for name, p in this.items() if name not in extra})
    return sides[0], sides[1]


def _some(names: list[str], limit: int = 3) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
