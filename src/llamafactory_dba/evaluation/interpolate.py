"""Weights between a base model and a model fine-tuned from it: θ(α) = (1 − α) θ_base + α θ_tuned.

WiSE-FT (Wortsman et al. 2022, arXiv:2109.01903, section 3, eq. 1 in weight space). It costs no training, so it is what
every method against forgetting has to be compared with. Shard by shard: memory holds one file of each model.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..errors import DBAError
from ..files import make_writable


if TYPE_CHECKING:
    import torch

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".onnx")
SHOWN = 3  # names in an error


class Place(NamedTuple):
    """Where a tensor is: its file, shape and dtype, as the file's header has them."""

    file: str
    shape: tuple[int, ...]
    dtype: str


def interpolate(base: Path, tuned: Path, alpha: float, out: Path) -> Path:
    """Write the model at ``alpha`` as a folder that transformers loads: the tuned model's files, other weights.

    Args:
        base: folder of the base model, safetensors.
        tuned: folder of the model fine-tuned from it, same tensors.
        alpha: from 0, the base model's weights bit for bit, to 1, the tuned model's; both in the tuned model's dtypes.
        out: folder to make; it must not be there. Removed again if something fails.

    Returns:
        ``out``.

    Raises:
        DBAError: alpha is outside 0 to 1, the models have other tensors, shapes or buffers, a file is missing, or the
            folder cannot be written.
    """
    from safetensors import safe_open
    from safetensors.torch import save_file

    check_alpha(alpha)
    before, after = tensors_of(base), tensors_of(tuned)
    check_same(before, after, base, tuned)
    if out.exists():
        raise DBAError("The folder for the interpolated model is there already.", expected="a new folder", found=out)
    make_writable(out.parent, out.name)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        for path in sorted(tuned.iterdir()):
            if path.is_file() and path.suffix not in WEIGHTS and not path.name.endswith(".jsonl"):
                shutil.copyfile(path, partial / path.name)
        for file in sorted({place.file for place in after.values()}):
            mixed: dict[str, torch.Tensor] = {}
            with safe_open(tuned / file, framework="pt") as ours:
                for name in ours.keys():
                    with safe_open(base / before[name].file, framework="pt") as theirs:
                        mixed[name] = mix(theirs.get_tensor(name), ours.get_tensor(name), alpha, name)
                save_file(mixed, partial / file, metadata=ours.metadata() or {"format": "pt"})
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return out


def mix(base: torch.Tensor, tuned: torch.Tensor, alpha: float, name: str = "tensor") -> torch.Tensor:
    """One tensor at ``alpha``, computed in float32 (float64 stays float64), in the tuned tensor's dtype and shape.

    ``torch.lerp`` starts from the nearer end, so that 0 and 1 give back the two models exactly.
    """
    import torch

    if not tuned.is_floating_point():
        if not torch.equal(base, tuned):
            raise DBAError(
                "A tensor of whole numbers differs between the models, so there is nothing between them.",
                expected="floating-point weights; quantised models cannot be interpolated",
                found=f"{name}, {tuned.dtype}",
            )
        return tuned.contiguous()
    wide = torch.float64 if tuned.dtype == torch.float64 else torch.float32
    return torch.lerp(base.to(wide), tuned.to(wide), alpha).to(tuned.dtype).contiguous()


def check_alpha(alpha: float) -> None:
    """Raise a DBAError unless it is from 0 to 1."""
    if not 0 <= alpha <= 1:  # NaN fails this too
        raise DBAError("No such point between the models.", expected="alpha from 0 (base) to 1 (tuned)", found=alpha)


def tensors_of(folder: Path) -> dict[str, Place]:
    """All tensors of a model folder by name, from the headers of its safetensors files."""
    from safetensors import SafetensorError, safe_open

    if (folder / INDEX).is_file():
        files = sorted(set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()))
    else:
        files = [SINGLE]
    found: dict[str, Place] = {}
    for file in files:
        if not (folder / file).is_file():
            raise DBAError(
                "Weights are missing.",
                expected=f"{SINGLE}, or the shards named in {INDEX}",
                found=f"no {file} in {folder}",
                next_step="an adapter is named with --adapter, beside --base",
            )
        try:
            with safe_open(folder / file, framework="pt") as opened:
                for name in opened.keys():
                    part = opened.get_slice(name)
                    found[name] = Place(file, tuple(part.get_shape()), str(part.get_dtype()))
        except SafetensorError as error:
            raise DBAError("A file of weights is damaged.", found=f"{folder / file}: {error}") from error
    return found


def check_same(before: Mapping[str, Place], after: Mapping[str, Place], base: Path, tuned: Path) -> None:
    """Raise a DBAError unless both models have the same tensors of the same shapes."""
    missing, added = sorted(before.keys() - after.keys()), sorted(after.keys() - before.keys())
    shapes = [n for n in after if n in before and before[n].shape != after[n].shape]
    if not missing and not added and not shapes:
        return
    parts = []
    if missing:
        parts.append(f"{len(missing)} only in {base}: {', '.join(missing[:SHOWN])}")
    if added:
        parts.append(f"{len(added)} only in {tuned}: {', '.join(added[:SHOWN])}")
    parts += [f"{n} {before[n].shape} and {after[n].shape}" for n in shapes[:SHOWN]]
    raise DBAError(
        "There is no line between these two models.",
        expected="the same tensors in the same shapes",
        found="; ".join(parts),
        next_step="name the base model that the fine-tuning started from",
    )


def merge_adapter(base: Path, adapter: Path, out: Path) -> Path:
    """Write base model and adapter as one model with full weights, with the adapter folder's tokenizer if it has one.

    Raises:
        DBAError: the adapter does not fit the base model, or peft cannot merge its kind.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    make_writable(out.parent, out.name)
    model = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
    try:
        with torch.no_grad(), warnings.catch_warnings():
            # peft only warns where the adapter lacks weights that its own config promises
            warnings.filterwarnings("error", message="Found missing adapter keys")
            merged = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload(safe_merge=True)
    except (ValueError, RuntimeError, KeyError, OSError, UserWarning) as error:
        raise DBAError(
            "The adapter cannot be merged into the base model.",
            expected=f"an adapter of {base}",
            found=f"{adapter}: {type(error).__name__}: {str(error)[:300]}",
            next_step="name the base model that the adapter was trained on",
        ) from error
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    merged.save_pretrained(partial)
    words = adapter if (adapter / "tokenizer_config.json").is_file() else base
    AutoTokenizer.from_pretrained(words).save_pretrained(partial)
    partial.rename(out)
    return out
