import numpy as np
import pytest
import reference
import torch

from llamafactory_dba.core import fused
from llamafactory_dba.core.fused import blend_, sums
from llamafactory_dba.core.lowrank import LowRank, reconstruct, truncate
from llamafactory_dba.errors import DBAError


SHAPES = [(), (1,), (37,), (1, 9), (50, 40), (7, 300), (3, 20, 30)]
# rounding of the blend relative to the larger operand; products of 4 terms with numbers up to about 20
ATOL = {torch.float64: 1e-13, torch.float32: 1e-5, torch.bfloat16: 0.1, torch.float16: 0.02}


def anchor_for(shape, kind, seed=0):
    generator = torch.Generator().manual_seed(1000 + seed)  # never the numbers of the gradient
    tensor = torch.randn(shape, generator=generator)
    if kind == "dense" or tensor.dim() < 2:
        return tensor
    rows, cols = tensor.reshape(-1, shape[-1]).shape
    return LowRank(torch.randn(rows, 4, generator=generator), torch.randn(4, cols, generator=generator))


def dense_of(value, shape):
    return reconstruct(value, dtype=torch.float64).reshape(shape)


def check(grad, value, weight, **options):
    before = grad.clone()
    dense = dense_of(value, grad.shape)
    result = blend_(grad, value, weight, **options)
    expected = torch.as_tensor(reference.blend(before, dense, weight))
    torch.testing.assert_close(grad.double(), expected, rtol=0, atol=ATOL[grad.dtype])
    # at most 2000 products of size up to about 20; low-precision gradients are widened first, so fp32 rounding only
    tolerance = 1e-10 if grad.dtype == torch.float64 else 2e-3
    assert float(result.dot) == pytest.approx(float((before.double() * dense).sum()), abs=tolerance)
    assert float(result.grad_sq) == pytest.approx(float((before.double() ** 2).sum()), rel=1e-5)
    return result


