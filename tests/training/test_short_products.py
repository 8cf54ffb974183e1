"""When products with Kronecker factors are made in bf16: where training is in bf16 and not on a CPU, unless told."""

from types import SimpleNamespace

import pytest
import torch

from llamafactory_dba.training.holding_callback import short_products


# "meta" stands for a GPU: the choice depends on the kind of device alone
@pytest.mark.parametrize(
    "wanted, base, bf16, dtype, device, short",
    [
        ("auto", "device", True, torch.float32, "meta", True),
        ("auto", "host", False, torch.bfloat16, "meta", True),
        ("auto", "device", False, torch.float32, "meta", False),
        ("auto", "device", True, torch.float32, "cpu", False),
        ("auto", "none", True, torch.float32, "meta", False),
        ("float32", "device", True, torch.float32, "meta", False),
        ("bfloat16", "device", False, torch.float32, "cpu", True),
    ],
)
def test_when_they_are_short(wanted, base, bf16, dtype, device, short):
    arguments = SimpleNamespace(dba_elastic_products=wanted, dba_elastic_base=base)
    parameter = torch.nn.Parameter(torch.empty(2, 2, dtype=dtype, device=device))
    found = short_products(arguments, SimpleNamespace(bf16=bf16), parameter)
    assert found == (torch.bfloat16 if short else None)
