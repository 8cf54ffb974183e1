"""Training curves: read from whatever a run left, and thinned without losing the course."""

import json

import pytest
from reporting.runs import write_logs

from llamafactory_dba.reporting.page.curves import Curve, read_curves, thin


def test_both_logs_are_read(tmp_path):
    write_logs(tmp_path, 200)
    found = read_curves(tmp_path, 1000).of
    assert set(found) == {"loss", "gamma", "similarity", "correction", "domain_grad_norm"}
    assert found["loss"].steps[:2] == (10, 20)
    assert len(found["gamma"].steps) == 200


def test_a_run_without_logs_has_no_curves(tmp_path):
    assert read_curves(tmp_path, 10).of == {}


def test_the_state_stands_in_for_the_log(tmp_path):
    history = [{"step": 5, "loss": 2.0}, {"step": 10, "loss": 1.0}, {"step": 10, "train_runtime": 3.0}]
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    assert read_curves(tmp_path, 10).of == {"loss": Curve((5.0, 10.0), (2.0, 1.0))}


def test_what_is_no_number_is_left_out(tmp_path):
    lines = [
        '{"step": 0, "gamma": NaN}',
        '{"step": 1, "gamma": 0.5}',
        "3",
        '{"step": 2, "gamma": null}',
        '{"step": 3,',
    ]
    (tmp_path / "dba_log.jsonl").write_text("\n".join(lines))
    assert read_curves(tmp_path, 10).of == {"gamma": Curve((1.0,), (0.5,))}


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"log_history": 3}', '{"log_history": [3]}'])
def test_a_foreign_state_is_no_curve(tmp_path, content):
    (tmp_path / "trainer_state.json").write_text(content)
    assert read_curves(tmp_path, 10).of == {}


def test_the_gauge_is_a_curve_of_few_points(tmp_path):
    rows = [
        {"step": 0, "general_accuracy": 90.0, "forward_kl": 0.0, "seconds": 1},
        {"step": 50, "general_accuracy": 80.0, "general_loss": 2.0},
    ]
    (tmp_path / "dba_gauge.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_curves(tmp_path, 10)
    assert found.of == {
        "gauge_general_accuracy": Curve((0.0, 50.0), (90.0, 80.0)),
        "gauge_general_loss": Curve((50.0,), (2.0,)),
        "gauge_forward_kl": Curve((0.0,), (0.0,)),
    }
    assert found.diverged is None and not found.damaged


def test_steps_made_again_after_a_resume_count_once(tmp_path):
    (tmp_path / "dba_log.jsonl").write_text(
        "".join(f'{{"step": {s}, "gamma": {v}}}\n' for s, v in ((0, 1), (1, 2), (1, 3)))
    )
    assert read_curves(tmp_path, 10).of["gamma"] == Curve((0.0, 1.0), (1.0, 3.0))


@pytest.mark.parametrize(
    "file, lines, expected",
    [
        ("dba_log.jsonl", '{"step": 0, "domain_grad_norm": 1.0}\n{"step": 1, "domain_grad_norm": NaN}\n', 1.0),
        ("dba_log.jsonl", '{"step": 0, "domain_grad_norm": Infinity}\n{"step": 1, "domain_grad_norm": 1.0}\n', None),
        ("trainer_log.jsonl", '{"current_steps": 5, "loss": NaN}\n{"current_steps": 9, "loss": NaN}\n', 5.0),
        ("trainer_state.json", '{"log_history": [{"step": 2, "loss": 1.0, "grad_norm": NaN}, {"step": 3}]}', 2.0),
        ("dba_gauge.jsonl", '{"step": 0, "general_loss": 1.0}\n{"step": 7, "general_loss": null}\n', 7.0),
        ("dba_gauge.jsonl", '{"step": 0, "forward_kl": 1.0}\n{"step": 7, "forward_kl": 2.0}\n', None),
    ],
)
def test_a_run_diverged_if_it_ends_without_numbers(tmp_path, file, lines, expected):
    (tmp_path / file).write_text(lines)
    assert read_curves(tmp_path, 10).diverged == expected


def test_damaged_lines_are_counted_but_not_the_one_a_kill_cut_off(tmp_path):
    (tmp_path / "dba_gauge.jsonl").write_text('{"step": 0, "s": 5.0}\nxx\n[1]\n\n{"step": 1, "s"')
    found = read_curves(tmp_path, 10)
    assert found.damaged == {"dba_gauge.jsonl": 2} and found.of["gauge_s"].values == (5.0,)


def test_thinning_keeps_means():
    curve = Curve(tuple(range(10)), tuple(range(10)))
    assert thin(curve, 10) is curve
    assert thin(curve, 5) == Curve((0.5, 2.5, 4.5, 6.5, 8.5), (0.5, 2.5, 4.5, 6.5, 8.5))
    assert thin(curve, 3) == Curve((1.5, 5.5, 8.5), (1.5, 5.5, 8.5))
