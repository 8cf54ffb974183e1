import math

import numpy as np
import pytest
import reference

from llamafactory_dba.core.correction import correction, similarity
from llamafactory_dba.errors import DBAError


def sums(grads, anchors):
    dot = sum(float((g * a).sum()) for g, a in zip(grads, anchors, strict=True))
    return dot, *(math.sqrt(sum(float((x * x).sum()) for x in xs)) for xs in (grads, anchors))


@pytest.mark.parametrize("seed", range(5))
def test_similarity_is_equation_7_over_all_parameters(seed):
    rng = np.random.default_rng(seed)
    grads = [rng.normal(size=size) for size in (3, (4, 5), (2, 2, 2))]
    anchors = [rng.normal(size=grad.shape) * 1e-7 for grad in grads]
    # float64 throughout; only the order of the sums differs
    assert similarity(*sums(grads, anchors)) == pytest.approx(reference.similarity(grads, anchors), rel=1e-12)


def test_similarity_knows_no_sign_and_no_scale():
    g = [np.array([1.0, 2.0, -3.0])]
    assert similarity(*sums(g, g)) == pytest.approx(1.0, rel=1e-15)
    assert similarity(*sums(g, [-1e-9 * g[0]])) == pytest.approx(1.0, rel=1e-15)
    assert similarity(*sums(g, [np.array([3.0, 0.0, 1.0])])) == 0.0


def test_similarity_stays_in_its_range():
    assert similarity(1.0000001, 1.0, 1.0) == 1.0  # rounding of separate sums
    assert similarity(0.0, 0.0, 1.0) == similarity(0.0, 1.0, 0.0) == 0.0
    assert similarity(1e-320, 1e-160, 1e-160) == pytest.approx(1.0, rel=1e-3)  # 1e-320 is subnormal: 4 digits


@pytest.mark.parametrize("arguments", [(math.nan, 1, 1), (1, math.inf, 1), (1, 1, math.nan), (0, -1, 1)])
def test_similarity_refuses_what_is_no_number(arguments):
    with pytest.raises(DBAError):
        similarity(*arguments)


@pytest.mark.parametrize("value", [0.0, 0.01, 0.5, 1.0])
@pytest.mark.parametrize("base", [0.01, 0.1, 1.0])
def test_correction_is_equation_8(value, base):
    assert correction(value, base) == reference.correction(value, base)
    assert 1 / (1 + base) <= correction(value, base) <= 1 / base


@pytest.mark.parametrize("base", [0.0, -0.1, math.nan, math.inf])
def test_correction_needs_a_positive_base(base):
    with pytest.raises(DBAError, match="base correction"):
        correction(0.5, base)


@pytest.mark.parametrize("value", [-0.1, 1.5, math.nan])
def test_correction_refuses_similarities_out_of_range(value):
    with pytest.raises(DBAError, match="similarity"):
        correction(value, 0.1)
