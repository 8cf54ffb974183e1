"""Makes an anchor of lower rank from an anchor; tensor by tensor, so memory stays small."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tqdm.auto import tqdm

from ..core.factors import Combination, combine
from ..core.lowrank import Truncation
from ..errors import AnchorError
from .config import AnchorConfig, TensorInfo
from .format import AnchorReader, open_anchor
from .merge import SHARD_BYTES, check_out, check_rank, described, now, versions
from .store import save_anchor


def lower_rank(
    folder: str | Path, rank: int, out: str | Path, *, overwrite: bool = False, shard_bytes: int = SHARD_BYTES
) -> AnchorConfig:
    """Writes an anchor again with fewer directions per matrix.

    Norms stay those of the full mean gradient, and the energy kept stays relative to them. Matrices that were kept
    dense are factored where that saves numbers at the new rank.

    Args:
        folder: the anchor.
        rank: of the result, below that of the anchor.
        out: the new anchor's folder.
        overwrite: whether an anchor in ``out`` may be replaced.
        shard_bytes: upper bound on one file.

    Raises:
        AnchorError: a rank that is not lower, an unsound input, or a folder that cannot be written.
    """
    reader = open_anchor(folder)
    check_rank(rank)
    if rank >= reader.config.rank:
        raise AnchorError(
            "The rank of an anchor can only be lowered.",
            expected=f"1 to {reader.config.rank - 1}",
            found=rank,
            next_step="make an anchor of higher rank with an anchor run (`dba_svd_rank`)",
        )
    check_out(out, [reader.folder])
    config = replace(reader.config, rank=rank, created=now(), versions={**reader.config.versions, **versions()})
    tensors = _lowered(reader, rank)
    return save_anchor(out, tensors, config, overwrite=overwrite, shard_bytes=shard_bytes)


def _lowered(reader: AnchorReader, rank: int) -> Iterator[tuple[str, Truncation]]:
    for name, info in tqdm(
        sorted(reader.config.tensors.items()), desc="truncating", unit="tensor", leave=False, disable=None
    ):
        value = reader.tensor(name)
        if len(info.shape) < 2 or 0 < info.rank <= rank:
            yield name, Truncation(value, info.norm, info.energy_kept, info.rank, info.exact, info.shape)
            continue
        result = combine([value], [1.0], rank, info.shape, seed=reader.config.seed)
        yield name, _truncated(result, info)


def _truncated(result: Combination, info: TensorInfo) -> Truncation:
    """The old norm, and the old energy times the share of it that is left."""
    made = described(result, info.norm, info.shape, info.exact)
    return replace(made, energy_kept=info.energy_kept * (1 - result.error**2))
