"""A network of two layers, a curvature of each kind for it, and the optimizers that hooks are tested on."""

import torch
from torch import nn

from llamafactory_dba.anchor.curvature import TensorCurvature
from llamafactory_dba.core.fisher import Product
from llamafactory_dba.core.kronecker import Term
from llamafactory_dba.core.moments import Spectrum


STEPS = 10
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "adamw foreach": lambda p: torch.optim.AdamW(p, lr=0.01, foreach=True),
    "adamw fused": lambda p: torch.optim.AdamW(p, lr=0.01, fused=True),
    "two groups": lambda p: torch.optim.AdamW([{"params": p[:2], "lr": 0.02}, {"params": p[2:]}], lr=0.01),
}


def make_model(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def spectrum(size, rank, seed):
    vectors = torch.linalg.qr(random(size, size, seed=seed)).Q[:, :rank].contiguous()
    return Spectrum(torch.arange(rank, 0, -1, dtype=torch.float64), vectors, 0.2 if rank < size else 0.0)


def make_curvature(kind):
    """By name, and the same as dense matrices."""
    found = {}
    for seed, (name, parameter) in enumerate(make_model().named_parameters()):
        shape = tuple(parameter.shape)
        if len(shape) == 1 or kind == "diagonal":
            found[name] = TensorCurvature((), random(*shape, seed=seed).abs())
        elif kind == "factored":
            product = Product(random(shape[0], seed=seed).abs(), random(shape[1], seed=seed + 9).abs())
            found[name] = TensorCurvature((), product)
        else:
            term = Term(spectrum(shape[0], 2, seed), spectrum(shape[1], 4, seed + 9))
            found[name] = TensorCurvature((term,), None)
    return found


def backward(model, step):
    model.zero_grad()
    model(random(5, 6, seed=100 + step)).square().mean().backward()


def base_of(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
