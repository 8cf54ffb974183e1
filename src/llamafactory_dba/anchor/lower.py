"""Makes a smaller anchor from an anchor, of lower rank or another dtype; tensor by tensor, so memory stays small."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tqdm.auto import tqdm

from ..core.factors import Combination, combine
from ..core.lowrank import Truncation
from ..errors import AnchorError
from .config import DTYPES, AnchorConfig, TensorInfo
from .curvature import CURVATURE
from .format import AnchorReader, open_anchor
from .merge import SHARD_BYTES, check_out, check_rank, described, now, rounded_before, versions
from .store import save_anchor


def lower_rank(
    folder: str | Path,
    rank: int | None,
    out: str | Path,
    *,
    dtype: str | None = None,
    overwrite: bool = False,
    shard_bytes: int = SHARD_BYTES,
) -> AnchorConfig:
    """Writes an anchor again with fewer directions per matrix, or with its numbers in another dtype, or both.

    Norms stay those of the full mean gradient, and the energy kept stays relative to them. Matrices that were kept
    dense are factored where that saves numbers at the new rank. A curvature goes along as it is.

    Args:
        folder: the anchor.
        rank: of the result, below that of the anchor; None: as it is.
        out: the new anchor's folder.
        dtype: of the stored numbers, by default as they are. What was rounded before stays so.
        overwrite: whether an anchor in ``out`` may be replaced.
        shard_bytes: upper bound on one file.

    Raises:
        AnchorError: a rank that is not lower, an unknown dtype, nothing to change, an unsound input, or a folder that
            cannot be written.
    """
    reader = open_anchor(folder)
    dtype = _dtype(reader.config, rank, dtype)
    rank = reader.config.rank if rank is None else _rank(reader.config, rank)
    check_out(out, [reader.folder])
    config = replace(
        reader.config, rank=rank, dtype=dtype, created=now(), versions={**reader.config.versions, **versions()}
    )
    tensors = _lowered(reader, rank)
    curvature = reader.folder / CURVATURE if config.curvature is not None else None
    return save_anchor(out, tensors, config, overwrite=overwrite, shard_bytes=shard_bytes, curvature=curvature)


def _rank(config: AnchorConfig, rank: int) -> int:
    check_rank(rank)
    if rank >= config.rank:
        raise AnchorError(
            "The rank of an anchor can only be lowered.",
            expected=f"1 to {config.rank - 1}",
            found=rank,
            next_step="make an anchor of higher rank with an anchor run (`dba_svd_rank`)",
        )
    return rank


def _dtype(config: AnchorConfig, rank: int | None, dtype: str | None) -> str:
    if dtype is not None and dtype not in DTYPES:
        raise AnchorError("This dtype is not known.", expected=" or ".join(DTYPES), found=dtype)
    if rank is None and dtype in (None, config.dtype):
        raise AnchorError(
            "There is nothing to change in this anchor.",
            expected=f"a rank below {config.rank}, or a dtype other than {config.dtype}",
            found=f"no rank and {f'dtype {dtype}' if dtype else 'no dtype'}",
            next_step="give --rank, --dtype int8, or both",
        )
    return dtype or config.dtype


def _lowered(reader: AnchorReader, rank: int) -> Iterator[tuple[str, Truncation]]:
    for name, info in tqdm(
        sorted(reader.config.tensors.items()), desc="truncating", unit="tensor", leave=False, disable=None
    ):
        value = reader.tensor(name)
        if len(info.shape) < 2 or 0 < info.rank <= rank or rank == reader.config.rank:
            made = Truncation(value, info.norm, info.energy_kept, info.rank, info.exact, info.shape)
        else:
            made = _truncated(combine([value], [1.0], rank, info.shape, seed=reader.config.seed), info)
        yield name, replace(made, rounding_error=rounded_before(reader.config, name))


def _truncated(result: Combination, info: TensorInfo) -> Truncation:
    """The old norm, and the old energy times the share of it that is left."""
    made = described(result, info.norm, info.shape, info.exact)
    return replace(made, energy_kept=info.energy_kept * (1 - result.error**2))
