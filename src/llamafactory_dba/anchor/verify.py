"""Checks every number of an anchor, and that it belongs to a base model."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tqdm.auto import tqdm

from ..core.factors import product
from ..errors import AnchorError
from ..files import hash_file
from .config import REMAKE, AnchorConfig, TensorInfo, read_config, weight_files
from .curvature import CURVATURE
from .differences import compare, same_values, without_added_rows
from .fingerprint import count_tokens, find_model, fingerprint_folder, hash_tokenizer
from .format import open_anchor
from .parts import stored_bytes


# The header's norms are of fp32 factors: rounding of the sums. With bf16 each number of each factor is off by about
# 2^-9, a squared product by four times that, 0.8 %; that counts where the header does not say what rounding has cost.
NORM_TOLERANCE = {"float32": 1e-3, "bfloat16": 1e-2, "int8": 1e-3}
# Below a norm of 1e-30 the numbers of the factors come near the end of fp32 and lose digits.
SMALLEST_SQUARE = 1e-60


class Problem(NamedTuple):
    """What is wrong, and what to do about it."""

    what: str
    next_step: str


@dataclass
class Verification:
    """What was checked and found.

    Attributes:
        problems: none: the anchor is sound and fits the model.
        notes: what could not be checked, or differs without doing harm.
        tensors: how many were read and found sound.
        bytes: how many their numbers take.
    """

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tensors: int = 0
    bytes: int = 0


def verify(folder: str | Path, model: str | Path, *, allow_added: bool = False) -> Verification:
    """Reads the whole anchor, one tensor at a time, and compares fingerprint and tokenizer with a model.

    Args:
        folder: the anchor.
        model: folder of the base model, or a hub id that is in the local cache.
        allow_added: whether the model may have more tokens than the anchor's (`dba_allow_added_tokens`).

    Raises:
        AnchorError: there is no anchor, its header cannot be read, or there is no such model.
    """
    config = read_config(folder)
    model = model_folder(model)
    result = Verification()
    _check_files(Path(folder), config, result)
    _check_tensors(Path(folder), config, result)
    _check_model(config, model, result, allow_added)
    _check_tokenizer(config, model, result, allow_added)
    return result


def verify_content(folder: str | Path, *, checksums_suffice: bool = False) -> Verification:
    """Reads the whole anchor and compares it with its own header; no model is needed.

    Args:
        folder: the anchor.
        checksums_suffice: read no tensor where the header has checksums; they say that nothing has changed since the
            anchor was written.

    Raises:
        AnchorError: there is no anchor, or its header cannot be read.
    """
    config = read_config(folder)
    result = Verification()
    _check_files(Path(folder), config, result)
    if not (checksums_suffice and config.files):
        _check_tensors(Path(folder), config, result)
    return result


def model_folder(model: str | Path) -> Path:
    """A folder as it is; of a hub id the folder in the local cache.

    Raises:
        AnchorError: neither.
    """
    found = find_model(model)
    if found is not None:
        return found
    raise AnchorError(
        "The base model is not on this machine.",
        expected="its folder, or a hub id that was downloaded before",
        found=str(model),
        next_step=f"check the path, or download it first: hf download {model}",
    )


def _check_files(folder: Path, config: AnchorConfig, result: Verification) -> None:
    if config.curvature is not None and hash_file(folder / CURVATURE) != config.curvature.hash:
        result.problems.append(Problem(f"{CURVATURE} has another checksum than the header says", REMAKE))
    if not config.files:
        result.notes.append("the header has no checksums (it was written by an early version): they were not compared")
        return
    present = {path.name: path for path in weight_files(folder)}
    for name, expected in config.files.items():
        if name not in present:
            result.problems.append(Problem(f"{name} is not among the files of the anchor", REMAKE))
        elif hash_file(present[name]) != expected:
            result.problems.append(Problem(f"{name} has another checksum than the header says", REMAKE))


def _check_tensors(folder: Path, config: AnchorConfig, result: Verification) -> None:
    try:
        reader = open_anchor(folder)
    except AnchorError as error:
        result.problems.append(_problem(error))
        return
    for name in tqdm(sorted(config.tensors), desc="reading", unit="tensor", leave=False, disable=None):
        try:
            value = reader.tensor(name)
        except AnchorError as error:
            result.problems.append(_problem(error))
            continue
        info = config.tensors[name]
        expected, found = info.energy_kept * info.norm**2, product(value, value)
        larger = max(expected, found)
        if abs(found - expected) > _tolerance(config, info) * larger and larger > SMALLEST_SQUARE:
            text = f"{name} has the norm {found**0.5:.6g}, by the header it is {expected**0.5:.6g}"
            result.problems.append(Problem(text, REMAKE))
            continue
        result.tensors += 1
        result.bytes += stored_bytes(config, [name])


def _tolerance(config: AnchorConfig, info: TensorInfo) -> float:
    """How far the squared norm may be from the header's, as a share of it."""
    # the norm of what was rounded is off by no more than the norm of the rounding
    rounded = 2 * info.rounding_error + info.rounding_error**2
    return NORM_TOLERANCE["float32"] + rounded if rounded else NORM_TOLERANCE[config.dtype]


