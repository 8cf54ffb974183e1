import pytest
import torch
from anchor.helpers import config, truncations

from llamafactory_dba.anchor.format import save_anchor


@pytest.fixture(autouse=True)
def _same_random_numbers_in_every_run():
    torch.manual_seed(0)


@pytest.fixture
def make(tmp_path):
    """Writes an anchor and returns its folder."""

    def make(name, *, rank=4, seed=0, items=None, **changes):
        save_anchor(tmp_path / name, items or truncations(rank, seed), config(rank=rank, **changes))
        return tmp_path / name

    return make
