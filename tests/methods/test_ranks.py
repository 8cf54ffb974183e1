"""Two ranks of plain torch DDP with a hook each: the same weights on both, bit for bit."""

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from llamafactory_dba.core.lowrank import LowRank
from llamafactory_dba.methods.interface import Wiring
from llamafactory_dba.methods.registry import load_method
from llamafactory_dba.training.hooks import Target, attach


pytestmark = pytest.mark.distributed


class Arguments:
    dba_pcgrad_weight = 1.0


def train(rank, variant, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 24), nn.Tanh(), nn.Linear(24, 4))
    anchor = {name: torch.randn(p.shape) for name, p in model.named_parameters()}
    anchor["0.weight"] = LowRank(torch.randn(24, 3), torch.randn(3, 16))
    records = []
    wiring = Wiring(
        targets=[Target(name, p, anchor[name]) for name, p in model.named_parameters()],
        total_steps=20,
        current_step=lambda: len(records),
        on_step=records.append,
        tolerate_overflow=lambda: False,
        on_sums=lambda step, present, rows: None,
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    attach(optimizer, load_method(variant).make_hook(Arguments(), wiring))
    parallel = DistributedDataParallel(model)
    source = torch.Generator().manual_seed(rank)  # other data on every rank
    for _ in range(20):
        optimizer.zero_grad()
        parallel(torch.randn(8, 16, generator=source)).square().mean().backward()
        optimizer.step()
    torch.save((model.state_dict(), records), folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("variant", ["agem", "pcgrad", "gradnorm_equal"])
def test_both_ranks_end_equal(tmp_path, variant):
    torch.multiprocessing.spawn(train, (variant, tmp_path), nprocs=2)
    (first, records), (second, others) = (torch.load(tmp_path / f"{r}.pt", weights_only=False) for r in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert records == others
    assert variant != "agem" or 0 < sum(record.conflict for record in records), "or nothing was edited"