@pytest.mark.parametrize("kind", ["dense", "factored"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weight", [0.0, 0.02, 0.6, 1.0])
def test_every_shape_matches_the_twin(shape, kind, weight):
    check(torch.randn(shape), anchor_for(shape, kind), weight)


@pytest.mark.parametrize("kind", ["dense", "factored"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(37,), (50, 40)])
def test_every_dtype_matches_the_twin(shape, dtype, kind):
    check(torch.randn(shape).to(dtype), anchor_for(shape, kind), 0.3, tile_elements=128)


@pytest.mark.parametrize("kind", ["dense", "factored"])
@pytest.mark.parametrize("anchor_dtype", [torch.float64, torch.bfloat16])
def test_anchors_of_another_dtype(kind, anchor_dtype):
    value = anchor_for((50, 40), kind)
    cast = LowRank(*(p.to(anchor_dtype) for p in value)) if kind == "factored" else value.to(anchor_dtype)
    check(torch.randn(50, 40), cast, 0.3)


def views():
    torch.manual_seed(0)
    base = torch.randn(60, 80)
    yield "transposed", base.T
    yield "columns", base[:, 10:50]
    yield "every second", base[::2]
    yield "strided vector", base[:, 3]
    yield "3-D permuted", torch.randn(5, 6, 7).permute(2, 0, 1)
    yield "3-D viewable", torch.randn(5, 6, 14)[:, :, :7].contiguous()


@pytest.mark.parametrize("kind", ["dense", "factored"])
@pytest.mark.parametrize("name, grad", list(views()), ids=lambda x: x if isinstance(x, str) else "")
def test_strides(name, grad, kind):
    grad = grad.clone(memory_format=torch.preserve_format)
    stride = grad.stride()
    check(grad, anchor_for(grad.shape, kind), 0.4, tile_elements=100)
    assert grad.stride() == stride


def test_a_view_changes_only_its_own_elements():
    base = torch.zeros(6, 8)
    blend_(base[:, 2:4], torch.ones(6, 2), 1.0)
    assert base.sum() == 12 and base[:, 2:4].sum() == 12


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tile", [1, 39, 40, 41, 400, 10**6])
def test_tiles_do_not_change_the_result(tile, dtype):
    value = anchor_for((50, 40), "factored")
    whole, tiled = (torch.randn(50, 40, generator=torch.Generator().manual_seed(1)).to(dtype) for _ in range(2))
    one = blend_(whole, value, 0.3, tile_elements=10**9)
    many = blend_(tiled, value, 0.3, tile_elements=tile)
    # BLAS sums four terms in another order for another block height: some units in the last place of fp32 (which
    # may tip the rounding to bf16)
    torch.testing.assert_close(tiled, whole, rtol=1e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-5)
    assert float(many.dot) == pytest.approx(float(one.dot), abs=1e-3)  # fp32 sums of 2000 products, other order
    assert float(many.grad_sq) == pytest.approx(float(one.grad_sq), rel=1e-5)


@pytest.mark.parametrize("kind", ["dense", "factored"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_weight_zero_leaves_every_bit(dtype, kind):
    grad = torch.randn(50, 40).to(dtype)
    grad[0, 0], grad[0, 1] = -0.0, torch.finfo(dtype).tiny / 2  # a negative zero and a subnormal
    before = grad.clone()
    result = blend_(grad, anchor_for((50, 40), kind), 0.0)
    assert torch.equal(grad.view(torch.uint8), before.view(torch.uint8))
    only = sums(before, anchor_for((50, 40), kind))
    assert torch.equal(result.dot, only.dot) and torch.equal(result.grad_sq, only.grad_sq)


def test_sums_leave_the_gradient_alone_and_do_not_depend_on_the_weight():
    value = anchor_for((50, 40), "factored")
    grad = torch.randn(50, 40)
    before = grad.clone()
    read = sums(grad, value)
    assert torch.equal(grad, before)
    blended = blend_(grad, value, 0.7)
    assert torch.equal(read.dot, blended.dot) and torch.equal(read.grad_sq, blended.grad_sq)


@pytest.mark.parametrize("kind", ["dense", "factored"])
def test_weight_one_gives_the_anchor(kind):
    grad, value = torch.randn(50, 40), anchor_for((50, 40), kind)
    blend_(grad, value, 1.0)
    torch.testing.assert_close(grad, reconstruct(value), rtol=1e-6, atol=1e-6)  # exact but for BLAS' block heights
    if kind == "dense":
        assert torch.equal(grad, value)


def test_full_rank_equals_dense():
    matrix = torch.randn(40, 30)
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    factored, dense = (torch.randn(40, 30, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    first = blend_(factored, LowRank(u * s, vh), 0.4)
    second = blend_(dense, truncate(matrix, 512).value, 0.4)
    torch.testing.assert_close(factored, dense, rtol=0, atol=1e-5)  # fp32 SVD, singular values up to about 12
    assert float(first.dot) == pytest.approx(float(second.dot), abs=1e-3)


def test_similarity_of_several_tensors():
    """What the training hooks do: add the sums over tensors, then equation 7."""
    shapes = [(37,), (50, 40), (3, 20, 30)]
    grads = [torch.randn(shape) for shape in shapes]
    values = [anchor_for(shape, "factored", seed) for seed, shape in enumerate(shapes)]
    parts = [sums(grad, value) for grad, value in zip(grads, values, strict=True)]
    anchors = [dense_of(value, shape) for value, shape in zip(values, shapes, strict=True)]
    anchor_norm = float(torch.cat([anchor.reshape(-1) for anchor in anchors]).norm())
    s = abs(sum(float(p.dot) for p in parts)) / sum(float(p.grad_sq) for p in parts) ** 0.5 / anchor_norm
    assert s == pytest.approx(reference.similarity(grads, anchors), abs=1e-6)  # fp32 sums


@pytest.mark.parametrize(
    "value",
    [
        torch.ones(40, 50),
        torch.ones(1),
        torch.ones(40),
        LowRank(torch.ones(50, 2), torch.ones(2, 41)),
        LowRank(torch.ones(40, 2), torch.ones(2, 50)),
    ],
)
def test_shapes_that_do_not_belong_together(value):
    with pytest.raises(DBAError, match="different shapes"):
        blend_(torch.zeros(50, 40), value, 0.5)


@pytest.mark.parametrize("weight", [-0.1, 1.0001, float("nan")])
def test_weights_out_of_range(weight):
    with pytest.raises(DBAError, match="boost weight"):
        blend_(torch.zeros(2), torch.ones(2), weight)


def test_gradients_with_nan_show_in_the_sums():
    grad = torch.randn(50, 40)
    grad[3, 3] = float("nan")
    result = blend_(grad, anchor_for((50, 40), "factored"), 0.5, tile_elements=100)
    assert not torch.isfinite(result.dot) and not torch.isfinite(result.grad_sq)


def test_memory_stays_below_one_tile():
    """Whatever is allocated during a blend, counted by torch's own profiler, is one tile and a few scalars."""
    grad, value, tile = torch.randn(512, 512), anchor_for((512, 512), "factored"), 2**14
    with torch.profiler.profile(profile_memory=True, acc_events=True) as profile:
        blend_(grad, value, 0.5, tile_elements=tile)
    allocated = [event.cpu_memory_usage for event in profile.events() if event.cpu_memory_usage > 0]
    assert max(allocated) <= 4 * tile
    assert sum(size for size in allocated if size > 4096) <= 2 * 4 * tile  # parents repeat what their children took


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_blending_many_steps_of_adam_matches_the_twin(dtype):
    """γ blended into a stream of gradients, seen through Adam: equation 9 without its rate."""
    generator = torch.Generator().manual_seed(0)
    anchor, weight = torch.randn(20, 30, generator=generator), 0.25
    grads = [torch.randn(20, 30, generator=generator).to(dtype) for _ in range(5)]
    expected = reference.adam_direction([reference.blend(grad, anchor, weight) for grad in grads])
    parameter = torch.nn.Parameter(torch.zeros(20, 30))
    optimizer = torch.optim.Adam([parameter], lr=1.0)
    for grad in grads:
        before = parameter.detach().clone()
        blend_(grad, anchor, weight)
        parameter.grad = grad.float()
        optimizer.step()
    found = (before - parameter.detach()).numpy()
    # fp32: the difference of parameters of order 5; bf16: gradients rounded to 8 bits once
    np.testing.assert_allclose(found, expected, atol=2e-2 if dtype == torch.bfloat16 else 1e-5)


@pytest.mark.parametrize("kind", ["dense", "factored"])
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_bf16_way_of_gpus_computed_on_the_cpu(monkeypatch, kind, weight):
    monkeypatch.setattr(fused, "_work_dtype", lambda grad: grad.dtype)
    grad = torch.randn(500, 400).bfloat16()
    value = anchor_for((500, 400), kind)
    value = LowRank(*(p.bfloat16() for p in value)) if kind == "factored" else value.bfloat16()
    before, dense = grad.clone(), dense_of(value, grad.shape)
    result = blend_(grad, value, weight, tile_elements=5000)
    expected = torch.from_numpy(reference.blend(before, dense, weight))
    torch.testing.assert_close(grad.double(), expected, rtol=0, atol=0.1)  # 8 bits of numbers up to about 15
    if not weight:
        assert torch.equal(grad, before)
    # products rounded to 8 bits, 200,000 of them: far below any similarity of use
    scale = float(before.double().norm() * dense.norm())
    assert abs(float(result.dot) - float((before.double() * dense).sum())) < 1e-4 * scale
    assert float(result.grad_sq) == pytest.approx(float((before.double() ** 2).sum()), rel=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["dense", "factored"])
def test_on_a_gpu(kind, dtype):
    grad = torch.randn(500, 400, device="cuda").to(dtype)
    value = anchor_for((500, 400), kind)
    value = LowRank(*(p.to(grad) for p in value)) if kind == "factored" else value.to(grad)
    before, dense = grad.double(), dense_of(value, grad.shape)
    result = blend_(grad, value, 0.3, tile_elements=5000)
    tolerance = 0.1 if dtype == torch.bfloat16 else 1e-4  # bf16: 8 bits of numbers up to about 10
    torch.testing.assert_close(grad.double(), 0.3 * dense + 0.7 * before, rtol=0, atol=tolerance)
    scale = float(before.norm() * dense.norm())
    assert abs(float(result.dot) - float((before * dense).sum())) < 1e-3 * scale  # well below any similarity of use
    assert float(result.grad_sq) == pytest.approx(float((before**2).sum()), rel=1e-4)


@pytest.mark.parametrize("kind", ["dense", "factored"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weights", [(1.0, -0.7), (1.4, 0.3), (0.0, 2.0)])
def test_combination_matches_its_formula(shape, kind, weights):
    grad, value = torch.randn(shape), anchor_for(shape, kind)
    before, dense = grad.double(), dense_of(value, shape)
    found = fused.combine_(grad, value, *weights, tile_elements=100)
    torch.testing.assert_close(grad.double(), weights[0] * before + weights[1] * dense, rtol=0, atol=ATOL[grad.dtype])
    assert float(found.dot) == pytest.approx(float((before * dense).sum()), abs=2e-3)  # as in `check`


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("view", ["whole", "transposed"])
def test_combination_in_every_dtype(dtype, view):
    grad, value = torch.randn(40, 50).T.to(dtype), anchor_for((50, 40), "factored")
    grad = grad if view == "transposed" else grad.contiguous()
    expected = 1.5 * grad.double() - 0.5 * dense_of(value, (50, 40))
    fused.combine_(grad, value, 1.5, -0.5, tile_elements=128)
    torch.testing.assert_close(grad.double(), expected, rtol=0, atol=ATOL[dtype])


def test_combination_with_one_and_zero_touches_nothing():
    grad = torch.randn(50, 40).to(torch.bfloat16)
    before = grad.clone()
    fused.combine_(grad, anchor_for((50, 40), "factored"), 1.0, 0.0)
    assert torch.equal(grad, before)


@pytest.mark.parametrize("weights", [(float("nan"), 0.0), (1.0, float("inf"))])
def test_combination_refuses_weights_that_are_no_numbers(weights):
    with pytest.raises(DBAError, match="not finite"):
        fused.combine_(torch.randn(4), torch.randn(4), *weights)
