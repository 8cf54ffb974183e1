"""Which rows are measured: a fixed sample, none of them asked in the training data, all with an answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DBAError


IGNORED = -100  # the host's label of a token that is not to be predicted
SEED = 20  # one for all runs, so that runs of other seeds are measured on the same rows
SPARE = 4  # so many times the wanted rows are tokenized, since some will be dropped
MEDIA = ("images", "videos", "audios")


@dataclass(frozen=True)
class Sample:
    """The rows of one set, tokenized, the shortest first (little padding within a batch).

    Attributes:
        name: of the data, for messages.
        rows: as the host's collator takes them.
        overlapping: rows left out because the training data asks the same.
        unanswered: rows left out because they have no answer token.
        cut: rows left out because they fill `cutoff_len`, so that question or answer may be cut off.
    """

    name: str
    rows: tuple[Mapping[str, Any], ...]
    overlapping: int = 0
    unanswered: int = 0
    cut: int = 0

    @property
    def answer_tokens(self) -> int:
        """How many tokens are predicted."""
        return sum(answer_tokens(row) for row in self.rows)


def order(count: int, wanted: int) -> list[int]:
    """The first rows of a fixed random order, ``SPARE`` times as many as wanted; no global generator is touched."""
    return np.random.default_rng(SEED).permutation(count)[: wanted * SPARE].tolist()


def answer_tokens(row: Mapping[str, Any]) -> int:
    """How many tokens of a row are predicted; all but the first for a text without labels (stage pt)."""
    if "labels" not in row:
        return max(len(row["input_ids"]) - 1, 0)
    return int((np.asarray(row["labels"])[1:] != IGNORED).sum())


def question(row: Mapping[str, Any]) -> bytes | None:
    """What a row asks: its tokens before the last answer, or all tokens of a text; None if it shows more than text."""
    if any(row.get(name) for name in MEDIA):
        return None
    ids = np.asarray(row["input_ids"], dtype=np.int64)
    if "labels" not in row:
        return ids.tobytes()
    starts = _starts(np.asarray(row["labels"]) != IGNORED)
    return ids[: starts[-1]].tobytes() if len(starts) else ids.tobytes()


def choose(
    name: str, candidates: Sequence[Mapping[str, Any]], asked: set[bytes], wanted: int, cutoff: int | None = None
) -> Sample:
    """The first rows that can be measured and that the training does not see.

    Args:
        name: for messages.
        candidates: tokenized rows in the sample's random order.
        asked: of the training data, those of ``questions_in``.
        wanted: `dba_gauge_samples`.
        cutoff: `cutoff_len` where only whole rows count.

    Raises:
        DBAError: none is left.
    """
    rows: list[Mapping[str, Any]] = []
    overlapping = unanswered = cut = 0
    for row in candidates:
        if len(rows) == wanted:
            break
        if not answer_tokens(row):
            unanswered += 1
        elif cutoff is not None and len(row["input_ids"]) >= cutoff:
            cut += 1
        elif question(row) in asked:
            overlapping += 1
        else:
            rows.append(row)
    if not rows:
        raise DBAError(
            f"The gauge has no row of {name} to measure.",
            expected="rows with an answer, shorter than `cutoff_len`, that are not in the training data",
            found=f"{len(candidates)} rows: {unanswered} without an answer token, {cut} that fill `cutoff_len`, "
            f"{overlapping} also in the training data",
            next_step="raise `cutoff_len`" if cut else "name held-out data",
        )
    return Sample(name, tuple(sorted(rows, key=lambda row: len(row["input_ids"]))), overlapping, unanswered, cut)


def questions_in(train: Any, wanted: Iterable[bytes | None], batch: int = 1000) -> set[bytes]:
    """Those of the wanted questions that the training data asks, too.

    Args:
        train: the tokenized training rows, a ``datasets.Dataset`` (not a stream, not packed).
        wanted: of the gauge's candidates.
        batch: rows looked at together; works on arrow's flat arrays, about a million rows in seconds.
    """
    left = {key for key in wanted if key is not None}
    found: set[bytes] = set()
    if not left:
        return found
    columns = [name for name in ("input_ids", "labels") if name in train.column_names]
    tables = train.select_columns(columns).with_format("arrow").iter(batch_size=batch)
    for table in tables:
        ids, bounds = _flat(table, "input_ids")
        ids = ids.astype(np.int64)
        ends = bounds[1:]
        if "labels" in columns:
            labels, _ = _flat(table, "labels")
            answers = labels != IGNORED
            starts = answers & ~np.concatenate([[False], answers[:-1]])
            starts[bounds[:-1][bounds[:-1] < len(starts)]] |= answers[bounds[:-1][bounds[:-1] < len(starts)]]
            places = np.flatnonzero(starts)
            last = np.searchsorted(places, bounds[1:]) - 1  # the last answer that begins before the row's end
            has = (last >= 0) & (places[last] >= bounds[:-1]) if len(places) else np.zeros(len(ends), dtype=bool)
            ends = np.where(has, places[last] if len(places) else 0, ends)
        for start, end in zip(bounds[:-1].tolist(), ends.tolist(), strict=True):
            key = ids[start:end].tobytes()
            if key in left:
                found.add(key)
    return found


def _flat(table: Any, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """A list column's values one after the other, and where each row begins and ends."""
    column = table[name].combine_chunks()
    lengths = np.asarray(column.value_lengths())
    return np.asarray(column.flatten()), np.concatenate([[0], np.cumsum(lengths)])


def _starts(answers: NDArray[np.bool_]) -> NDArray[np.intp]:
    return np.flatnonzero(answers & ~np.concatenate([[False], answers[:-1]]))
