"""The proximal step against a dense solve, the streaming sums against dense matrices, and the limits of both."""

import itertools

import pytest
import reference
import torch

from llamafactory_dba.core import kronecker
from llamafactory_dba.core.kronecker import (
    Start,
    Term,
    layout,
    quadratic_form,
    restore_,
    restore_each_,
    stacked,
    start_of,
)
from llamafactory_dba.core.moments import (
    MomentSum,
    Spectrum,
    energy_kept,
    nystrom,
    probe_matrix,
    square_norm,
    truncated,
    wants_sketch,
)


M, N = 6, 9


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def spectrum(size, rank, seed, rest=0.3):
    q = torch.linalg.qr(random(size, size, seed=seed)).Q[:, :rank].contiguous()
    values = random(rank, seed=seed + 1).abs().sort(descending=True).values + 1
    return Spectrum(values, q, rest if rank < size else 0.0)


def term(kind, rows_rank, columns_rank):
    rows = Spectrum(random(M, seed=5).abs(), None) if kind == "rows" else spectrum(M, rows_rank, 1)
    return Term(rows, spectrum(N, columns_rank, 3))


CASES = [("kronecker", r, c) for r, c in itertools.product((2, M), (3, N))] + [("rows", M, 3), ("rows", M, N)]


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("kind, rows_rank, columns_rank", CASES)
@pytest.mark.parametrize("strength", [0.1, 3.0, 1e6])
def test_restoration_is_the_proximal_step(kind, rows_rank, columns_rank, whole, strength):
    f = term(kind, rows_rank, columns_rank)
    base, weight = random(M, N, seed=7), random(M, N, seed=8)
    columns = f.columns
    if kind == "rows" and not whole:
        columns = columns._replace(rest=0.0)  # of a vocabulary, the rest would need W0
    curvature = reference.kronecker_curvature(f.rows, columns, outside=whole)
    expected, (before, after) = reference.proximal_step(weight, base, curvature, strength)
    start = start_of(base, f, whole=whole)
    assert float(quadratic_form(weight, f, start)) == pytest.approx(before, rel=1e-10)
    change = restore_(weight, f, start, strength)
    torch.testing.assert_close(
        weight, torch.from_numpy(expected), rtol=0, atol=1e-8
    )  # the twin's solve: condition numbers of 1e7
    # the blocks' squares are differences of sums of some tens, of which a strong step leaves 1e-12
    assert float(change.before) == pytest.approx(before, rel=1e-10)
    assert float(change.after) == pytest.approx(after, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("kind, rows_rank, columns_rank", CASES)
def test_what_is_kept_of_the_base_weights(kind, rows_rank, columns_rank):
    f, base = term(kind, rows_rank, columns_rank), random(M, N)
    start = start_of(base, f, whole=False)
    assert start.whole is None
    numbers = sum(item.numel() for item in start if item is not None)
    if rows_rank == M and columns_rank == N:
        assert start.both is not None and start.both.shape == (M, N)
    assert numbers <= rows_rank * N + columns_rank * M
    assert start_of(base, term("kronecker", M, N), whole=True).whole is None, "not needed"


def test_the_base_is_kept_in_bf16_only_where_that_is_exact():
    f = term("kronecker", 2, 3)
    exact = random(M, N).bfloat16().float()
    assert start_of(exact, f, whole=True).whole.dtype == torch.bfloat16
    kept = start_of(random(M, N).float(), f, whole=True).whole
    assert kept.dtype == torch.float32


def test_strength_zero_writes_nothing():
    f, base, weight = term("kronecker", 2, 3), random(M, N), random(M, N, seed=1)
    before = weight.clone()
    change = restore_(weight, f, start_of(base, f, whole=True), 0.0)
    assert torch.equal(weight, before)
    assert float(change.before) == float(change.after) > 0


@pytest.mark.parametrize("kind, rows_rank, columns_rank", CASES)
def test_the_whole_of_the_base_serves_at_every_rank(kind, rows_rank, columns_rank):
    """Kept where less would do: for products in a short dtype."""
    f, base = term(kind, rows_rank, columns_rank), random(M, N, seed=7)
    one, two = random(M, N, seed=8), random(M, N, seed=8)
    first = restore_(one, f, start_of(base, f, whole=True), 0.5)
    second = restore_(two, f, Start(whole=base), 0.5)
    torch.testing.assert_close(one, two, rtol=0, atol=1e-12)
    assert [float(item) for item in first] == pytest.approx([float(item) for item in second], rel=1e-9)


@pytest.mark.parametrize("kind, rows_rank, columns_rank", CASES)
def test_some_rows_at_a_time_are_the_same(monkeypatch, kind, rows_rank, columns_rank):
    f, base = term(kind, rows_rank, columns_rank), random(M, N, seed=7)
    found = []
    for block in (kronecker.BLOCK, 2 * N):
        monkeypatch.setattr(kronecker, "BLOCK", block)
        weight = random(M, N, seed=8)
        change = restore_(weight, f, start_of(base, f, whole=True), 0.5)
        found.append((weight, *(float(item) for item in change)))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=1e-12)
    assert found[0][1:] == pytest.approx(found[1][1:], rel=1e-12)