def _check_model(config: AnchorConfig, model: Path, result: Verification, allow_added: bool) -> None:
    try:
        found, rows = without_added_rows(config.fingerprint, model)
    except AnchorError as error:
        result.problems.append(_problem(error))
        return
    if not config.fingerprint.known:
        text = "the anchor has no fingerprint: the files of its base model were not at hand when it was made"
        result.problems.append(Problem(text, "make the anchor again with the model as a local folder"))
    elif not found.known:
        text = f"{model} has no safetensors files to compare with"
        result.problems.append(Problem(text, "save the model as safetensors, or download its safetensors files"))
    elif same_values(config.fingerprint, found):
        result.notes += compare(config.fingerprint, found)  # another dtype: the same model
        for name, count in rows.items():
            _added(result, f"{name} has more than the {count} rows of the anchor's model", allow_added)
        return
    advice = "use the anchor's base model, or make an anchor for this one (`dba_stage: anchor`)"
    differences = compare(config.fingerprint, fingerprint_folder(model) if rows else found)
    result.problems += [Problem(text, advice) for text in differences]


def _added(result: Verification, what: str, allow_added: bool) -> None:
    if allow_added:
        result.notes.append(f"added tokens, as allowed: {what}")
    else:
        result.problems.append(
            Problem(
                f"tokens were added: {what}",
                "if that was on purpose, train with `dba_allow_added_tokens: true` and verify with "
                "--allow-added-tokens: their rows get no boost",
            )
        )


def _check_tokenizer(config: AnchorConfig, model: Path, result: Verification, allow_added: bool) -> None:
    found, tokens, before = hash_tokenizer(model), count_tokens(model), config.base_model.tokens
    if not (config.tokenizer_hash and found):
        where = "model folder" if config.tokenizer_hash else "anchor's header"
        result.notes.append(f"the {where} says nothing of the tokenizer: it was not compared")
    elif config.tokenizer_hash == found:
        return
    elif before and tokens > before:
        _added(result, f"{tokens} in the tokenizer, {before} when the anchor was made", allow_added)
    else:
        result.problems.append(
            Problem(
                f"other tokenizer files: {config.tokenizer_hash[:16]} when the anchor was made, {found[:16]} here",
                "take the tokenizer files that belong to the base model. If they were only saved again by another "
                "version of transformers, text is still cut into the same tokens and the anchor can be used",
            )
        )


def _problem(error: AnchorError) -> Problem:
    details = [f"{label} {value}" for label, value in (("expected", error.expected), ("found", error.found)) if value]
    return Problem(
        " ".join([error.what, *([f"({'; '.join(details)})"] if details else [])]), error.next_step or REMAKE
    )
