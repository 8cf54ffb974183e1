"""S_D, S_G, S, what was kept, and the differences from the base model, by hand."""

import dataclasses

import pytest

from llamafactory_dba.errors import DBAError
from llamafactory_dba.evaluation.results import Results, Run, TaskResult
from llamafactory_dba.evaluation.scores import joint_score
from llamafactory_dba.evaluation.summary import check_versions, summarise


def task(name, value, role="general", samples=None, n=10, version="1", metric="accuracy"):
    return TaskResult("s", name, version, role, metric, value, n, per_sample=samples)


def results(*tasks, name="run", **run):
    return Results(run=Run(name, "dba", **run), tasks=tasks)


BASE = results(task("d", 20.0, "domain"), task("a", 80.0), task("b", 40.0), name="base")


def test_the_joint_numbers():
    found = summarise(results(task("d", 70.0, "domain"), task("a", 60.0), task("b", 30.0)), BASE)
    assert (found.s_d, found.s_g, found.s) == (70.0, 45.0, joint_score(70.0, 45.0))
    assert found.kept == pytest.approx(75.0)
    assert (found.delta_s_d, found.delta_s_g) == (50.0, -15.0)
    assert found.delta_s == pytest.approx(joint_score(70, 45) - joint_score(20, 60))
    assert [change.delta for change in found.tasks] == [50.0, -20.0, -10.0]


def test_a_row_of_the_papers_table():
    found = summarise(results(task("d", 80.01, "domain"), task("a", 54.69)))
    assert found.s == pytest.approx(64.97, abs=0.005)  # printed with two digits


def test_without_base_the_difference_is_missing_not_zero():
    found = summarise(results(task("d", 70.0, "domain"), task("a", 60.0)))
    assert found.s is not None
    assert found.kept is found.delta_s_d is found.delta_s_g is found.delta_s is None
    assert all(change.delta is None and change.test is None for change in found.tasks)


def test_a_base_with_other_tasks_gives_no_mean_difference():
    found = summarise(results(task("d", 70.0, "domain"), task("a", 60.0), task("c", 30.0)), BASE)
    assert found.delta_s_d == 50.0
    assert found.kept is found.delta_s_g is found.delta_s is None
    assert [change.delta for change in found.tasks] == [50.0, -20.0, None]
    other = summarise(results(task("a", 60.0, metric="f1")), BASE)
    assert other.tasks[0].delta is None


def test_tasks_of_one_role_only():
    found = summarise(results(task("a", 60.0), task("b", 30.0)), BASE)
    assert (found.s_d, found.s, found.s_g, found.kept) == (None, None, 45.0, 75.0)


def test_a_base_of_zero_leaves_nothing_to_keep():
    found = summarise(results(task("a", 60.0)), results(task("a", 0.0)))
    assert (found.kept, found.delta_s_g) == (None, 60.0)


def test_paired_tests_where_the_samples_are_the_same():
    right, wrong = (1,) * 9 + (0,), (0,) * 9 + (1,)
    found = summarise(
        results(task("a", 10.0, samples=wrong), task("b", 90.0, samples=right)),
        results(task("a", 90.0, samples=right), task("b", 90.0, samples=(1,) * 18 + (0,) * 2, n=20)),
    )
    a, b = found.tasks
    assert a.test.delta == pytest.approx(-80.0) and a.lost and not a.gained and a.test_is_of_value
    assert b.test is None and b.delta == 0, "other samples: a difference, but no paired test"


def test_other_questions_are_no_pairs():
    ours, before = (results(task("a", 50.0, samples=(1, 0) * 5)) for _ in range(2))
    hashed = [dataclasses.replace(item, data={"a (questions)": hash}) for item, hash in ((ours, "1"), (before, "2"))]
    assert summarise(*hashed).tasks[0].test is None
    assert summarise(hashed[0], hashed[0]).tasks[0].test is not None
    assert summarise(hashed[0], before).tasks[0].test is not None, "not known is not different"


def test_a_test_of_the_samples_is_not_one_of_an_f1():
    found = summarise(
        results(task("d", 55.0, "domain", (1,) * 6 + (0,) * 4)), results(task("d", 50.0, "domain", (0,) * 10))
    )
    assert found.tasks[0].test is not None
    assert not found.tasks[0].test_is_of_value


def test_losses_are_compared_in_their_own_unit_and_count_for_no_mean():
    ours, before = (3.0,) * 30, (2.0,) * 20 + (2.5,) * 10
    mean = sum(before) / 30
    run = results(task("d", 70.0, "domain"), task("a", 60.0), task("text", 3.0, "loss", ours, 30, metric="nats"))
    base = results(*BASE.tasks, task("text", mean, "loss", before, 30, metric="nats"))
    found = summarise(run, base)
    alone = summarise(results(*run.tasks[:2]), BASE)
    assert (found.s_d, found.s_g, found.s, found.kept) == (alone.s_d, alone.s_g, alone.s, alone.kept)
    change = found.tasks[2]
    assert change.delta == pytest.approx(3.0 - mean) and change.better == pytest.approx(mean - 3.0)
    assert change.test.delta == pytest.approx(3.0 - mean), "nats, not a hundred times nats"
    assert change.test.interval.low <= change.test.delta <= change.test.interval.high < 1
    assert change.lost and not change.gained and change.test_is_of_value, "a higher loss is a worse one"
    back = summarise(base, run).tasks[-1]
    assert back.gained and not back.lost


def test_losses_of_0_and_1_are_no_rights_and_wrongs():
    ours, before = (1,) * 9 + (0,), (0,) * 10
    loss = (results(task("t", 0.9, "loss", ours)), results(task("t", 0.0, "loss", before)))
    assert "bootstrap" in summarise(*loss).tasks[0].test.method
    share = (results(task("t", 90.0, samples=ours)), results(task("t", 0.0, samples=before)))
    assert "McNemar" in summarise(*share).tasks[0].test.method


def test_a_test_that_points_the_other_way_than_the_value_marks_nothing():
    ours, before = (1,) * 10, (0,) * 10
    change = summarise(results(task("a", 40.0, samples=ours)), results(task("a", 50.0, samples=before))).tasks[0]
    assert change.test.p < 0.05 and change.test.delta > 0 > change.delta
    assert not change.lost and not change.gained


def test_different_versions_of_a_task_are_refused():
    new = results(task("a", 1.0, version="2"))
    with pytest.raises(DBAError, match=r"Task a is there in different versions"):
        summarise(new, BASE)
    with pytest.raises(DBAError, match="2 in second"):
        check_versions({"first": BASE, "second": new})
    check_versions({"first": BASE, "second": results(task("a", 1.0, version="2", metric="f1"))})


def test_another_base_model_is_refused():
    ours = results(task("a", 1.0), base_fingerprint="aa")
    base = dataclasses.replace(BASE, run=dataclasses.replace(BASE.run, base_fingerprint="bb"))
    with pytest.raises(DBAError, match="different base models"):
        summarise(ours, base)
    summarise(ours, BASE)  # not known is not different