@pytest.mark.parametrize("kind, rows_rank, columns_rank", CASES)
@pytest.mark.parametrize("strength", [0.1, 3.0, 1e6])
def test_short_products_round_the_difference_alone(kind, rows_rank, columns_rank, strength):
    """In bf16 the step is off by some 2^-9 of W − W0, however large W is; the strong pull leaves as little."""
    f = term(kind, rows_rank, columns_rank)
    base = 100 * random(M, N, seed=7).bfloat16().float()
    difference = 1e-2 * random(M, N, seed=8).float()
    exact, weight = (base + difference).double(), base + difference
    restore_(exact, f, Start(whole=base.double()), strength)
    change = restore_(weight, f, Start(whole=base), strength, products=torch.bfloat16)
    # three factors and two results of products are rounded to 8 bits, by at most 2^-9 each; W itself to 24 bits
    error = (weight.double() - exact).norm()
    assert error < 5 * 2**-9 * difference.norm() * 2 + 2**-24 * base.norm()
    before = quadratic_form((base + difference).double(), f, Start(whole=base.double()))
    assert float(change.before) == pytest.approx(float(before), rel=0.05)


def test_short_products_without_the_base_are_not_short():
    f, base = term("kronecker", 2, 3), random(M, N)
    start = start_of(base, f, whole=False)
    one, two = random(M, N, seed=1), random(M, N, seed=1)
    restore_(one, f, start, 2.0)
    restore_(two, f, start, 2.0, products=torch.bfloat16)
    assert torch.equal(one, two)


@pytest.mark.parametrize("products", [None, torch.bfloat16])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("kind, rows_rank, columns_rank", [case for case in CASES if case[0] == "kronecker"])
@pytest.mark.parametrize("strength", [0.0, 0.5, 1e6])
def test_a_stack_is_each_of_its_matrices(kind, rows_rank, columns_rank, whole, products, strength):
    terms = [Term(spectrum(M, rows_rank, i, 0.1 * i), spectrum(N, columns_rank, i + 9, 0.2 * i)) for i in (1, 2, 3)]
    bases = [random(M, N, seed=20 + i) for i in range(3)]
    starts = [start_of(base, f, whole=whole) for base, f in zip(bases, terms, strict=True)]
    weights = [random(M, N, seed=30 + i) for i in range(3)]
    together = torch.stack(weights)
    found = restore_each_(together, [stacked(list(zip(terms, starts, strict=True)))], strength, products=products)
    changes = [restore_(w, f, s, strength, products=products) for w, f, s in zip(weights, terms, starts, strict=True)]
    torch.testing.assert_close(together, torch.stack(weights), rtol=0, atol=1e-12)
    for total, parts in zip(found, zip(*changes, strict=True), strict=True):
        # what a strong step leaves is a difference of sums of some tens
        assert float(total) == pytest.approx(sum(float(part) for part in parts), rel=1e-10, abs=1e-13)


