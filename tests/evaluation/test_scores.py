"""The joint score and the exact-match scoring."""

import math

import pytest

from llamafactory_dba.errors import DBAError
from llamafactory_dba.evaluation.micro import Row, score_answers
from llamafactory_dba.evaluation.scores import accuracy, joint_score, mean_general


def test_joint_score_of_the_papers_row() -> None:
    assert joint_score(80.01, 54.69) == pytest.approx(64.97, abs=0.005)  # the paper rounds to two places


def test_joint_score_limits() -> None:
    assert joint_score(0.0, 0.0) == 0.0
    assert joint_score(0.0, 90.0) == 0.0
    assert joint_score(70.0, 70.0) == pytest.approx(70.0, rel=1e-15)
    assert joint_score(20.0, 80.0) == joint_score(80.0, 20.0) < 50.0


@pytest.mark.parametrize("value", [-1.0, 100.1, math.nan, math.inf])
def test_joint_score_refuses_what_is_no_percentage(value: float) -> None:
    with pytest.raises(DBAError, match="no percentage"):
        joint_score(value, 50.0)


def test_mean_general() -> None:
    assert mean_general({"a": 50.0, "b": 100.0}) == 75.0
    with pytest.raises(DBAError, match="no general score"):
        mean_general({})


def test_no_samples_is_never_zero() -> None:
    assert accuracy(0, 4) == 0.0
    with pytest.raises(DBAError):
        accuracy(0, 0)


def test_answers_are_scored_exactly_and_unparsed_ones_counted() -> None:
    rows = [Row("arithmetic", "1+1=", "2")] * 4 + [Row("finance", "...", "positive")] * 4
    scores = score_answers(rows, ["2", "2.", "", None, "positive", "negative", "good", None])
    assert (scores["arithmetic"].right, scores["arithmetic"].total, scores["arithmetic"].unparsed) == (1, 4, 2)
    assert (scores["finance"].right, scores["finance"].total, scores["finance"].unparsed) == (1, 4, 2)
    assert scores["finance"].accuracy == 25.0
