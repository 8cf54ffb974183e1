"""What the base model said: its full distribution at fixed answer positions, kept on disk beside the run.

Forward KL needs p_base at every measurement. Instead of a second model in memory, the float32 log-probabilities of the
model as training begins are written once, whole, so that each measured position is exact. What is bounded is the
number of positions: `LIMIT` bytes hold 441 of them at a vocabulary of 152,000, all of them at a small one. The
positions are a fixed random sample, so that the mean over them estimates that over all answer tokens without bias.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ...errors import DBAError
from .rows import SEED, Sample, answer_tokens


FOLDER = "dba_gauge_base"
LIMIT = 256 * 2**20  # bytes on disk, all ranks together


class Positions(NamedTuple):
    """Which answer tokens are compared.

    ``chosen``: per row of the sample, ascending places among its answer tokens; ``total``: how many there were to
    choose from; ``digest``: of rows and places, so that a resumed run compares the same.
    """

    chosen: tuple[tuple[int, ...], ...]
    total: int
    digest: str

    @property
    def compared(self) -> int:
        """How many are compared."""
        return sum(map(len, self.chosen))


def positions(sample: Sample, vocabulary: int, limit: int = LIMIT) -> Positions:
    """A fixed random choice of answer tokens whose distributions fit into ``limit`` bytes (one at least)."""
    places = [(row, place) for row, item in enumerate(sample.rows) for place in range(answer_tokens(item))]
    room = max(1, limit // (4 * vocabulary))
    if len(places) > room:
        picked = np.random.default_rng(SEED).choice(len(places), room, replace=False)
        kept = [places[index] for index in sorted(picked.tolist())]
    else:
        kept = places
    chosen = tuple(tuple(place for row, place in kept if row == number) for number in range(len(sample.rows)))
    digest = hashlib.sha256(repr((vocabulary, chosen)).encode())
    for item in sample.rows:
        digest.update(np.asarray(item["input_ids"], dtype=np.int64).tobytes() + b"|")
    return Positions(chosen, len(places), digest.hexdigest())


class Base:
    """The stored distributions, read row by row.

    Args:
        folders: where the parts may lie, the first one that has any is taken.
        digest: of `positions`.

    Raises:
        DBAError: none has any, or they belong to other rows.
    """

    def __init__(self, folders: Sequence[Path], digest: str) -> None:
        folder = next((item for item in folders if any(item.glob("part-*.safetensors"))), None)
        if folder is None:
            raise DBAError(
                "The resumed run has lost what the base model said, so the divergence from it cannot go on.",
                expected=f"the folder {FOLDER} that the first start wrote into its `output_dir`",
                found=", ".join(str(item) for item in folders),
                next_step="put it back, or set `dba_gauge_steps: 0` to resume without the gauge",
            )
        self._place: dict[str, Any] = {}
        for path in sorted(folder.glob("part-*.safetensors")):
            part = safe_open(path, framework="pt")
            if (part.metadata() or {}).get("digest") != digest:
                raise DBAError(
                    "What the base model said is stored for other rows than this run would compare.",
                    expected="the data, template and `dba_gauge_samples` of the run's first start",
                    found=path.name,
                    next_step="resume with the settings of the first start, or set `dba_gauge_steps: 0`",
                )
            self._place.update(dict.fromkeys(part.keys(), part))

    def read(self, row: int) -> torch.Tensor:
        """Log-probabilities of one row, [its chosen positions, vocabulary], float32."""
        return self._place[str(row)].get_tensor(str(row))


def write_part(folder: Path, rank: int, rows: dict[int, torch.Tensor], digest: str) -> None:
    """Write what one rank has, beside and then in place."""
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f"part-{rank}.new"
    tensors = {str(row): value.contiguous() for row, value in rows.items()}
    save_file(tensors, fresh, metadata={"digest": digest})
    fresh.replace(folder / f"part-{rank}.safetensors")
