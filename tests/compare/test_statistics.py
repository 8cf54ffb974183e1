"""Aggregation against small references by hand."""

import math
import random
from statistics import fmean, stdev

import pytest

from llamafactory_dba.compare.statistics import Point, at_domain_score, paired_bootstrap, spread
from llamafactory_dba.errors import DBAError


def test_spread():
    assert spread([]) is None
    assert spread([3.0]) == (3.0, None, 1)
    values = [61.5, 70.25, 58.0, 66.75]
    # the same sums in another order: a few roundings of float64
    assert spread(values).mean == pytest.approx(fmean(values), rel=1e-15)
    assert spread(values).std == pytest.approx(stdev(values), rel=1e-14)


def test_paired_bootstrap_is_that_of_a_loop():
    source = random.Random(3)
    first = [source.gauss(60, 5) for _ in range(20)]
    second = [value - source.gauss(2, 3) for value in first]
    found = paired_bootstrap(first, second)
    delta = [a - b for a, b in zip(first, second, strict=True)]
    assert found.mean == pytest.approx(fmean(delta), rel=1e-12)
    assert found.n == 20
    # the bootstrap's standard error is √((n - 1)/n) · std/√n in the limit; 10,000 draws know it to 1/√20000 = 0.7 %,
    # four times that is the tolerance
    assert found.se == pytest.approx(math.sqrt(19 / 20) * stdev(delta) / math.sqrt(20), rel=0.028)
    assert found.low < found.mean < found.high
    assert found.errors == pytest.approx(found.mean / found.se)
    slow = [fmean(source.choices(delta, k=20)) for _ in range(4000)]
    # tail shares of 4,000 and 10,000 draws differ by at most 4·√(0.25/4000 + 0.25/10000) = 0.037
    share = sum(value <= 0 for value in slow) / len(slow)
    assert found.p == pytest.approx(min(1.0, 2 * min(share, 1 - share)), abs=0.075)


def test_no_difference_and_one_pair():
    same = paired_bootstrap([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert (same.mean, same.se, same.p) == (0.0, 0.0, 1.0)
    assert same.errors is None
    one = paired_bootstrap([5.0], [3.0])
    assert (one.mean, one.se, one.low, one.p, one.n) == (2.0, None, None, None, 1)
    with pytest.raises(DBAError, match="nothing to compare"):
        paired_bootstrap([], [])
    with pytest.raises(DBAError, match="nothing to compare"):
        paired_bootstrap([1.0], [1.0, 2.0])


def test_pairs_matter():
    """Large spread between domains, a small steady gain: seen in pairs, invisible without."""
    first = [10.0, 50.0, 90.0, 30.0]
    found = paired_bootstrap([value + 1 for value in first], first)
    assert (found.mean, found.se) == (1.0, 0.0)
    assert found.low == found.high == 1.0


@pytest.mark.parametrize(
    "s_d, s_g",
    [(0.0, 98.0), (40.0, 89.0), (80.0, 80.0), (90.0, 60.0), (100.0, 40.0)],
)
def test_at_equal_domain_score(s_d, s_g):
    curve = [Point(0.0, 98.0), Point(80.0, 80.0), Point(100.0, 40.0)]
    # halfway between the first two: (98 + 80) / 2 = 89; between the last two: (80 + 40) / 2 = 60
    assert at_domain_score(curve, s_d).s_g == pytest.approx(s_g)


def test_a_curve_that_turns_back_counts_at_its_best():
    curve = [Point(10.0, 90.0), Point(50.0, 70.0), Point(30.0, 20.0)]
    assert at_domain_score(curve, 40.0).s_g == pytest.approx(75.0)  # 45 on the way back


def test_no_overlap_is_said():
    found = at_domain_score([Point(10.0, 90.0), Point(50.0, 70.0)], 60.0)
    assert found.s_g is None
    assert found.why == "no overlap: the curve has S_D 10.0 to 50.0, wanted 60.0"
    assert at_domain_score([], 1.0).why == "no points"
