"""Aggregation against small references by hand."""

import itertools
import math
import random
from statistics import fmean, pstdev, stdev

import pytest

from llamafactory_dba.compare.statistics import Point, at_domain_score, cluster_bootstrap, paired_bootstrap, spread
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


@pytest.mark.parametrize("sizes", [(5, 5, 5, 5), (1, 4, 2), (3, 3)])
def test_cluster_bootstrap_is_that_of_all_draws(sizes):
    """Against every one of the G^G draws of G clusters, summed by hand."""
    source = random.Random(len(sizes))
    groups = []
    for size in sizes:
        shared = source.gauss(0, 10)
        groups.append([shared + source.gauss(3, 2) for _ in range(size)])
    clusters = [number for number, group in enumerate(groups) for _ in group]
    delta = [value for group in groups for value in group]
    second = [source.gauss(50, 20) for _ in delta]
    # shuffled: members of a cluster need not follow each other
    order = source.sample(range(len(delta)), len(delta))
    found = cluster_bootstrap(
        [second[i] + delta[i] for i in order], [second[i] for i in order], [clusters[i] for i in order]
    )
    dense = []
    for draw in itertools.product(groups, repeat=len(groups)):
        dense.append(fmean(value for group in draw for value in group))
    assert found.mean == pytest.approx(fmean(delta), rel=1e-12)
    assert found.n == len(delta)
    # a variance from N draws of kurtosis k is known to √((k - 1)/N), an error to half of that: 1.2 % for k = 7, which
    # these few values stay below; four times that is the tolerance
    assert found.se == pytest.approx(pstdev(dense), rel=0.05)
    below = sum(value < found.low - 1e-9 for value in dense) / len(dense)
    above = sum(value > found.high + 1e-9 for value in dense) / len(dense)
    # shares of 10,000 draws: 2.5 % ± 4·√(0.025/10000); where few values are possible, less than that lies beyond
    assert max(below, above) <= 0.025 + 0.0064


def test_pairs_of_one_domain_are_less_than_their_number():
    """Four domains, five seeds that agree: the pairs' error is that of 20 values, the domains' that of 4."""
    effects = [0.0, 10.0, 20.0, 30.0]
    delta = [effect for effect in effects for _ in range(5)]
    zeros = [0.0] * 20
    domains = [number // 5 for number in range(20)]
    pairs, clusters = paired_bootstrap(delta, zeros), cluster_bootstrap(delta, zeros, domains)
    assert pairs.mean == clusters.mean == 15.0
    # both are std/√n of the same four effects, n = 20 and n = 4; 10,000 draws know each to 0.7 %, four times both
    assert clusters.se / pairs.se == pytest.approx(math.sqrt(5), rel=0.057)
    one = cluster_bootstrap([1.0, 2.0], [0.0, 0.0], ["finance", "finance"])
    assert (one.mean, one.se, one.low, one.p, one.n) == (1.5, None, None, None, 2)
    with pytest.raises(DBAError, match="nothing to compare"):
        cluster_bootstrap([1.0, 2.0], [0.0, 0.0], ["finance"])
