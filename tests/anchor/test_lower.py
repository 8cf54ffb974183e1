import dataclasses
import math

import pytest
import reference
import torch
from anchor.helpers import FP32, assert_close, config, dense

from llamafactory_dba.anchor.format import read_config, save_anchor
from llamafactory_dba.anchor.lower import lower_rank
from llamafactory_dba.core.lowrank import LowRank, truncate
from llamafactory_dba.errors import AnchorError


MATRIX = "model.embed_tokens.weight"


@pytest.mark.parametrize("rank", [1, 3])
def test_truncated_as_the_dense_matrices_would_be(tmp_path, make, rank):
    folder = make("a", rank=8)
    written = lower_rank(folder, rank, tmp_path / "out")
    before, whole, found = read_config(folder), dense(folder), dense(tmp_path / "out")
    assert written == read_config(tmp_path / "out") and written.rank == rank
    for name, info in written.tensors.items():
        assert info.norm == before.tensors[name].norm, "that of the full mean gradient"
        if not info.rank:
            assert (found[name] == whole[name]).all()
            continue
        matrix = whole[name].reshape(-1, whole[name].shape[-1])
        best, energy = reference.best_rank(matrix, rank)
        assert info.rank == rank
        assert abs(found[name].reshape(matrix.shape) - best).max() <= FP32 * abs(best).max()
        assert info.energy_kept == pytest.approx(before.tensors[name].energy_kept * energy, rel=FP32)
        # so it is the share of the *full* norm
        assert info.energy_kept * info.norm**2 == pytest.approx(float((best**2).sum()), rel=FP32)
        assert info.added_error == pytest.approx(math.sqrt(1 - energy), rel=1e-4)
    assert written.data == before.data and written.half_cosine == before.half_cosine


def test_truncating_equals_an_anchor_of_that_rank(tmp_path, make):
    """The directions that are left are the first ones of the exact SVD, whatever the way there."""
    lower_rank(make("high", rank=8), 3, tmp_path / "out")
    direct = make("low", rank=3)
    assert_close(dense(tmp_path / "out"), dense(direct))
    for name, info in read_config(direct).tensors.items():
        found = read_config(tmp_path / "out").tensors[name]
        assert (found.shape, found.rank, found.exact) == (info.shape, info.rank, info.exact)
        assert found.energy_kept == pytest.approx(info.energy_kept, rel=FP32)


def test_dense_matrices_are_factored_where_that_saves_now(tmp_path, make):
    folder = make("a", rank=16)
    assert read_config(folder).tensors[MATRIX].rank == 0
    assert lower_rank(folder, 3, tmp_path / "out").tensors[MATRIX].rank == 3


@pytest.mark.parametrize("rank", [0, 4, 9])
def test_a_rank_that_is_not_lower(tmp_path, make, rank):
    with pytest.raises(AnchorError, match="rank"):
        lower_rank(make("a"), rank, tmp_path / "out")


def test_factors_that_are_not_orthogonal(tmp_path):
    """Of another program, say; `save_anchor` does not ask."""
    left, right = torch.randn(60, 5), torch.randn(5, 20)
    item = dataclasses.replace(truncate(torch.randn(60, 20), 5), value=LowRank(left, right))
    save_anchor(tmp_path / "a", {"w": item}, config(rank=5))
    lower_rank(tmp_path / "a", 2, tmp_path / "out")
    best, _ = reference.best_rank(left.double() @ right.double(), 2)
    assert abs(dense(tmp_path / "out")["w"] - best).max() <= FP32 * abs(best).max()
