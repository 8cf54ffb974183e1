"""Makes one anchor from several of the same base model; tensor by tensor, so memory stays small.

What is known of a merged tensor. The inputs are truncations themselves: of input i the share w_i, the norm n_i of the
full mean gradient and the energy e_i are known, but not what was cut off, only its norm n_i √(1 − e_i). The header
says

    energy kept · norm²  =  squared norm of what is stored (this is exact)
    norm²                =  squared norm of the sum of what the inputs store + (Σ w_i n_i √(1 − e_i))²

which counts the lost parts as if they all pointed the same way: the energy kept is a cautious figure, and right where
one anchor is merged with itself. ``added_error`` is measured: what this very step cut off, relative to the sum.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from tqdm.auto import tqdm

from ..core.factors import Combination, combine
from ..core.lowrank import LowRank, Truncation
from ..errors import AnchorError
from .config import AnchorConfig, GeneralData, Source, TensorInfo
from .differences import compare, same_values
from .format import AnchorReader, open_anchor
from .origin import name_of
from .store import save_anchor


# Files of a merged anchor: no more than this waits in memory to be written.
SHARD_BYTES = 10**9


class Merged(NamedTuple):
    """The header as written, and what the user should know besides."""

    config: AnchorConfig
    notes: list[str]


def merge(
    folders: Sequence[str | Path],
    out: str | Path,
    *,
    weights: Sequence[float] | None = None,
    rank: int | None = None,
    overwrite: bool = False,
    shard_bytes: int = SHARD_BYTES,
) -> Merged:
    """Writes the weighted mean of anchors of one base model.

    Args:
        folders: two anchors or more.
        out: the new anchor's folder.
        weights: one per anchor, any positive numbers: only their ratios count. Equal by default. With the number of
            samples averaged (``steps · global_batch``, see `by_samples`) the result is the anchor of all data in one.
        rank: of the result; by default the highest rank of the inputs. With the sum of the ranks nothing is cut off.
        overwrite: whether an anchor in ``out`` may be replaced.
        shard_bytes: upper bound on one file.

    Raises:
        AnchorError: other base models or shapes, weights or a rank that make no sense, an unsound input, or a folder
            that cannot be written. What was in ``out`` is still there then.
    """
    readers = [open_anchor(folder) for folder in folders]
    shares = _shares(readers, weights)
    notes = _check_same_base(readers)
    with_curvature = sum(reader.config.curvature is not None for reader in readers)
    if with_curvature:
        notes.append(
            f"{with_curvature} of {len(readers)} anchors have a curvature, which cannot be merged: the new anchor has "
            "none and cannot be used with `dba_variant: elastic`; make one anchor from all the data for that"
        )
    configs = [reader.config for reader in readers]
    rank = check_rank(max(config.rank for config in configs) if rank is None else rank)
    check_out(out, [reader.folder for reader in readers])
    config = _header(readers, shares, min(rank, sum(config.rank for config in configs)))
    tensors = _merged(readers, shares, rank, config.seed)
    return Merged(save_anchor(out, tensors, config, overwrite=overwrite, shard_bytes=shard_bytes), notes)


def by_samples(folders: Sequence[str | Path]) -> list[float]:
    """Weights for `merge`: samples averaged in each anchor."""
    configs = [open_anchor(folder).config for folder in folders]
    return [float(config.steps * config.global_batch) for config in configs]


def _merged(
    readers: Sequence[AnchorReader], shares: Sequence[float], rank: int, seed: int
) -> Iterator[tuple[str, Truncation]]:
    for name in tqdm(sorted(readers[0].config.tensors), desc="merging", unit="tensor", leave=False, disable=None):
        infos = [reader.config.tensors[name] for reader in readers]
        result = combine([reader.tensor(name) for reader in readers], shares, rank, infos[0].shape, seed=seed)
        lost = sum(
            share * info.norm * math.sqrt(1 - info.energy_kept) for share, info in zip(shares, infos, strict=True)
        )
        # the best of its rank only if nothing had been cut off before
        whole = all(info.exact and info.energy_kept == 1 for info in infos)
        made = described(result, math.hypot(result.norm, lost), infos[0].shape, whole)
        rounded = [rounded_before(reader.config, name) for reader in readers]
        yield name, replace(made, rounding_error=_rounded_in_sum(infos, shares, rounded, result.norm))


def rounded_before(config: AnchorConfig, name: str) -> float:
    """What rounding has changed in a tensor of an anchor, as a share of its norm.

    Early versions did not say it of bfloat16: 2^-9 then, which is what was measured of others.
    """
    if config.dtype == "bfloat16" and config.totals and not config.totals.rounding_error:
        return 2**-9
    return config.tensors[name].rounding_error


def _rounded_in_sum(
    infos: Sequence[TensorInfo], shares: Sequence[float], rounded: Sequence[float], norm: float
) -> float:
    """What rounding had changed in the inputs, as a share of the norm of their sum; independent errors."""
    parts = zip(infos, shares, rounded, strict=True)
    errors = [share * info.norm * math.sqrt(info.energy_kept) * error for info, share, error in parts]
    return math.hypot(*errors) / norm if norm else 0.0


def described(result: Combination, norm: float, shape: tuple[int, ...], whole: bool) -> Truncation:
    """What `save_anchor` takes; ``norm``: of the full tensor; ``whole``: nothing of it was lost before."""
    rank = result.value.right.shape[0] if isinstance(result.value, LowRank) else 0
    stored = result.norm**2 * (1 - result.error**2)
    energy = min(1.0, stored / norm**2) if norm else 1.0
    return Truncation(result.value, norm, energy, rank, whole and result.optimal, shape, result.error)


def _shares(readers: Sequence[AnchorReader], weights: Sequence[float] | None) -> list[float]:
    """Weights that add up to 1."""
    if len(readers) < 2:
        raise AnchorError("There is nothing to merge.", expected="two anchors or more", found=len(readers))
    weights = [1.0] * len(readers) if weights is None else list(weights)
    if len(weights) != len(readers) or not all(math.isfinite(weight) and weight > 0 for weight in weights):
        raise AnchorError(
            "These weights cannot be used.",
            expected=f"{len(readers)} numbers above 0, one per anchor; only their ratios count",
            found=", ".join(f"{weight:g}" for weight in weights),
            next_step="leave an anchor out instead of giving it the weight 0",
        )
    return [weight / math.fsum(weights) for weight in weights]


def check_rank(rank: int) -> int:
    """A rank that can be asked for.

    Raises:
        AnchorError: it is below 1.
    """
    if rank < 1:
        raise AnchorError("The rank of the anchor cannot be used.", expected="1 or more", found=rank)
    return rank


def check_out(out: str | Path, inputs: Sequence[Path]) -> None:
    """A folder for the result that is neither an input nor full of other things.

    Raises:
        AnchorError: it is.
    """
    out = Path(out)
    if any(out.resolve() == folder.resolve() for folder in inputs):
        raise AnchorError("The result would replace one of its inputs.", expected="another folder", found=str(out))
    if out.is_dir() and any(out.iterdir()) and not (out / "anchor_config.json").is_file():
        raise AnchorError(
            "The folder for the result holds other files.", expected="an empty or a new folder", found=str(out)
        )


def _check_same_base(readers: Sequence[AnchorReader]) -> list[str]:
    """Refuses anchors of different models; says what is only odd."""
    notes = []
    first = readers[0]
    for other in readers[1:]:
        differing = _other_tensors(first.config, other.config) or _other_base(first.config, other.config)
        if differing:
            raise AnchorError(
                "Anchors of different base models cannot be merged.",
                expected=f"{first.folder}: {first.config.base_model.id}",
                found=f"{other.folder}: {other.config.base_model.id}; {'; '.join(differing)}",
                next_step="merge anchors that were made from the same base model",
            )
        if first.config.tokenizer_hash != other.config.tokenizer_hash:
            notes.append(f"{name_of(first.folder)} and {name_of(other.folder)} have different tokenizer files")
        if first.config.template != other.config.template:
            notes.append(
                f"{name_of(first.folder)} was made with template {first.config.template or 'none'}, "
                f"{name_of(other.folder)} with {other.config.template or 'none'}"
            )
    return notes


def _other_tensors(first: AnchorConfig, other: AnchorConfig) -> list[str]:
    texts = []
    for label, names in (
        ("only in the first", first.tensors.keys() - other.tensors.keys()),
        ("only in the other", other.tensors.keys() - first.tensors.keys()),
    ):
        if names:
            texts.append(f"{len(names)} tensors {label}, such as {min(names)}")
    for name in sorted(first.tensors.keys() & other.tensors.keys()):
        left, right = first.tensors[name].shape, other.tensors[name].shape
        if left != right:
            return [*texts, f"another shape of {name}: {list(left)} and {list(right)}"]
    return texts


def _other_base(first: AnchorConfig, other: AnchorConfig) -> Sequence[str]:
    if first.fingerprint.known and other.fingerprint.known:
        # another dtype alone is the same model
        same = same_values(first.fingerprint, other.fingerprint)
        return [] if same else compare(first.fingerprint, other.fingerprint)
    if (first.base_model.id, first.base_model.revision) == (other.base_model.id, other.base_model.revision):
        return []
    return ["at least one has no fingerprint of its base model, and their ids or revisions differ"]


def _header(readers: Sequence[AnchorReader], shares: Sequence[float], rank: int) -> AnchorConfig:
    configs = [reader.config for reader in readers]
    known = next((config for config in configs if config.fingerprint.known), configs[0])
    steps = sum(config.steps for config in configs)
    samples = sum(config.steps * config.global_batch for config in configs)
    hashes = [config.data.hash for config in configs]
    return AnchorConfig(
        base_model=known.base_model,
        fingerprint=known.fingerprint,
        data=GeneralData(
            datasets=tuple(dict.fromkeys(name for config in configs for name in config.data.datasets)),
            samples=sum(config.data.samples for config in configs),
            tokens=sum(config.data.tokens for config in configs),
            hash=hashlib.sha256("|".join(hashes).encode()).hexdigest()[:16] if all(hashes) else "",
            origins=_origins(config.data.origins for config in configs),
        ),
        steps=steps,
        global_batch=round(samples / steps) if steps else 0,
        stage=_joined(config.stage for config in configs),
        rank=rank,
        dtype="float32" if any(config.dtype == "float32" for config in configs) else "bfloat16",
        seed=configs[0].seed,
        tokenizer_hash=configs[0].tokenizer_hash if len({c.tokenizer_hash for c in configs}) == 1 else "",
        template_hash=configs[0].template_hash if len({c.template_hash for c in configs}) == 1 else "",
        template=_joined(config.template for config in configs),
        versions=versions(),
        licence=_joined((config.licence for config in configs), ", "),
        created=now(),
        sources=tuple(s for reader, share in zip(readers, shares, strict=True) for s in _sources(reader, share)),
    )


def _origins(of_inputs: Iterable[dict[str, str]]) -> dict[str, str]:
    """Data sets of one name may have come from different places."""
    found: dict[str, list[str]] = {}
    for origins in of_inputs:
        for name, line in origins.items():
            found.setdefault(name, []).append(line)
    return {name: " | ".join(dict.fromkeys(lines)) for name, lines in found.items()}


def _sources(reader: AnchorReader, share: float) -> list[Source]:
    """What a merged anchor was made from counts as made from by the next one."""
    config = reader.config
    if config.sources:
        return [replace(source, weight=source.weight * share) for source in config.sources]
    return [
        Source(
            name=name_of(reader.folder),
            weight=share,
            data=config.data,
            steps=config.steps,
            global_batch=config.global_batch,
            stage=config.stage,
            rank=config.rank,
            template=config.template,
            norm=config.totals.norm if config.totals else 0.0,
            energy_kept=config.totals.energy_kept if config.totals else 1.0,
            created=config.created,
        )
    ]


def _joined(texts: Iterator[str], separator: str = "+") -> str:
    return separator.join(dict.fromkeys(part for text in texts for part in text.split(separator) if part))


def versions() -> dict[str, str]:
    """Of the tools, for the header."""
    return {name: version(name) for name in ("llamafactory-dba", "torch")}


def now() -> str:
    """Date and time, for the header."""
    return datetime.now(UTC).isoformat(timespec="seconds")