def test_what_may_be_stacked():
    f, base = term("kronecker", 2, 3), random(M, N)
    start = start_of(base, f, whole=True)
    assert layout(f, start) == layout(term("kronecker", 2, 3), start_of(random(M, N, seed=1), f, whole=True))
    others = [
        (f, start_of(base, f, whole=False)),
        (term("kronecker", 2, 4), start),
        (Term(f.rows._replace(rest=0.0), f.columns), start),
        (Term(f.rows._replace(values=f.rows.values.float()), f.columns), start),
    ]
    assert len({layout(f, start), *(layout(*other) for other in others)}) == 1 + len(others)
    vocabulary = term("rows", M, 3)
    assert layout(vocabulary, start_of(base, vocabulary, whole=True)) is None


def test_truncation_keeps_the_trace():
    full = spectrum(N, 5, 3)
    short = truncated(full, 2)
    assert torch.equal(short.values, full.values[:2]) and torch.equal(short.vectors, full.vectors[:, :2])

    def trace(side):
        return float(side.values.sum()) + side.rest * (N - len(side.values))

    assert trace(short) == pytest.approx(trace(full), rel=1e-12)
    assert truncated(full, 5) is full and truncated(full, 9) is full
    diagonal = Spectrum(random(N).abs(), None)
    assert truncated(diagonal, 2) is diagonal


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_infinite_strength_and_full_rank_bring_the_base_back(dtype):
    f = term("kronecker", M, N)
    f = Term(*(Spectrum(side.values.to(dtype), side.vectors.to(dtype)) for side in f))
    base, weight = random(M, N).to(dtype), random(M, N, seed=1).to(dtype)
    change = restore_(weight, f, start_of(base, f, whole=False), 1e38)
    # two products of 9 terms each, numbers of about 1
    torch.testing.assert_close(weight, base, rtol=0, atol=100 * torch.finfo(dtype).eps)
    assert float(change.after) < 1e-60


def test_directions_without_curvature_are_left_alone():
    f = term("kronecker", 2, 3)
    f = Term(f.rows._replace(rest=0.0), f.columns._replace(rest=0.0))
    base, weight = random(M, N), random(M, N, seed=1)
    outside = torch.eye(M, dtype=torch.float64) - f.rows.vectors @ f.rows.vectors.T
    before = outside @ weight
    restore_(weight, f, start_of(base, f, whole=True), 1e9)
    torch.testing.assert_close(outside @ weight, before, rtol=0, atol=1e-12)


def test_bf16_weights_are_computed_in_fp32_and_rounded_once():
    f = term("kronecker", 2, 3)
    f = Term(*(Spectrum(side.values.float(), side.vectors.float(), side.rest) for side in f))
    base, weight = random(M, N).bfloat16(), random(M, N, seed=1).bfloat16()
    twin = weight.float()
    restore_(twin, f, start_of(base.float(), f, whole=True), 2.0)
    restore_(weight, f, start_of(base, f, whole=True), 2.0)
    assert torch.equal(weight, twin.bfloat16())


def test_full_sums_are_the_moments():
    rows = random(50, N).float()
    total = MomentSum(N, 4)
    for part in rows.split(7):
        total.add(part)
    dense = (rows.double().T @ rows.double()) / 50
    values, vectors = torch.linalg.eigh(dense)
    found = total.spectrum(50)
    # fp32 sums of 50 products
    torch.testing.assert_close(found.values.double(), values.flip(0)[:4], rtol=1e-5, atol=0)
    assert found.rest == pytest.approx(float(values[:-4].mean()), rel=1e-4)
    overlap = (found.vectors.double() * vectors.flip(1)[:, :4]).sum(0).abs()
    torch.testing.assert_close(overlap, torch.ones_like(overlap), rtol=0, atol=1e-4)
    assert energy_kept(found, float(total.trace), 50) == pytest.approx(
        float(values[-4:].sum() / values.sum()), rel=1e-5
    )


