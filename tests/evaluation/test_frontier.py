"""The sweep between two models: what it writes, that it goes on after a kill, and what it refuses."""

import json
from pathlib import Path

import pytest

from llamafactory_dba.errors import DBAError
from llamafactory_dba.evaluation.frontier import point_name, read_frontier, sweep, table
from llamafactory_dba.evaluation.interpolate import tensors_of
from llamafactory_dba.evaluation.results import Results, Run, TaskResult, read_results
from llamafactory_dba.evaluation.scores import joint_score
from tests.support import build_model


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("models")
    build_model(folder / "base", seed=0)
    build_model(folder / "tuned", seed=1)
    return folder / "base", folder / "tuned"


class Scorer:
    """Learns in proportion to alpha and forgets with its square; remembers what it was asked."""

    def __init__(self, version: str = "1", stop_at: float | None = None) -> None:
        self.seen: list[tuple[str, float]] = []
        self.version, self.stop_at = version, stop_at

    def __call__(self, model: Path, alpha: float) -> Results:
        if alpha == self.stop_at:
            raise KeyboardInterrupt
        assert tensors_of(model)
        self.seen.append((model.name, alpha))
        tasks = (
            TaskResult("s", "domain", self.version, "domain", "accuracy", 80 * alpha, 10),
            TaskResult("s", "general", self.version, "general", "accuracy", 60 - 40 * alpha**2, 10),
        )
        return Results(run=Run(name="x", method="dba", domain="finance"), tasks=tasks)


def test_points_scores_and_files(models, tmp_path):
    base, tuned = models
    scorer = Scorer()
    frontier = sweep(base, tuned, tmp_path, scorer, alphas=(1.0, 0.0, 0.5), request={"tasks": ["a"]})
    assert scorer.seen == [("base", 0.0), ("model", 0.5), ("tuned", 1.0)]
    assert [point.alpha for point in frontier.points] == [0.0, 0.5, 1.0]
    assert frontier.points[1].s == pytest.approx(joint_score(40, 50))
    assert frontier.best == frontier.points[1]
    assert read_frontier(tmp_path) == frontier
    assert not (tmp_path / "alpha_0.50" / "model").exists()
    middle, start = read_results(tmp_path / "alpha_0.50"), read_results(tmp_path / "alpha_0.00")
    assert (middle.run.method, middle.run.settings["alpha"]) == ("wise-ft", 0.5)
    assert (start.run.method, start.base) == ("base", None)
    assert (tmp_path / "alpha_0.50" / (middle.base or "") / "results.json").is_file()
    assert table(frontier)[2].split() == ["0.50", "40.0", "50.0", "44.4"]


def test_a_killed_sweep_goes_on(models, tmp_path):
    base, tuned = models
    with pytest.raises(KeyboardInterrupt):
        sweep(base, tuned, tmp_path, Scorer(stop_at=0.5), alphas=(0, 0.25, 0.5, 1))
    assert not (tmp_path / "alpha_0.50" / "model").exists()
    second = Scorer()
    frontier = sweep(base, tuned, tmp_path, second, alphas=(0, 0.25, 0.5, 1))
    assert [alpha for _, alpha in second.seen] == [0.5, 1.0]
    third = Scorer()
    refined = sweep(base, tuned, tmp_path, third, alphas=(0.75,))
    assert [alpha for _, alpha in third.seen] == [0.75]
    assert [point.alpha for point in refined.points] == [0, 0.25, 0.5, 0.75, 1]
    assert {point.alpha: point.s for point in refined.points}.items() >= {
        p.alpha: p.s for p in frontier.points
    }.items()


def test_models_are_kept_on_request(models, tmp_path):
    sweep(*models, tmp_path, Scorer(), alphas=(0.5,), keep_models=True)
    assert tensors_of(tmp_path / "alpha_0.50" / "model").keys() == tensors_of(models[0]).keys()


def test_what_is_refused(models, tmp_path):
    base, tuned = models
    sweep(base, tuned, tmp_path, Scorer(), alphas=(0.5,), request={"tasks": ["a"], "limit": None})
    with pytest.raises(DBAError, match=r"another frontier") as error:
        sweep(base, tuned, tmp_path, Scorer(), alphas=(0.5,), request={"tasks": ["a"], "limit": 5})
    assert "differs in limit" in str(error.value)
    assert error.value.next_step
    with pytest.raises(DBAError, match="No such point"):
        sweep(base, tuned, tmp_path / "new", Scorer(), alphas=(0.5, 2.0))
    with pytest.raises(DBAError, match="no point to score"):
        sweep(base, tuned, tmp_path / "new", Scorer(), alphas=())
    assert not (tmp_path / "new").exists()
    with pytest.raises(DBAError, match="different versions"):
        sweep(base, tuned, tmp_path, Scorer(version="2"), alphas=(0.5, 0.6), request={"tasks": ["a"], "limit": None})
    for text in ("{", "[]", json.dumps({"format": "llamafactory-dba/frontier", "format_version": 9})):
        (tmp_path / "frontier.json").write_text(text)
        with pytest.raises(DBAError, match="no frontier file"):
            read_frontier(tmp_path)


def test_no_score_is_no_zero(models, tmp_path):
    def general_only(model: Path, alpha: float) -> Results:
        return Results(run=Run("x", "dba"), tasks=(TaskResult("s", "g", "1", "general", "accuracy", 50, 10),))

    frontier = sweep(*models, tmp_path, general_only, alphas=(0.0, 1.0))
    assert [(point.s_d, point.s) for point in frontier.points] == [(None, None)] * 2
    assert frontier.best is None
    assert "–" in table(frontier)[1]


def test_names_of_points():
    assert [point_name(alpha) for alpha in (0.0, 0.5, 1.0, 0.125)] == [
        "alpha_0.00",
        "alpha_0.50",
        "alpha_1.00",
        "alpha_0.125",
    ]
