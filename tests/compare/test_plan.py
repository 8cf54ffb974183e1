"""From a suite to runs: precedence, hashes, what data and models are missing."""

import shutil

import pytest

from llamafactory_dba.compare.plan import make_plan
from llamafactory_dba.compare.sources import find_data
from llamafactory_dba.compare.suite import parse_suite
from llamafactory_dba.errors import DBAError
from tests.compare.worlds import smoke


def plan_of(**changes):
    return make_plan(parse_suite(smoke(**changes)))


def run_of(plan, label, seed=1):
    return next(run for run in plan.runs if run.label == label and run.seed == seed)


def test_precedence():
    """Each level wins over the one before; key tN is set by level N and all below."""
    names = [f"lora_{letter}" for letter in "abcd"]  # any keys: the host checks names later
    common = {**smoke()["common"], **dict.fromkeys(names, "common")}
    bases = {"b": {**smoke()["bases"]["micro-instruct"], "keys": dict.fromkeys(names[1:], "base")}}
    domains = {"finance": {**smoke()["domains"]["finance"], "keys": dict.fromkeys(names[2:], "domain")}}
    methods = {"direct": {"keys": {names[3]: "method"}}}
    sweeps = {"s": {"key": names[3], "values": ["sweep"], "methods": ["direct"]}}
    plan = plan_of(common=common, bases=bases, domains=domains, methods=methods, sweeps=sweeps)
    found = run_of(plan, "direct").keys
    assert [found[name] for name in names] == ["common", "base", "domain", "method"]
    swept = run_of(plan, f"direct [{names[3]}=sweep]", 2).keys
    assert [swept[name] for name in names] == ["common", "base", "domain", "sweep"]
    assert swept["seed"] == 2


def test_the_hash_follows_what_decides_a_result(tmp_path):
    before = run_of(plan_of(), "dba")
    assert run_of(plan_of(title="another title", version="2"), "dba").hash == before.hash
    common = smoke()["common"]
    for changes in (
        {"common": {**common, "learning_rate": 2.0e-3, "cutoff_len": 65}},
        {"evaluation": {"data": "data", "limit": 6}},
    ):
        assert run_of(plan_of(**changes), "dba").hash != before.hash
    base = smoke()["bases"]["micro-instruct"]
    other = plan_of(bases={"micro-instruct": {**base, "anchor": {"dba_svd_rank": 9, "max_samples": 32}}})
    assert run_of(other, "dba").hash != before.hash, "another anchor"
    assert run_of(other, "direct").hash == run_of(plan_of(), "direct").hash
    copy = tmp_path / "model"
    shutil.copytree(base["model"], copy)
    moved = plan_of(bases={"micro-instruct": {**base, "model": str(copy)}})
    assert run_of(moved, "dba").hash == before.hash, "the place of the model does not count"
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    assert run_of(plan_of(bases={"micro-instruct": {**base, "model": str(copy)}}), "dba").hash != before.hash


def test_the_hash_follows_the_data(tmp_path):
    data = tmp_path / "data"
    (data / "micro").mkdir(parents=True)
    for name in ("dataset_info.json", "micro/finance_train.jsonl", "micro/general_train.jsonl"):
        shutil.copyfile(f"data/{name}", data / name)
    common = {**smoke()["common"], "dataset_dir": str(data)}
    first = run_of(plan_of(common=common), "direct")
    assert first.hash == run_of(plan_of(), "direct").hash, "the place of the data does not count"
    with (data / "micro" / "finance_train.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"instruction": "a", "output": "b"}\n')
    find_data.cache_clear()
    assert run_of(plan_of(common=common), "direct").hash != first.hash


def test_mixing_draws_exact_numbers_from_the_general_data():
    methods = {"direct": {}, "mix": {"mix": "1:3"}}
    sweeps = {"size": {"key": "general_samples", "values": [100], "methods": ["mix"]}}
    plan = plan_of(methods=methods, sweeps=sweeps, budget={"equal": "steps"}, common=_epochs(2))
    rows = find_data("data", "micro_finance_train").rows
    mix = run_of(plan, "mix")
    assert mix.keys["dataset"] == "micro_finance_train,micro_general_train"
    assert mix.mix.info["micro_general_train"]["num_samples"] == 3 * rows
    assert "num_samples" not in mix.mix.info["micro_finance_train"]
    # equal steps: as many as the domain alone takes
    assert mix.steps == run_of(plan, "direct").steps == mix.keys["max_steps"] == 2 * -(-rows // 8)
    assert run_of(plan, "mix [general_samples=100]").mix.info["micro_general_train"]["split"] == "train[:100]"
    equal_epochs = plan_of(methods=methods, common=_epochs(2))
    assert run_of(equal_epochs, "mix").steps == 2 * -(-4 * rows // 8)


def _epochs(count):
    common = dict(smoke()["common"])
    del common["max_steps"]
    return {**common, "num_train_epochs": count}


def test_a_sweep_of_general_data_makes_anchors_of_their_own():
    sweeps = {"size": {"key": "general_samples", "values": [16, 32], "methods": ["dba"]}}
    plan = plan_of(sweeps=sweeps)
    assert len(plan.anchors) == 2, "32 rows are the suite's own anchor"
    assert {anchor.keys["max_samples"] for anchor in plan.anchors} == {16, 32}
    rank = plan_of(sweeps={"rank": {"key": "anchor.dba_svd_rank", "values": [4], "methods": ["dba"]}})
    assert {anchor.keys["dba_svd_rank"] for anchor in rank.anchors} == {8, 4}
    assert "anchor.dba_svd_rank" not in run_of(rank, "dba [anchor.dba_svd_rank=4]").keys


def test_a_value_that_the_method_has_already_is_one_run():
    sweeps = {"rate": {"key": "learning_rate", "values": [1.0e-4, 2.0e-4], "methods": ["dba"]}}
    assert sorted({run.label for run in plan_of(sweeps=sweeps).runs}) == [
        "dba",
        "dba [learning_rate=0.0002]",
        "direct",
    ]


def test_what_is_missing_is_said_together():
    bases = {"b": {"model": "no/such/folder", "template": "qwen3_nothink"}}
    domains = {"finance": {"dataset": "micro_finace_train", "evaluate": ["micro_finance"]}}
    with pytest.raises(DBAError) as stop:
        plan_of(bases=bases, domains=domains, methods={"m": {"keys": {"output_dir": "x"}}}, reference="")
    text = str(stop.value)
    assert "base model is not there" in text and "no/such/folder" in text
    assert "did you mean `micro_finance_train`" in text
    assert "`methods.m.keys` has `output_dir`, which the runner sets itself" in text


def test_a_missing_package_leaves_a_method_out_and_says_so():
    methods = {"direct": {}, "x": {"requires": ["no_such_package", "nor_this"]}, "w": {"of": "x", "frontier": [0.5]}}
    plan = plan_of(methods=methods)
    assert {run.method for run in plan.runs} == {"direct"}
    assert plan.left_out == {
        "x": "needs no_such_package, nor_this (pip install no-such-package nor-this)",
        "w": "needs x, which is left out",
    }


def test_light_evaluation_knows_the_micro_world_only():
    domains = {"finance": {"dataset": "micro_finance_train", "evaluate": ["finance"]}}
    with pytest.raises(DBAError, match="did you mean `micro_finance`"):
        plan_of(domains=domains)
    with pytest.raises(DBAError, match="no suite and no task"):
        plan_of(evaluate="full", domains={"finance": {"dataset": "micro_finance_train", "evaluate": ["finanze"]}})