def test_a_sketch_of_a_matrix_of_low_rank_is_exact():
    n, rank = 60, 5
    rows = (random(200, rank) @ random(rank, n, seed=1)).float()
    total = MomentSum(n, rank, omega=probe_matrix(n, rank))
    total.add(rows)
    assert total.total.shape == (n, 2 * rank)
    dense = rows.double().T @ rows.double()
    found = total.spectrum(1.0)
    made = torch.from_numpy(reference.from_spectrum(found.values, found.vectors))
    # fp32 sums, and the shift of 1e-7 of the norm of the sketch
    assert float((made - dense).norm() / dense.norm()) < 1e-5


def test_a_sketch_of_a_falling_spectrum_is_near_the_best():
    n, rank = 80, 10
    values = 2.0 ** -torch.arange(n, dtype=torch.float64)
    q = torch.linalg.qr(random(n, n)).Q
    dense = (q * values) @ q.T
    omega = probe_matrix(n, rank).double()
    found, vectors = nystrom(dense @ omega, omega, rank)
    made = (vectors * found) @ vectors.T
    best = float(values[rank:].square().sum().sqrt())
    # theorem 4.1 with k = 2r bounds the excess by r/(r − 1) times the trace norm of the rest; this falls fast
    assert float((made - dense).norm()) < 3 * best


def test_a_sketch_of_nothing_is_zero():
    total = MomentSum(40, 5, omega=probe_matrix(40, 5))
    found = total.spectrum(1.0)
    assert not found.values.any() and found.rest == 0.0 and found.vectors.shape == (40, 5)


def test_diagonal_sums_of_tokens_and_of_vectors():
    places = torch.tensor([[1, 1, 4], [0, 1, 4]])
    total = MomentSum(6, 3, diagonal=True)
    total.add_places(places)
    assert total.spectrum(6).values.tolist() == pytest.approx([1 / 6, 3 / 6, 0, 0, 2 / 6, 0])
    assert float(total.trace) == 6
    other = MomentSum(6, 3, diagonal=True)
    other.add(torch.nn.functional.one_hot(places.flatten(), 6))
    assert torch.equal(total.total, other.total)


def test_when_a_sketch_is_taken():
    assert not wants_sketch(2048, 512) and wants_sketch(2049, 512)


@pytest.mark.parametrize("tokens", [2, 40])  # 2·(6 + 9) < 54 < 40·(6 + 9): both ways to compute it
def test_squares_of_the_gradients_of_single_sequences(tokens):
    x, g = random(3, tokens, N), random(3, tokens, M, seed=1)
    _, _, trace = reference.fisher_of_linear(x, g)
    assert float(square_norm(x, g)) / 3 == pytest.approx(trace, rel=1e-5)  # fp32


def test_squares_of_the_gradients_of_an_embedding():
    ids, g = torch.tensor([[0, 2, 2, 1], [3, 3, 3, 0]]), random(2, 4, M)
    _, _, trace = reference.fisher_of_linear(torch.nn.functional.one_hot(ids, 5), g)
    assert float(square_norm(ids, g)) / 2 == pytest.approx(trace, rel=1e-5)


def test_state_goes_on_and_other_sizes_are_refused():
    from llamafactory_dba.errors import DBAError

    one, two = MomentSum(N, 4), MomentSum(N, 4)
    one.add(random(5, N))
    two.load_state_dict(one.state_dict())
    assert torch.equal(one.total, two.total) and float(one.trace) == float(two.trace)
    with pytest.raises(DBAError, match="another model or rank"):
        MomentSum(N + 1, 4).load_state_dict(one.state_dict())
